//! The dedup index beside the state: which (source, messageId) came lately.
//!
//! The index has its own files and its own thread (`tidegate_dedup`); what the state keeps is the key of its hashes. Up to
//! format 4 the ids themselves were kept here, in two tables for each partition that took turns: the younger and the older
//! generation. They move into the index when it is first opened.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tidegate_dedup::{DedupError, DedupIndex, DedupSettings, IdKey, IdMark, Import};
use tidegate_event::in_partition;
use tidegate_process::clock;

use super::{State, StateError, seal, sum};

/// What a new file knows: a key of its own.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, "seen_key", &u128::from_le_bytes(clock::random()).to_string())
}

/// Gives the texts of a file without checksums theirs.
pub(super) fn seal(connection: &Connection) -> rusqlite::Result<()> {
    let text: Option<String> = stored(connection, "seen")?;
    set(connection, "seen", text.as_deref().unwrap_or("0 0 0 0"))?;
    let sql = "SELECT value FROM meta WHERE key = 'seen_key'";
    let key: Option<[u8; 16]> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    let key = key.unwrap_or_else(clock::random);
    set(connection, "seen_key", &u128::from_le_bytes(key).to_string())
}

fn set(connection: &Connection, key: &str, text: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![key, sum::sealed(key, text)]).map(drop)
}

fn stored(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// `None` when it is not what was stored.
fn key(connection: &Connection) -> rusqlite::Result<Option<IdKey>> {
    let text: Option<String> = stored(connection, "seen_key")?;
    let number = text.as_deref().and_then(|text| sum::unsealed("seen_key", text)).and_then(|key| key.parse().ok());
    Ok(number.map(|number| IdKey(u128::to_le_bytes(number))))
}

/// The table in which a build of format 4 and below kept a generation.
fn table(partition: u16, generation: u8) -> String {
    match partition {
        0 => format!("seen_{generation}"),
        partition => format!("seen_{partition}_{generation}"),
    }
}

/// Takes away what a build of format 4 and below kept of a partition.
pub(super) fn remove_tables(connection: &Connection, partition: u16) -> rusqlite::Result<()> {
    for generation in [0, 1] {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", table(partition, generation)))?;
    }
    connection.execute("DELETE FROM meta WHERE key = ?1", [in_partition("seen", partition)]).map(drop)
}

fn has_tables(connection: &Connection, partition: u16) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) = 2 FROM sqlite_schema WHERE type = 'table' AND name IN (?1, ?2)";
    connection.query_row(sql, [table(partition, 0), table(partition, 1)], |row| row.get(0))
}

impl State {
    /// The key of the dedup index.
    ///
    /// # Errors
    /// It cannot be read, or is not what was stored.
    pub fn id_key(&self) -> Result<IdKey, StateError> {
        key(&self.connection)
            .map_err(self.err("could not read the key of the dedup index"))?
            .ok_or_else(|| self.damaged("the text of seen_key is not what was stored"))
    }

    /// Opens the dedup index of this partition in `dir`. It knows nothing that the state has not refined, and takes over
    /// what an earlier build kept in the state file.
    ///
    /// # Errors
    /// The file or the index cannot be read or written.
    pub fn dedup(&mut self, dir: &Path, settings: DedupSettings) -> Result<DedupIndex, StateError> {
        let (key, refined_to) = (self.id_key()?, self.refined_to()?);
        let partition = self.partition;
        let has_tables = has_tables(&self.connection, partition).map_err(self.err("could not read the tables"))?;
        if has_tables {
            self.take_over(dir, key, refined_to)?;
            let action = "could not remove the tables of an earlier build";
            let begin = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
            let remove = |transaction: Transaction<'_>| {
                remove_tables(&transaction, partition)?;
                seal::seal(&transaction)?;
                transaction.commit()
            };
            begin.and_then(remove).map_err(self.err(action))?;
        }
        Ok(DedupIndex::open(dir, key, settings, refined_to)?)
    }

    /// Writes what the two tables hold into the index in `dir`: each generation is in order of its ids, as a run is.
    fn take_over(&self, dir: &Path, key: IdKey, refined_to: u64) -> Result<(), StateError> {
        let name = in_partition("seen", self.partition);
        let read = |error| StateError::at("could not read the dedup window", &self.path)(error);
        let text: Option<String> = stored(&self.connection, &name).map_err(read)?;
        let text = text.as_deref().and_then(|text| sum::unsealed(&name, text));
        let Some(young) = text.map(|text| u8::from(text.starts_with('1'))) else {
            tracing::warn!("which ids of the dedup window are older cannot be told; they are read from the log again");
            return Ok(());
        };
        let mut import = Import::begin(dir, key)?;
        for (generation, reaches_to) in [(1 - young, 0), (young, refined_to)] {
            let table = table(self.partition, generation);
            let sql = format!("SELECT count(*), coalesce(min(at_us), 0) FROM {table}");
            let ids_and_base = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let (ids, base_us) = self.connection.query_row(&sql, [], ids_and_base).map_err(read)?;
            let mut find =
                self.connection.prepare(&format!("SELECT id, at_us FROM {table} ORDER BY id")).map_err(read)?;
            let mut failed = None;
            let mark = |row: &rusqlite::Row<'_>| {
                Ok(IdMark { hash: u128::from_be_bytes(row.get(0)?), received_at_us: row.get(1)? })
            };
            let marks = find.query_map([], mark).map_err(read)?;
            let marks = marks.map_while(|mark| mark.map_err(|error| failed = Some(error)).ok());
            import.add(marks, super::unsigned(ids), base_us, reaches_to)?;
            if let Some(error) = failed {
                return Err(read(error));
            }
            tracing::info!(ids, "ids of the dedup window were carried over from the state file to the dedup index");
        }
        Ok(import.finish()?)
    }
}

impl From<DedupError> for StateError {
    fn from(error: DedupError) -> Self {
        Self::Dedup(error)
    }
}
