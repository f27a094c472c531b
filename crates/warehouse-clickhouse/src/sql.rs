//! Names and texts as SQL spells them.

/// The table of the ledger.
pub(super) const LEDGER: &str = "_tidegate_ledger";

/// A name as SQL spells it.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text as SQL spells it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A table's full name as SQL spells it.
pub(super) fn full(database: &str, table: &str) -> String {
    format!("{}.{}", quoted(database), quoted(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(literal("a'b\\"), "'a\\'b\\\\'");
    }
}
