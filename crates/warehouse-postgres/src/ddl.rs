//! The statements that make a table what it shall be.
//!
//! One statement makes a table, one adds all columns that a table lacks, one widens all that must: the server rewrites a
//! table once.

use sha2::{Digest, Sha256};
use tidegate_warehouse::table::{Changes, Column, Family, ID, Table};

use super::encode;
use super::sql::{LEDGER, qualified, quoted};

/// Keys are compared byte by byte: faster than by any language's rules, and no update of the system changes the order.
const KEY: &str = "text COLLATE \"C\"";

pub(super) fn ledger(schema: &str) -> String {
    let name = qualified(schema, LEDGER);
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (sync {KEY} PRIMARY KEY, log_offset bigint NOT NULL, \
         updated_at timestamp with time zone NOT NULL)"
    )
}

/// The statement that keeps others from altering the tables until the transaction ends.
pub(super) fn hold(schema: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names.iter().map(|name| qualified(schema, name)).collect();
    format!("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE", names.join(", ONLY "))
}

/// The statements that make the table what it shall be.
pub(super) fn statements(table: &Table, schema: &str) -> Vec<String> {
    let changes = table.changes();
    let name = format!("{schema}.{}", quoted(&table.name));
    additions(&name, table, &changes).into_iter().chain(widenings(&name, table, &changes)).collect()
}

pub(super) fn additions(name: &str, table: &Table, changes: &Changes) -> Option<String> {
    if changes.create {
        let columns: Vec<String> = table.columns.iter().map(|column| defined(table, column)).collect();
        let key = quoted(&key_name(&table.name));
        return Some(format!("CREATE TABLE {name} ({}, CONSTRAINT {key} PRIMARY KEY (\"id\"))", columns.join(", ")));
    }
    let columns: Vec<String> =
        changes.add.iter().map(|at| format!("ADD COLUMN {}", defined(table, &table.columns[*at]))).collect();
    (!columns.is_empty()).then(|| format!("ALTER TABLE {name} {}", columns.join(", ")))
}

pub(super) fn widenings(name: &str, table: &Table, changes: &Changes) -> Option<String> {
    if changes.create || changes.widen.is_empty() {
        return None;
    }
    let widened = changes.widen.iter().map(|at| {
        let column = &table.columns[*at];
        let (quoted, from, to) = (quoted(&column.name), column.declared.unwrap_or(column.kind()), column.kind());
        let using = encode::rewritten(&quoted, from, to);
        let kind = if table.base[ID] as usize == *at { KEY } else { encode::declared(to) };
        format!("ALTER COLUMN {quoted} TYPE {kind} USING {using}")
    });
    Some(format!("ALTER TABLE {name} {}", widened.collect::<Vec<_>>().join(", ")))
}

fn defined(table: &Table, column: &Column) -> String {
    let kind = match (table.family, &*column.name) {
        (_, "id") => KEY,
        // Sentences of the house's own, of which somebody wants to count the same.
        (Family::Violations, "violations") => "jsonb",
        _ => encode::declared(column.kind()),
    };
    format!("{} {kind}", quoted(&column.name))
}

/// The name of a table's key, which is an object of the schema too. No table is called so, for none has a space.
fn key_name(table: &str) -> String {
    if table.len() <= 60 {
        return format!("{table} id");
    }
    let hash = Sha256::digest(table);
    let mut end = 51;
    while !table.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} id{:02x}{:02x}{:02x}{:02x}", &table[..end], hash[0], hash[1], hash[2], hash[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_long_names_stay_apart_and_within_the_limit() {
        let (a, b) = ("é".repeat(31) + "a", "é".repeat(31) + "b");
        assert_ne!(key_name(&a), key_name(&b));
        for name in [&a, &b, "e", &"x".repeat(60)] {
            assert!(key_name(name).len() <= 63 && key_name(name).contains(' '), "{name}");
        }
    }
}
