//! What of a chunk is still to be planned, in order, and what a tool refused as a whole.
//!
//! A search of [`Bisect`], but for one thing: what is tried is no part but all the requests that a plan makes of it. Several of them
//! may be refused in one turn, each is searched on its own, and what was not sent for them comes after.

use std::collections::HashSet;

use tidegate_bisect::{Bisect, halvings_max};

/// Refused events that one chunk is searched for in quick succession.
const REFUSED_EVENTS_MAX: usize = 16;

/// Indexes of outgoing events.
pub(super) struct ChunkBisect {
    bisect: Bisect<Vec<usize>>,
    /// Refused since the last turn began: together, and why.
    refused: Vec<(Vec<usize>, String)>,
    /// What comes after the halves of what was refused.
    rest: Vec<usize>,
}

impl ChunkBisect {
    pub(super) fn new(open: Vec<usize>) -> Self {
        let halvings = halvings_max(open.len(), REFUSED_EVENTS_MAX);
        Self { bisect: Bisect::of(open).with_halvings(halvings), refused: Vec::new(), rest: Vec::new() }
    }

    /// Indexes that were refused together, with the reason.
    pub(super) fn refuse(&mut self, indexes: Vec<usize>, reason: String) {
        self.refused.push((indexes, reason));
    }

    /// To be planned after the halves of what was refused in this turn.
    pub(super) fn then(&mut self, open: Vec<usize>) {
        self.rest = open;
    }

    /// Ends the turn: what was refused is cut in halves, for the next turns. What is over the bound comes back, with why.
    pub(super) fn given_up(&mut self) -> Vec<(usize, String)> {
        let mut refused = std::mem::take(&mut self.refused);
        let mut rest = std::mem::take(&mut self.rest);
        let mut taken: HashSet<usize> = HashSet::new();
        for indexes in refused.iter_mut().map(|(indexes, _)| indexes).chain([&mut rest]) {
            // An event that several requests carried is planned once.
            indexes.sort_unstable();
            indexes.retain(|index| taken.insert(*index));
        }
        let over = refused.split_off(refused.len().min(self.bisect.halvings_left()));
        // What is to come first is put on top of what comes after it.
        self.bisect.push(rest);
        for (indexes, _) in refused.into_iter().rev() {
            if let Some(alone) = self.bisect.failed(indexes) {
                // Others were refused with it, and are planned with their other requests.
                self.bisect.push(alone);
            }
        }
        let mut given_up: Vec<_> = over
            .into_iter()
            .flat_map(|(indexes, reason)| indexes.into_iter().map(move |index| (index, reason.clone())))
            .collect();
        given_up.sort_unstable();
        given_up
    }
}

impl Iterator for ChunkBisect {
    type Item = Vec<usize>;

    /// What to plan in the next turn.
    fn next(&mut self) -> Option<Self::Item> {
        self.bisect.next_part()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(bisect: &mut ChunkBisect, refused: &[&[usize]]) -> Vec<(usize, String)> {
        for (at, indexes) in refused.iter().enumerate() {
            bisect.refuse(indexes.to_vec(), format!("reason {at}"));
        }
        bisect.given_up()
    }

    #[test]
    fn what_is_refused_in_one_turn_comes_again_in_order_and_once_and_the_rest_after_it() {
        let mut bisect = ChunkBisect::new((0..10).collect());
        assert_eq!(bisect.next().map(|open| open.len()), Some(10));
        bisect.then(vec![5, 8, 9]);
        assert_eq!(refuse(&mut bisect, &[&[2, 0, 1, 3], &[3, 4], &[6, 7]]), []);
        let turns: Vec<Vec<usize>> = bisect.collect();
        assert_eq!(turns, [vec![0, 1], vec![2, 3], vec![4], vec![6], vec![7], vec![5, 8, 9]]);
    }

    #[test]
    fn what_is_refused_beyond_the_bound_is_given_up_with_its_reason() {
        let mut bisect = ChunkBisect::new(vec![0, 1]);
        for _ in 0..halvings_max(2, REFUSED_EVENTS_MAX) - 1 {
            assert_eq!(refuse(&mut bisect, &[&[0, 1]]), []);
        }
        let given_up = refuse(&mut bisect, &[&[0, 1], &[3, 2]]);
        assert_eq!(given_up, [(2, "reason 1".to_owned()), (3, "reason 1".to_owned())]);
    }
}
