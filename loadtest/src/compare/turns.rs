//! Whose turn it is: all rounds of a figure or a scenario, and in each all sides.

use std::fmt;

use super::figure::Who;
use crate::peers::Peer;

/// What is told while all is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A turn begins.
    Begins {
        /// How many are over.
        done: usize,
        /// How many there are.
        of: usize,
        /// What is measured, in which round, and of whom.
        what: &'a str,
    },
    /// What came of a turn, as a line.
    Came(&'a str),
}

/// What one side has to do in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// From 1 on.
    pub(super) round: usize,
    pub(super) who: Who,
}

/// All of them; another one is first in each round, so that none always comes after what was measured before. Where others have
/// one alone, what is not to be compared is not worth more than a look.
pub(super) fn turns(rounds: usize, sides: &[Who], once_for_others: bool) -> Vec<Turn> {
    let of_round = |round: usize| {
        let sides = sides.iter().cycle().skip(round - 1).take(sides.len());
        sides.map(move |&who| Turn { round, who })
    };
    let all = (1..=rounds.max(1)).flat_map(of_round);
    let is_compared = |who| matches!(who, Who::Peer(Peer::Forebay) | Who::Direct);
    all.filter(|turn| turn.round == 1 || !once_for_others || is_compared(turn.who))
        .collect()
}

/// The turns of several, one round of all of them after the other, each with whose it is: minutes in which the machine has other
/// things to do are then one round's of many, and not all rounds' of one.
pub(super) fn round_by_round(all: &[Vec<Turn>]) -> Vec<(usize, Turn)> {
    let each = all.iter().enumerate();
    let mut turns: Vec<_> = each
        .flat_map(|(at, turns)| turns.iter().map(move |&turn| (at, turn)))
        .collect();
    // Nothing else changes places.
    turns.sort_by_key(|(_, turn)| turn.round);
    turns
}

/// How far everything is, and who is told.
pub(super) struct Course<'a> {
    done: usize,
    of: usize,
    told: &'a dyn Fn(Progress<'_>),
}

impl<'a> Course<'a> {
    /// Of so many turns.
    pub(super) fn of(of: usize, told: &'a dyn Fn(Progress<'_>)) -> Self {
        Self { done: 0, of, told }
    }

    /// Takes a turn of what has this name.
    pub(super) fn take<T: fmt::Display, E: fmt::Display>(
        &mut self,
        name: &str,
        turn: Turn,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Turn { round, who } = turn;
        let what = format!("{name}, round {round}, {who}");
        let (done, of) = (self.done, self.of);
        (self.told)(Progress::Begins {
            done,
            of,
            what: &what,
        });
        let came = work();
        let told = match &came {
            Ok(came) => came.to_string(),
            Err(error) => error.to_string(),
        };
        (self.told)(Progress::Came(&format!("{name} {round}: {who}: {told}")));
        self.done += 1;
        came
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const OWN: Who = Who::Peer(Peer::Forebay);
    const NGINX: Who = Who::Peer(Peer::Nginx);

    #[test]
    fn all_sides_have_their_turn_in_every_round_or_only_who_is_compared() {
        let shown = |once| {
            let turns = turns(2, &[Who::Direct, OWN, NGINX], once);
            let turns = turns
                .iter()
                .map(|turn| format!("{} {}", turn.round, turn.who));
            turns.collect::<Vec<_>>().join(", ")
        };
        let first = "1 direct, 1 forebay, 1 nginx";
        assert_eq!(shown(true), format!("{first}, 2 forebay, 2 direct"));
        assert_eq!(
            shown(false),
            format!("{first}, 2 forebay, 2 nginx, 2 direct")
        );
        assert_eq!(turns(0, &[OWN], false).len(), 1);
    }

    #[test]
    fn a_round_of_all_comes_before_the_next() {
        let all = [turns(2, &[OWN, NGINX], false), turns(3, &[OWN], false)];
        let shown = round_by_round(&all).into_iter();
        let shown: Vec<_> = shown
            .map(|(at, turn)| format!("{} {at} {}", turn.round, turn.who))
            .collect();
        let wanted =
            "1 0 forebay, 1 0 nginx, 1 1 forebay, 2 0 nginx, 2 0 forebay, 2 1 forebay, 3 1 forebay";
        assert_eq!(shown.join(", "), wanted);
    }

    #[test]
    fn it_is_told_whose_turn_it_is_of_how_many_and_what_came_of_it() {
        let lines = RefCell::default();
        let told = |progress: Progress<'_>| {
            let lines: &RefCell<Vec<String>> = &lines;
            lines.borrow_mut().push(format!("{progress:?}"));
        };
        let mut course = Course::of(2, &told);
        for turn in turns(1, &[OWN, NGINX], false) {
            let is_own = turn.who == OWN;
            let came = course.take(
                "hits",
                turn,
                || if is_own { Ok("1 s") } else { Err("gone") },
            );
            assert_eq!(came.is_ok(), is_own);
        }
        let wanted = [
            "Begins { done: 0, of: 2, what: \"hits, round 1, forebay\" }",
            "Came(\"hits 1: forebay: 1 s\")",
            "Begins { done: 1, of: 2, what: \"hits, round 1, nginx\" }",
            "Came(\"hits 1: nginx: gone\")",
        ];
        assert_eq!(*lines.borrow(), wanted);
    }
}
