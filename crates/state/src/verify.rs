//! Reads a whole state file, without changing it, and says what in it is not what was stored.

use std::path::Path;

use rusqlite::Connection;
use tidegate_event::partition_of;
use tidegate_sqlite::sqlite_check::{self, Depth};

use super::{State, StateError, pending, quarantine, schema, seal};

/// What a state file holds, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct VerifiedState {
    pub format: Option<i64>,
    /// Rows with a checksum that were read, by kind.
    pub rows: u64,
    /// Structure that is damaged, in SQLite's words.
    pub damage: Vec<String>,
    /// Rows whose checksum is wrong.
    pub damaged: Vec<DamagedRow>,
}

/// One row whose checksum is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    pub table: &'static str,
    /// Which row, in words.
    pub which: String,
}

impl DamagedRow {
    /// Whether the server cannot go on without it. One event of many is none of these.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !matches!(self.table, "quarantine" | "pending")
    }
}

/// More damaged rows than this are not named one by one.
const ROWS_NAMED_MAX: usize = 100;

/// Reads the state file at `path`: its structure as thoroughly as `depth` says, and every row that has a checksum.
///
/// # Errors
/// The file cannot be read for a reason that says nothing about its content, or is of a later format.
pub fn verify(path: &Path, depth: Depth) -> Result<VerifiedState, StateError> {
    let mut found = VerifiedState::default();
    if !path.exists() {
        return Err(StateError::Absent { path: path.to_owned() });
    }
    match look(path, depth, &mut found) {
        Err(StateError::Damaged { what, .. }) => found.damage.push(what),
        other => other?,
    }
    Ok(found)
}

fn look(path: &Path, depth: Depth, found: &mut VerifiedState) -> Result<(), StateError> {
    let connection = sqlite_check::open(path).map_err(StateError::at("could not open", path))?;
    let format = schema::known_format(&connection, path)?;
    found.format = Some(format);
    if !schema::is_known(format) {
        return Err(StateError::Newer { path: path.to_owned(), found: format });
    }
    found.damage = sqlite_check::damage(&connection, depth).map_err(StateError::at("could not check", path))?;
    if !seal::is_as_sealed(&connection).map_err(StateError::at("could not read the tables", path))? {
        found.damage.push(seal::NOT_AS_SEALED.to_owned());
    }
    if found.damage.is_empty() && schema::version(format) >= schema::FORMAT {
        rows(connection, path, found)?;
    }
    Ok(())
}

/// The names of all rows of `meta`. A row whose name is damaged is not found by its own, and looks as if it had never been.
const META: [&str; 7] = ["data_id", "format", "partitions", "refined_to", "seen", "seen_key", "starts"];

fn rows(connection: Connection, path: &Path, found: &mut VerifiedState) -> Result<(), StateError> {
    events(&connection, found).map_err(StateError::at("could not read", path))?;
    strange_names(&connection, found).map_err(StateError::at("could not read", path))?;
    let mut state = State { path: path.to_owned(), connection, partition: 0 };
    let mut note = |table, outcome: Result<u64, StateError>| match outcome {
        Ok(rows) => {
            found.rows += rows;
            Ok(())
        }
        Err(StateError::Damaged { what, .. }) => {
            found.damaged.push(DamagedRow { table, which: what });
            Ok(())
        }
        Err(error) => Err(error),
    };
    note("meta", state.identity().map(|_| 1))?;
    note("meta", state.id_key().map(|_| 1))?;
    note("meta", state.partitions().map(|_| 1))?;
    note("syncs", state.reports().map(|reports| reports.len() as u64))?;
    for partition in 0..state.partitions().unwrap_or(1) {
        state.partition = partition;
        note("meta", state.refined_to().map(|_| 1))?;
        note("starts", state.starts().map(|starts| starts.len() as u64))?;
        let chains = state.function_chains();
        note("lineups", chains.map(|(cursors, chains)| (cursors.len() + chains.len()) as u64))?;
    }
    note("endings", state.endings().map(|endings| endings.len() as u64))?;
    note("ended_syncs", state.ended_syncs().map(|ended| ended.len() as u64))?;
    note("stream_positions", state.count_stream_positions())?;
    note("revisions", state.read_revisions())?;
    note("stretches", ranges(&mut state))
}

fn strange_names(connection: &Connection, found: &mut VerifiedState) -> rusqlite::Result<()> {
    let mut find = connection.prepare("SELECT CAST(key AS TEXT) FROM meta")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let name = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned();
        found.note("meta", META.contains(&partition_of(&name).0), || format!("a row with the strange name {name:?}"));
    }
    Ok(())
}

/// Each log range with its duplicates.
fn ranges(state: &mut State) -> Result<u64, StateError> {
    let (mut rows, mut at) = (0, None::<i64>);
    loop {
        let sql = "SELECT min(start) FROM stretches WHERE ?1 IS NULL OR start > ?1";
        let next: Option<i64> =
            state.connection.query_row(sql, [at], |row| row.get(0)).map_err(state.err("could not read"))?;
        let Some(start) = next else { return Ok(rows) };
        let first = super::position(start);
        state.partition = first.partition;
        state.log_range_at(first.offset)?;
        (rows, at) = (rows + 1, Some(start));
    }
}

fn events(connection: &Connection, found: &mut VerifiedState) -> rusqlite::Result<()> {
    let mut find = connection.prepare(&format!("SELECT {} FROM quarantine", quarantine::COLUMNS))?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let quarantine::KeptEntry { entry, is_whole, .. } = quarantine::read(row)?;
        found.note("quarantine", is_whole, || format!("the entry of offset {} ({})", entry.id.position, entry.code));
    }
    let mut find = connection.prepare(&format!("SELECT {} FROM pending", pending::COLUMNS))?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let (sync, event, right) = pending::read(row)?;
        found.note("pending", right, || format!("the event of offset {} for sync {sync}", event.id.position));
    }
    Ok(())
}

impl VerifiedState {
    /// Whether all of it is what was stored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.damaged.is_empty()
    }

    fn note(&mut self, table: &'static str, right: bool, which: impl FnOnce() -> String) {
        self.rows += 1;
        if !right && self.damaged.len() < ROWS_NAMED_MAX {
            self.damaged.push(DamagedRow { table, which: which() });
        }
    }
}
