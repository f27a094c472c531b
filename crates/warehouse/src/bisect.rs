//! Which events of a batch a warehouse refuses, found by halving.
//!
//! A warehouse that refuses a load says that some row is at fault, rarely which one. The batch is loaded in parts; a
//! part that is refused comes again as two, until the event that is at fault stands alone. Good neighbours cost a few
//! more loads and nothing else.

use std::ops::Range;

/// Parts of a batch that are still to be loaded.
#[derive(Debug)]
pub struct Bisect {
    /// Last one first.
    parts: Vec<Range<usize>>,
}

impl Bisect {
    /// All of a batch of `len` events, as one part.
    #[must_use]
    pub fn of(len: usize) -> Self {
        Self { parts: Vec::from_iter((len > 0).then_some(0..len)) }
    }

    /// The next part to load, in order.
    pub fn next_part(&mut self) -> Option<Range<usize>> {
        self.parts.pop()
    }

    /// A part was refused and left nothing behind: the event at fault if it stood alone; otherwise its halves come
    /// next.
    pub fn refused(&mut self, part: Range<usize>) -> Option<usize> {
        if part.len() <= 1 {
            return Some(part.start);
        }
        let middle = part.start + part.len() / 2;
        self.parts.extend([middle..part.end, part.start..middle]);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_refused_stand_alone_and_everything_else_is_loaded_once_in_order(
            len in 0_usize..200,
            poison in proptest::collection::btree_set(0_usize..200, 0..6),
        ) {
            let poison: BTreeSet<usize> = poison.into_iter().filter(|at| *at < len).collect();
            let (mut halves, mut loaded, mut alone, mut loads) = (Bisect::of(len), Vec::new(), BTreeSet::new(), 0);
            while let Some(part) = halves.next_part() {
                loads += 1;
                if part.clone().any(|at| poison.contains(&at)) {
                    alone.extend(halves.refused(part));
                } else {
                    loaded.extend(part);
                }
            }
            prop_assert_eq!(&alone, &poison);
            prop_assert_eq!(loaded, (0..len).filter(|at| !poison.contains(at)).collect::<Vec<_>>());
            prop_assert!(loads <= 1 + poison.len() * 2 * 8, "{loads} loads");
        }
    }
}
