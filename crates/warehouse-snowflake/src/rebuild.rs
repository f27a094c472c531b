//! A column that gets another type.
//!
//! That cannot be done in place; it is rebuilt beside itself, under names that no field can have:
//!
//! ```text
//! 1  ADD n$NEW           5  UPDATE n$NEW from n$OLD where it is still null
//! 2  UPDATE n$NEW from n 6  RENAME n$NEW TO n
//! 3  RENAME n TO n$OLD   7  DROP n$OLD
//! ```
//!
//! Between 3 and 6 there is no column `n`: whoever writes to it fails and tries again, so that no value is written to a
//! column that is about to go. A crash leaves names that tell how far it came ([`resume`]); nothing is dropped before all
//! of it is in its successor.

use std::collections::BTreeMap;

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Table;

use super::encode;
use super::sql::exact;

const NEW: &str = "$NEW";
const OLD: &str = "$OLD";

/// The steps for several columns at once, so that the table's rows are written twice and not twice for each.
pub(super) fn rebuild(name: &str, table: &Table, places: &[usize]) -> Vec<String> {
    let alter = format!("ALTER TABLE {name}");
    let (mut adds, mut first, mut wheres, mut rest, mut rests) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut aside, mut back, mut drop) = (vec![], vec![], vec![]);
    for at in places {
        let column = &table.columns[*at];
        let (from, to) = (column.declared.unwrap_or(Type::Text), column.kind());
        let stored = column.name.to_ascii_uppercase();
        let (now, new, old) = (exact(&stored), exact(&format!("{stored}{NEW}")), exact(&format!("{stored}{OLD}")));
        adds.push(format!("{new} {}", encode::declared(to)));
        first.push(format!("{new} = {}", encode::widened(from, to, &now)));
        wheres.push(format!("{now} IS NOT NULL"));
        rest.push(format!("{new} = COALESCE({new}, {})", encode::widened(from, to, &old)));
        rests.push(format!("({new} IS NULL AND {old} IS NOT NULL)"));
        aside.push(format!("{alter} RENAME COLUMN {now} TO {old}"));
        back.push(format!("{alter} RENAME COLUMN {new} TO {now}"));
        drop.push(format!("{alter} DROP COLUMN {old}"));
    }
    let mut steps = vec![format!("{alter} ADD COLUMN {}", adds.join(", "))];
    steps.push(format!("UPDATE {name} SET {} WHERE {}", first.join(", "), wheres.join(" OR ")));
    steps.extend(aside);
    steps.push(format!("UPDATE {name} SET {} WHERE {}", rest.join(", "), rests.join(" OR ")));
    steps.extend(back);
    steps.extend(drop);
    steps
}

/// The statements that bring one half-rebuilt column to an end, or back to its beginning; `None` when there is none.
pub(super) fn resume(table: &str, types: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let left = types.keys().find_map(|name| name.strip_suffix(NEW).or_else(|| name.strip_suffix(OLD)))?;
    let column = |suffix: &str| exact(&format!("{left}{suffix}"));
    let (now, new, old) = (column(""), column(NEW), column(OLD));
    let is_there = |suffix: &str| types.get(&format!("{left}{suffix}"));
    let alter = format!("ALTER TABLE {table}");
    Some(match (is_there(""), is_there(NEW), is_there(OLD)) {
        // It had not begun in earnest; it is begun anew when a value wants it.
        (Some(_), Some(_), None) => vec![format!("{alter} DROP COLUMN {new}")],
        // All is in the new column, which has its name already.
        (Some(_), None, Some(_)) => vec![format!("{alter} DROP COLUMN {old}")],
        (None, Some(wanted), Some(was)) => {
            let kinds = (encode::meaning(was).unwrap_or(Type::Text), encode::meaning(wanted).unwrap_or(Type::Text));
            let value = encode::widened(kinds.0, kinds.1, &old);
            let update = format!("UPDATE {table} SET {new} = {value} WHERE {new} IS NULL AND {old} IS NOT NULL");
            vec![update, format!("{alter} RENAME COLUMN {new} TO {now}"), format!("{alter} DROP COLUMN {old}")]
        }
        (None, None, Some(_)) => vec![format!("{alter} RENAME COLUMN {old} TO {now}")],
        // Nobody but the router uses such names, and it leaves no others.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_warehouse::table::Column;

    use super::*;

    /// A table of texts by column, on which the statements of a rebuilding act as Snowflake's would.
    fn run(columns: &mut BTreeMap<String, Vec<Option<String>>>, sql: &str) {
        let names: Vec<&str> = sql.split('"').skip(1).step_by(2).collect();
        let names = &names[1..];
        if sql.contains(" ADD COLUMN ") {
            let rows = columns.values().next().unwrap().len();
            columns.insert(names[0].to_owned(), vec![None; rows]);
        } else if sql.contains(" RENAME COLUMN ") {
            assert!(!columns.contains_key(names[1]), "{sql}");
            let column = columns.remove(names[0]).unwrap();
            columns.insert(names[1].to_owned(), column);
        } else if sql.contains(" DROP COLUMN ") {
            columns.remove(names[0]).unwrap();
        } else {
            let from = names.iter().find(|name| !name.ends_with(NEW)).unwrap();
            let values = columns[*from].clone();
            let new = columns.get_mut(names[0]).unwrap();
            for (new, value) in new.iter_mut().zip(values) {
                *new = new.take().or(value);
            }
        }
    }

    #[test]
    fn a_rebuilding_that_stops_anywhere_is_brought_to_an_end_without_loss() {
        use tidegate_warehouse::evolve::Scalar;
        use tidegate_warehouse::table::{Family, Limits};
        let found = vec![Column::found("n", Type::Integer, false, true)];
        let mut table = Table::new("e", Family::Event, Some(found), &Limits::default(), None);
        for column in table.columns.iter_mut().filter(|column| &*column.name != "n") {
            column.applied();
        }
        let place = table.columns.iter().position(|column| &*column.name == "n").unwrap();
        table.columns[place].admit(&Scalar::Text("x"));
        let steps = rebuild("\"E\"", &table, &table.changes().widen);
        for stop in 0..=steps.len() {
            let values: Vec<_> = ["1", "2"].iter().map(|text| Some((*text).to_owned())).collect();
            let mut columns = BTreeMap::from([("N".to_owned(), values.clone())]);
            for sql in &steps[..stop] {
                run(&mut columns, sql);
            }
            let types = |columns: &BTreeMap<String, Vec<Option<String>>>| -> BTreeMap<String, String> {
                columns.keys().map(|name| (name.clone(), "NUMBER(19,0)".to_owned())).collect()
            };
            let mut most = 1;
            while let Some(mends) = resume("\"E\"", &types(&columns)) {
                // And crashes in the middle of mending, each a step later.
                for sql in mends.iter().take(most) {
                    run(&mut columns, sql);
                }
                most += 1;
            }
            assert_eq!(columns, BTreeMap::from([("N".to_owned(), values)]), "stopped after {stop} steps");
        }
    }
}
