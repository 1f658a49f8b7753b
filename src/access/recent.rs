//! A map that forgets what was not touched for the longest, at a cost that does not grow with what is in it: whoever fills
//! it up on purpose must not make others wait.

use std::collections::HashMap;
use std::hash::Hash;

/// Holds no more than it is told to, and the half of that which was touched last in any case.
///
/// Two generations: what is touched is in the younger one, and when that has half of what there may be, it becomes the older
/// one, in place of what was that.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    half: usize,
    younger: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// For at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            half: most / 2,
            younger: HashMap::new(),
            older: HashMap::new(),
        }
    }

    /// Puts `value` in the place of what is there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.older.remove(&key);
        if self.younger.len() >= self.half && !self.younger.contains_key(&key) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, value);
    }

    /// What is there.
    pub(super) fn touch(&mut self, key: K) -> Option<&mut V> {
        if let Some(value) = self.older.remove(&key) {
            self.insert(key, value);
        }
        self.younger.get_mut(&key)
    }

    /// What is there, or else `value`, which is put there.
    pub(super) fn touch_or_insert(&mut self, key: K, value: V) -> &mut V {
        if let Some(older) = self.older.remove(&key) {
            self.insert(key, older);
        } else if !self.younger.contains_key(&key) {
            self.insert(key, value);
        }
        self.younger.get_mut(&key).expect("it was put there")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl<K, V> Recent<K, V> {
        pub(in crate::access) fn len(&self) -> usize {
            self.younger.len() + self.older.len()
        }
    }

    proptest! {
        /// Held against a list of what was touched, the last one first.
        #[test]
        fn it_is_bounded_and_has_what_was_touched_last(
            steps in proptest::collection::vec((0u8..24, any::<bool>(), any::<u16>()), 0..300),
        ) {
            const MOST: usize = 8;
            let mut recent = Recent::new(MOST);
            let mut touched: Vec<(u8, u16)> = Vec::new();
            for (key, inserts, value) in steps {
                let known = touched.iter().position(|(other, _)| *other == key);
                let last_value = known.map(|at| touched.remove(at).1);
                if inserts {
                    recent.insert(key, value);
                    touched.insert(0, (key, value));
                } else {
                    let found = recent.touch(key).copied();
                    if let Some(found) = found {
                        prop_assert_eq!(Some(found), last_value);
                        touched.insert(0, (key, found));
                    } else {
                        prop_assert!(known.is_none_or(|at| at >= MOST / 2));
                    }
                }
                prop_assert!(recent.len() <= MOST);
            }
        }
    }

    #[test]
    fn what_is_there_is_not_replaced_by_a_first_value() {
        let mut recent = Recent::new(4);
        recent.insert(1, 'a');
        assert_eq!(*recent.touch_or_insert(1, 'b'), 'a');
        recent.insert(2, 'c');
        recent.insert(3, 'd');
        assert_eq!(*recent.touch_or_insert(1, 'b'), 'a', "of the older ones");
        assert_eq!(*recent.touch_or_insert(4, 'e'), 'e');
    }
}
