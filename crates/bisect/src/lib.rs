//! Which items of a batch a far side breaks on, found by halving.
//!
//! A warehouse that refuses a load, a tool that refuses a request, a function that traps: each says that something in the
//! batch is at fault, rarely what. The batch is tried in **parts**; a part that fails comes again as two, until the item at fault
//! stands alone. Good neighbours cost a few more tries and nothing else.
//!
//! What holds: parts come in the order of their items. A part that passed never comes again. When every part that holds an
//! item at fault fails, and no other does, exactly the items at fault come back from [`Bisect::failed`]. A search ends: each
//! part that fails is cut smaller or comes back, and the halvings may be bounded.
//!
//! Only the order of tries is decided here. The tries are the caller's, who waits for them or not; so nothing here knows what an
//! item is, what an error is, or what time it is.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// Items that are tried together.
pub trait Part: Sized {
    /// How many items there are.
    fn items(&self) -> usize;
    /// The first half and the other one, which is never the smaller.
    fn halves(self) -> [Self; 2];
}

impl Part for Range<usize> {
    fn items(&self) -> usize {
        self.len()
    }

    fn halves(self) -> [Self; 2] {
        let middle = self.start + self.len() / 2;
        [self.start..middle, middle..self.end]
    }
}

impl Part for Vec<usize> {
    fn items(&self) -> usize {
        self.len()
    }

    fn halves(mut self) -> [Self; 2] {
        let right = self.split_off(self.len() / 2);
        [self, right]
    }
}

/// A search under way. When a part from [`Bisect::next_part`] has [`Bisect::failed`], that is said before the next is asked
/// for. Every other part is done with; that it has [`Bisect::passed`] matters to a search that deduces.
#[derive(Debug)]
pub struct Bisect<P> {
    /// Without an outcome, the next one last.
    open: Vec<UntriedPart<P>>,
    halvings_left: usize,
    deduces: bool,
    /// The part in the caller's hands is a left half, and its right half comes next.
    is_left: bool,
}

#[derive(Debug)]
struct UntriedPart<P> {
    part: P,
    /// Its right half lies below it.
    is_left: bool,
    /// Something in it must be at fault, because the part that it is the right half of failed and the left half passed.
    is_suspect: bool,
}

/// Halvings that are enough to find `culprits` among so many items.
#[must_use]
pub const fn halvings_max(items: usize, culprits: usize) -> usize {
    let levels = (usize::BITS - items.saturating_sub(1).leading_zeros()) as usize;
    culprits.saturating_mul(levels + 1)
}

/// Tries that are enough for the same.
#[must_use]
pub const fn tries_max(items: usize, culprits: usize) -> usize {
    halvings_max(items, culprits).saturating_mul(2)
}

impl<P: Part> Bisect<P> {
    /// The whole batch comes first.
    #[must_use]
    pub fn of(whole: P) -> Self {
        let mut bisect = Self { open: Vec::new(), halvings_left: usize::MAX, deduces: false, is_left: false };
        bisect.push(whole);
        bisect
    }

    /// Parts are halved this many times at most. What fails afterwards comes back whole.
    #[must_use]
    pub fn with_halvings(mut self, halvings_max: usize) -> Self {
        self.halvings_left = halvings_max;
        self
    }

    /// A right half whose left half passed is halved without a try. That is worth it where a failed try costs much, and
    /// where one item alone is at fault as a rule.
    #[must_use]
    pub fn deducing(mut self) -> Self {
        self.deduces = true;
        self
    }

    /// How many parts may yet be halved.
    #[must_use]
    pub fn halvings_left(&self) -> usize {
        self.halvings_left
    }

    /// The part to try next; `None` when every part has its outcome. It is never empty.
    pub fn next_part(&mut self) -> Option<P> {
        loop {
            let next = self.open.pop()?;
            if next.is_suspect && next.part.items() > 1 && self.halvings_left > 0 {
                self.halve(next.part);
                continue;
            }
            self.is_left = next.is_left;
            return Some(next.part);
        }
    }

    /// The part in hand passed.
    pub fn passed(&mut self) {
        if std::mem::take(&mut self.is_left)
            && self.deduces
            && let Some(right) = self.open.last_mut()
        {
            right.is_suspect = true;
        }
    }

    /// `part` failed, and nothing of it counts: its halves come next. It comes back if it is to blame: one item, or no
    /// halving is left. A list may be tried in several pieces; each that failed is told, the last one first.
    pub fn failed(&mut self, part: P) -> Option<P> {
        self.is_left = false;
        if part.items() == 0 {
            return None;
        }
        if part.items() == 1 || self.halvings_left == 0 {
            return Some(part);
        }
        self.halve(part);
        None
    }

    /// `part` comes next, before all that is open, unless it is empty.
    pub fn push(&mut self, part: P) {
        if part.items() > 0 {
            self.open.push(UntriedPart { part, is_left: false, is_suspect: false });
        }
    }

    /// Ends the search: what is still open, in order, without the part in hand.
    pub fn give_up(&mut self) -> impl Iterator<Item = P> + use<P> {
        std::mem::take(&mut self.open).into_iter().rev().map(|open| open.part)
    }

    fn halve(&mut self, part: P) {
        self.halvings_left -= 1;
        let [left, right] = part.halves();
        self.open.push(UntriedPart { part: right, is_left: false, is_suspect: false });
        self.open.push(UntriedPart { part: left, is_left: true, is_suspect: false });
    }
}
