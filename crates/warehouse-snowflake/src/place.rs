//! Where a sync's tables are, and what is the router's own beside them.

use sha2::{Digest, Sha256};
use tidegate_warehouse::ledger;

use super::sql::{LEDGER, exact, quoted};

/// One sync's place in a database.
#[derive(Debug, Clone)]
pub(super) struct SnowflakePlace {
    /// As Snowflake stores them.
    pub(super) database: String,
    pub(super) schema: String,
    /// Eight digits that tell syncs apart in names.
    pub(super) tag: String,
}

impl SnowflakePlace {
    pub(super) fn new(database: &str, schema: &str, sync: &str) -> Self {
        let digest = Sha256::digest(sync.as_bytes());
        let tag = digest.iter().take(4).map(|byte| format!("{byte:02X}")).collect();
        Self { database: configured(database), schema: configured(schema), tag }
    }

    /// The schema as SQL spells it.
    pub(super) fn schema_sql(&self) -> String {
        format!("{}.{}", exact(&self.database), exact(&self.schema))
    }

    /// Something of that schema as SQL spells it, by its lower-case name.
    pub(super) fn sql(&self, name: &str) -> String {
        format!("{}.{}", self.schema_sql(), quoted(name))
    }

    /// The place beside the tables, for what is the router's own.
    pub(super) fn beside(&self) -> Self {
        Self { schema: ledger::beside(&self.schema, true), ..self.clone() }
    }

    pub(super) fn ledger(&self) -> String {
        self.sql(LEDGER)
    }

    /// The stage that files of all syncs go to.
    pub(super) fn stage(&self) -> String {
        self.sql("_tidegate_files")
    }

    /// The table that holds one sync's rows before they are merged.
    pub(super) fn load(&self) -> String {
        self.sql(&format!("_tidegate_load_{}", self.tag))
    }
}

/// A name of a configuration: as unquoted SQL would have it, unless it stands in quotes.
fn configured(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.to_owned(),
        None => name.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stored_as_an_unquoted_one_means() {
        let place = SnowflakePlace::new("analytics", "\"Mixed\"", "web to snowflake");
        assert_eq!(place.sql("order_é_x"), "\"ANALYTICS\".\"Mixed\".\"ORDER_é_X\"");
    }
}
