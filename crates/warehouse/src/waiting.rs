//! Changes of tables that the warehouse does not make, because something of somebody else is in the way.
//!
//! A view on a column, a lock, a missing permission must not stop a sync. The change waits: the column keeps the type that
//! it has, or is not there; values that it does not take are kept in the `_overflow` of their rows, and the operator is
//! told which statement waits. With each opening, and every few minutes, the next such value tries the change again.
//! This memory outlives connections and what is known of tables. It does no I/O, and takes the time as an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::evolve::Type;
use super::table::{ID, OVERFLOW, RECEIVED_AT, Shut, Table};

const DOUBLINGS_MAX: u32 = 3;
/// Columns that may wait at once; what is beyond stops the sync.
const COLUMNS_MAX: usize = 10_000;
/// Batches are begun anew so often before the sync pauses, each time because of further columns.
pub const ROUNDS_MAX: u32 = 64;
/// Names and letters of a notice.
const NAMES_MAX: usize = 5;
const STATEMENT_CHARS_MAX: usize = 600;

/// Changes of one table that the warehouse did not make, and why.
#[derive(Debug)]
pub struct Refusal<E> {
    /// Places of the columns.
    pub columns: Vec<usize>,
    /// As an operator would run it.
    pub statement: String,
    /// The whole table is meant, and not one of several columns: a lock, a permission.
    pub whole: bool,
    pub error: E,
}

#[derive(Debug)]
struct Change {
    wanted: Type,
    shut: Shut,
    tries: u32,
    again_at_us: i64,
    /// The next value that needs the change tries it.
    is_due: bool,
}

#[derive(Debug, Default)]
struct WaitingMemory {
    /// By table and column.
    changes: BTreeMap<(Box<str>, Box<str>), Change>,
    untold: Vec<String>,
    /// The statements of each table that the operator has heard of.
    told: BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// The changes that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<WaitingMemory>>);

impl Waiting {
    fn memory(&self) -> MutexGuard<'_, WaitingMemory> {
        self.0.lock()
    }

    /// Notes that these columns of `table` were not changed. False when rows cannot do without the change: the table has
    /// nowhere to keep their values.
    pub fn note(&self, table: &Table, columns: &[usize], statement: &str, words: &str) -> bool {
        let keeps = |at: &usize| {
            let is_key = [ID, RECEIVED_AT].iter().any(|base| table.base[*base] as usize == *at);
            !is_key && &*table.columns[*at].name != OVERFLOW && table.columns[*at].shut != Shut::All
        };
        let columns: Vec<usize> = columns.iter().copied().filter(keeps).collect();
        let mut memory = self.memory();
        let has_room = memory.changes.len() + columns.len() <= COLUMNS_MAX;
        if columns.is_empty() || !table.exists || !table.family.is_of_events() || !has_room {
            return false;
        }
        for at in &columns {
            let column = &table.columns[*at];
            let alters = column.alters || column.rounds || column.declared == Some(column.kind());
            let shut = if column.declared.is_none() || alters { Shut::All } else { Shut::Wider };
            let fresh = Change { wanted: column.kind(), shut, tries: 0, again_at_us: i64::MAX, is_due: false };
            let change = memory.changes.entry((table.name.clone(), column.name.clone())).or_insert(fresh);
            (change.wanted, change.shut) = (change.wanted.join(column.kind()), shut);
            (change.tries, change.again_at_us, change.is_due) = (change.tries.saturating_add(1), i64::MAX, false);
        }
        // By the statement: a warehouse may say it in other words each time.
        let told = memory.told.entry(table.name.clone()).or_default();
        if !told.iter().any(|told| **told == *statement) {
            told.push(statement.into());
            told.drain(..told.len().saturating_sub(COLUMNS_MAX));
            memory.untold.push(notice(table, &columns, statement, words));
        }
        true
    }

    /// The columns of a table that do not take all values now.
    #[must_use]
    pub fn shut(&self, table: &str) -> Vec<(Box<str>, Shut)> {
        let memory = self.memory();
        let of_table = memory.changes.iter().filter(|((of, _), change)| **of == *table && !change.is_due);
        of_table.map(|((_, column), change)| (column.clone(), change.shut)).collect()
    }

    /// A batch has come to its end: forgets what has been made, and opens what is to be tried again.
    pub fn settle(&self, tables: &mut super::table::Tables, now_us: i64, first_pause: Duration) {
        let first_pause = i64::try_from(first_pause.as_micros()).unwrap_or(i64::MAX);
        self.memory().changes.retain(|(table, name), change| {
            let place = tables.find(table);
            let columns = place.map(|place| &mut tables.list[place].columns);
            let column = columns.and_then(|columns| columns.iter_mut().find(|column| column.name == *name));
            if column.as_ref().is_some_and(|column| column.is_as_wide_as(change.wanted)) {
                column.into_iter().for_each(|column| column.shut = Shut::No);
                return false;
            }
            if change.again_at_us == i64::MAX {
                let doublings = change.tries.saturating_sub(1).min(DOUBLINGS_MAX);
                change.again_at_us = now_us.saturating_add(first_pause.saturating_mul(1 << doublings));
            }
            if now_us >= change.again_at_us {
                change.is_due = true;
                if let Some(column) = column {
                    column.shut = Shut::No;
                    column.wanted.get_or_insert(change.wanted);
                }
            }
            true
        });
    }

    /// What an operator has not heard yet.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.memory().untold)
    }
}

fn notice(table: &Table, columns: &[usize], statement: &str, words: &str) -> String {
    let mut names: Vec<&str> = columns.iter().take(NAMES_MAX).map(|at| &*table.columns[*at].name).collect();
    if columns.len() > NAMES_MAX {
        names.push("...");
    }
    let (noun, names) = (if columns.len() == 1 { "column" } else { "columns" }, names.join(", "));
    let statement: String = statement.chars().take(STATEMENT_CHARS_MAX).collect();
    format!(
        "{noun} {names} of table {} cannot be changed yet, and values that need it go to _overflow: {words}. This \
         statement waits and is tried again: {statement}",
        table.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Family, Limits, Tables};

    const PAUSE: Duration = Duration::from_secs(300);
    const SECOND: i64 = 1_000_000;

    /// A table with a column `n` that wants to be text, and what waits.
    fn tables(waiting: &Waiting) -> Tables {
        let found = Family::Event.base().map(|(name, kind)| Column::found(name, kind, false, true));
        let found = found.chain([Column::found("n", Type::Integer, false, true)]).collect();
        let mut table = Table::new("e", Family::Event, Some(found), &Limits::default(), None);
        table.shut(waiting.shut("e"));
        let mut tables = Tables::default();
        tables.insert(table);
        tables
    }

    fn refuse(waiting: &Waiting, tables: &mut Tables) -> bool {
        let table = &mut tables.list[0];
        let at = table.columns.iter().position(|column| &*column.name == "n").unwrap();
        table.columns[at].wanted = Some(Type::Text);
        waiting.note(table, &[at], "ALTER", "no")
    }

    #[test]
    fn pauses_grow_and_whoever_opens_anew_in_between_does_not_try() {
        let waiting = Waiting::default();
        let mut now = 0;
        for minutes in [5, 10, 20, 40, 40] {
            assert!(refuse(&waiting, &mut tables(&waiting)));
            let mut tables = tables(&waiting);
            let place = tables.list[0].columns.len() - 1;
            assert_eq!((&tables.list[0].columns[place].shut, waiting.shut("e").len()), (&Shut::Wider, 1));
            assert!(
                tables.list[0].columns[place].takes(Type::Integer) && !tables.list[0].columns[place].takes(Type::Text)
            );
            waiting.settle(&mut tables, now, PAUSE);
            waiting.settle(&mut tables, now + minutes * 60 * SECOND - 1, PAUSE);
            assert_eq!(waiting.shut("e").len(), 1, "{minutes}");
            now += minutes * 60 * SECOND;
            waiting.settle(&mut tables, now, PAUSE);
            assert_eq!((&tables.list[0].columns[place].shut, waiting.shut("e").len()), (&Shut::No, 0), "{minutes}");
        }
        assert_eq!(waiting.notices().len(), 1, "told once");
        let mut tables = tables(&waiting);
        for column in &mut tables.list[0].columns {
            column.declared = Some(Type::Text);
        }
        waiting.settle(&mut tables, now, PAUSE);
        assert!(waiting.memory().changes.is_empty(), "what was made is forgotten");
    }

    #[test]
    fn a_key_and_what_keeps_the_others_values_cannot_wait() {
        let waiting = Waiting::default();
        let mut tables = tables(&waiting);
        let table = &mut tables.list[0];
        let overflow = table.overflow() as usize;
        for at in [table.base[ID] as usize, table.base[RECEIVED_AT] as usize, overflow] {
            assert!(!waiting.note(table, &[at], "ALTER", "no"));
        }
        table.exists = false;
        assert!(!refuse(&waiting, &mut tables), "a table that is not there has no rows");
    }
}
