//! Names and texts as SQL spells them.
//!
//! Names are stored in upper case as far as ASCII goes, because that is what an unquoted name means: an analyst writes
//! `order_completed` and finds `ORDER_COMPLETED`. A name that somebody stored otherwise is not seen.

/// The table of the ledger.
pub(super) const LEDGER: &str = "_tidegate_ledger";

/// A lower-case name as SQL spells it.
pub(super) fn quoted(name: &str) -> String {
    exact(&name.to_ascii_uppercase())
}

/// A stored name as SQL spells it.
pub(super) fn exact(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as SQL spells it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("order_é_\"x"), "\"ORDER_é_\"\"X\"");
        assert_eq!(literal("a'b\\"), "'a''b\\\\'");
    }
}
