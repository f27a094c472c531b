//! How far a sync has come in a warehouse.
//!
//! The ledger is one row for each sync, written in the transaction that writes its rows: the log offset up to which
//! (exclusive) everything is there. It is what makes a batch that comes twice, or comes again cut at other places,
//! leave each event once. How it is stored is the warehouse's matter; how to read it is here.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::name::NAME_BYTES_MAX;

/// What the name of the schema for the ledger ends in.
const BESIDE: &str = "_tidegate";

/// The schema that holds the ledger of the tables in `schema`, where a warehouse has schemas: out of sight of who looks at
/// the tables. `upper` where names are stored so. Too long a name is cut, with eight digits of a hash in place of the rest.
#[must_use]
pub fn beside(schema: &str, upper: bool) -> String {
    let mut end = schema.len();
    let mut digits = String::new();
    if schema.len() + BESIDE.len() > NAME_BYTES_MAX {
        let hash = Sha256::digest(schema);
        digits = format!("_{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
        end = NAME_BYTES_MAX - BESIDE.len() - digits.len();
        while !schema.is_char_boundary(end) {
            end -= 1;
        }
    }
    let ending = format!("{digits}{BESIDE}");
    format!("{}{}", &schema[..end], if upper { ending.to_ascii_uppercase() } else { ending })
}

/// Whether a schema of this name may hold the ledger of another, so that no sync's tables may be there.
#[must_use]
pub fn is_beside(schema: &str) -> bool {
    schema.to_ascii_lowercase().ends_with(BESIDE)
}

/// What the ledger says of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct LedgerPosition {
    /// What the ledger says; `None` when the warehouse has never seen the sync.
    pub durable_to: Option<u64>,
    /// Events below this offset are there already.
    pub skip_below: u64,
    /// What the ledger shall say once the batch is durable; it never goes back.
    pub next: u64,
    /// Offsets that neither this batch nor any before it has brought.
    pub gap: Option<Range<u64>>,
}

/// Weighs the range of a batch against the ledger; `None` when the warehouse has never seen the sync.
#[must_use]
pub fn position(durable_to: Option<u64>, range: &Range<u64>) -> LedgerPosition {
    match durable_to {
        None => LedgerPosition { durable_to, skip_below: 0, next: range.end, gap: None },
        Some(at) => LedgerPosition {
            durable_to,
            skip_below: at,
            next: at.max(range.end),
            gap: (range.start > at).then_some(at..range.start),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_for_a_ledger_stays_within_the_limit_of_names_and_apart_from_others() {
        assert_eq!(
            (beside("shop", false), beside("SHOP", true)),
            ("shop_tidegate".to_owned(), "SHOP_TIDEGATE".to_owned())
        );
        let (a, b) = (beside(&("é".repeat(31) + "a"), false), beside(&("é".repeat(31) + "b"), false));
        assert!(a != b && a.len() <= NAME_BYTES_MAX && is_beside(&a) && is_beside("SHOP_TIDEGATE"), "{a} {b}");
    }

    #[test]
    fn the_ledger_skips_what_is_there_and_never_goes_back() {
        let of = |durable_to, range| position(durable_to, &range);
        assert_eq!(of(None, 5..9), LedgerPosition { durable_to: None, skip_below: 0, next: 9, gap: None });
        assert_eq!(of(Some(5), 5..9), LedgerPosition { durable_to: Some(5), skip_below: 5, next: 9, gap: None });
        assert_eq!(of(Some(7), 5..9), LedgerPosition { durable_to: Some(7), skip_below: 7, next: 9, gap: None });
        assert_eq!(of(Some(12), 5..9), LedgerPosition { durable_to: Some(12), skip_below: 12, next: 12, gap: None });
        assert_eq!(of(Some(3), 5..9), LedgerPosition { durable_to: Some(3), skip_below: 3, next: 9, gap: Some(3..5) });
    }
}
