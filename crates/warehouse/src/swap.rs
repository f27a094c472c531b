//! Tables that were made anew beside those that are read take their place.
//!
//! A sync that is rebuilt writes to a schema of its own, with rows of its own in the ledger there. A **swap** exchanges the two in one
//! transaction: each table that the new schema has goes to where the sync's tables are, what had its name there goes to a third schema, and
//! the ledger says of the sync what it said of the rebuild. A table that the new schema does not have stays where it is, and so does what
//! is somebody else's. Whoever reads finds the old table or the new one, and never none.

use tidegate_event::destination::Failure;

/// What takes the place of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSwap {
    /// Where the tables are that are read; the warehouse's own default when `None`.
    pub schema: Option<String>,
    /// Where those are that were made anew.
    pub rebuilt: String,
    /// Where those go that were read until now.
    pub before: String,
    /// One for each partition of the log.
    pub ledgers: Vec<LedgerSwap>,
}

/// A row of the ledger that becomes the sync's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerSwap {
    /// Whose row it becomes.
    pub sync: String,
    /// Whose row it is in the new schema.
    pub rebuilt: String,
    /// What it has to say, so that nothing is lost and nothing comes twice.
    pub log_offset: u64,
}

/// What the ledger of the new schema says, in the order of [`TableSwap::ledgers`].
///
/// # Errors
/// It is not what has to be there; a sentence.
pub fn is_swapped(swap: &TableSwap, found: &[Option<u64>]) -> Result<bool, String> {
    if found.iter().all(Option::is_none) {
        // The rows went with the tables.
        return Ok(true);
    }
    for (ledger, found) in swap.ledgers.iter().zip(found) {
        if *found != Some(ledger.log_offset) {
            let (name, wanted) = (&ledger.rebuilt, ledger.log_offset);
            let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
            return Err(format!(
                "the ledger says {found} of {name}, and has to say {wanted} before the tables are swapped"
            ));
        }
    }
    Ok(false)
}

/// Why the tables of a warehouse of this title are not swapped.
#[must_use]
pub fn impossible(title: &str) -> Failure {
    Failure::Stop {
        reason: format!("tables of {title} cannot be swapped: only those of SQLite and PostgreSQL are rebuilt beside the old ones"),
        advice: "make a second sync with `start: beginning` and a `schema` of its own (or a destination of its own), wait until its lag \
                 is 0, let readers go over to it, and end the old sync"
            .to_owned(),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_done_when_no_row_is_left_and_waits_until_each_is_as_it_has_to_be() {
        let ledger = |log_offset| LedgerSwap { sync: "s".into(), rebuilt: "r".into(), log_offset };
        let swap = TableSwap { ledgers: vec![ledger(3), ledger(5)], ..TableSwap::default() };
        assert_eq!(is_swapped(&swap, &[None, None]), Ok(true));
        assert_eq!(is_swapped(&swap, &[Some(3), Some(5)]), Ok(false));
        for found in [[Some(3), None], [None, Some(5)], [Some(3), Some(4)]] {
            assert!(is_swapped(&swap, &found).unwrap_err().contains("has to say"), "{found:?}");
        }
    }
}
