//! How far a sync has come in a warehouse.
//!
//! The ledger is one row for each sync, written in the transaction that writes its rows: the log offset up to which
//! (exclusive) everything is there. It is what makes a batch that comes twice, or comes again cut at other places,
//! leave each event once. How it is stored is the warehouse's matter; how to read it is here.

use std::ops::Range;

/// What the ledger says of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    /// Events below this offset are there already.
    pub skip_below: u64,
    /// What the ledger shall say once the batch is durable; it never goes back.
    pub next: u64,
    /// Offsets that neither this batch nor any before it has brought.
    pub gap: Option<Range<u64>>,
}

/// Weighs the range of a batch against the ledger; `None` when the warehouse has never seen the sync.
#[must_use]
pub fn standing(durable_to: Option<u64>, range: &Range<u64>) -> Standing {
    match durable_to {
        None => Standing { skip_below: 0, next: range.end, gap: None },
        Some(at) => {
            Standing { skip_below: at, next: at.max(range.end), gap: (range.start > at).then_some(at..range.start) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_skips_what_is_there_and_never_goes_back() {
        let of = |durable_to, range| standing(durable_to, &range);
        assert_eq!(of(None, 5..9), Standing { skip_below: 0, next: 9, gap: None });
        assert_eq!(of(Some(5), 5..9), Standing { skip_below: 5, next: 9, gap: None });
        assert_eq!(of(Some(7), 5..9), Standing { skip_below: 7, next: 9, gap: None });
        assert_eq!(of(Some(12), 5..9), Standing { skip_below: 12, next: 12, gap: None });
        assert_eq!(of(Some(3), 5..9), Standing { skip_below: 3, next: 9, gap: Some(3..5) });
    }
}
