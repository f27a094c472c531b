//! What of a chunk is still to be planned, in order, and what a tool refused as a whole.

use std::collections::{BTreeMap, HashSet};

/// Refused events that one chunk is searched for in quick succession.
const REFUSED_EVENTS_MAX: usize = 16;

/// Indexes of outgoing events.
pub(super) struct ChunkBisect {
    /// The next is the last.
    parts: Vec<Vec<usize>>,
    /// Refused since the last turn began: together, and why.
    refused: Vec<(Vec<usize>, String)>,
    /// What comes after the halves of what was refused.
    rest: Vec<usize>,
    halvings_left: usize,
}

impl ChunkBisect {
    pub(super) fn new(open: Vec<usize>) -> Self {
        let levels = (usize::BITS - open.len().leading_zeros()) as usize;
        Self {
            parts: vec![open],
            refused: Vec::new(),
            rest: Vec::new(),
            halvings_left: REFUSED_EVENTS_MAX * (levels + 1),
        }
    }

    /// Indexes that were refused together, with the reason.
    pub(super) fn refuse(&mut self, indexes: Vec<usize>, reason: String) {
        self.refused.push((indexes, reason));
    }

    /// All that were refused in this turn.
    pub(super) fn refused(&self) -> impl Iterator<Item = usize> {
        self.refused.iter().flat_map(|(indexes, _)| indexes.iter().copied())
    }

    /// To be planned after the halves of what was refused in this turn.
    pub(super) fn then(&mut self, open: Vec<usize>) {
        self.rest = open;
    }

    /// Ends the turn: what was refused is cut in halves, for the next turns. What is over the bound comes back, with why.
    pub(super) fn given_up(&mut self) -> Vec<(usize, String)> {
        let (mut cut, mut given_up) = (Vec::new(), BTreeMap::new());
        let mut taken: HashSet<usize> = HashSet::new();
        for (mut indexes, reason) in std::mem::take(&mut self.refused) {
            // An event that several requests carried is planned once.
            indexes.sort_unstable();
            indexes.retain(|index| taken.insert(*index));
            if self.halvings_left == 0 {
                given_up.extend(indexes.into_iter().map(|index| (index, reason.clone())));
                continue;
            }
            self.halvings_left -= 1;
            let right = indexes.split_off(indexes.len() / 2);
            cut.extend([indexes, right]);
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.retain(|index| taken.insert(*index));
        cut.push(rest);
        self.parts.extend(cut.into_iter().rev().filter(|part| !part.is_empty()));
        given_up.into_iter().collect()
    }
}

impl Iterator for ChunkBisect {
    type Item = Vec<usize>;

    /// What to plan in the next turn.
    fn next(&mut self) -> Option<Self::Item> {
        let part = self.parts.pop()?;
        (!part.is_empty()).then_some(part)
    }
}
