//! Who may go by what was learned from an upstream: that depends on whose eyes it was seen with.

/// Who may go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All clients: it was learned without a login, or with the mirror's own.
    Everyone,
    /// Clients that each see what their own login may, once it has proven its right: it was learned with one of theirs.
    Logins,
}

impl Audience {
    /// Those for whom something may have been learned that counts for this one.
    pub fn counting(self) -> &'static [Self] {
        match self {
            Self::Everyone => &[Self::Everyone],
            Self::Logins => &[Self::Logins, Self::Everyone],
        }
    }

    /// Whether what was learned for this one counts for another.
    pub fn includes(self, other: Self) -> bool {
        other.counting().contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::Audience::{Everyone, Logins};

    #[test]
    fn what_was_learned_with_a_clients_login_is_not_everyones() {
        assert!(
            Everyone.includes(Everyone) && Everyone.includes(Logins) && Logins.includes(Logins)
        );
        assert!(!Logins.includes(Everyone));
    }
}
