//! Names as SQL spells them.

/// The table of the ledger.
pub(super) const LEDGER: &str = "_tidegate_ledger";

/// A name as SQL spells it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name in a schema.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}
