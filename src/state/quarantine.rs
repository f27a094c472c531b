//! Events set aside: kept whole, with the stage that stopped them, a stable code and a sentence.

use rusqlite::{Connection, params};

use super::{Error, State, signed, unsigned};

/// Where an event was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The log could not give the record back whole.
    Log,
    /// The bytes are no event that can be delivered.
    Decode,
    Contract,
    Function,
    /// The destination can never take it.
    Destination,
}

impl Stage {
    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Decode => "decode",
            Self::Contract => "contract",
            Self::Function => "function",
            Self::Destination => "destination",
        }
    }
}

/// One event set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub offset: u64,
    pub part: u32,
    pub stage: &'static str,
    /// The source, or the sync for what one sync stopped.
    pub scope: String,
    pub code: String,
    pub message: String,
    /// The event as it was at that stage: JSON text, or the raw bytes when they are no JSON.
    pub event: Vec<u8>,
    pub at_us: i64,
    /// What else is known, as JSON text without any secret: for a destination its request and the answer.
    pub detail: Option<String>,
}

/// Which quarantined events to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub scope: Option<String>,
    pub code: Option<String>,
    pub entries_max: u64,
}

pub(super) fn insert(connection: &Connection, entry: &Quarantined) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO quarantine (log_offset, part, stage, scope, code, message, event, at_us, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![
        signed(entry.offset),
        entry.part,
        entry.stage,
        entry.scope,
        entry.code,
        entry.message,
        entry.event,
        entry.at_us,
        entry.detail,
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

impl State {
    /// Keeps events on disk with the reason why they go no further. One that is kept already stays as it is.
    ///
    /// # Errors
    /// None of them is kept for sure.
    pub fn set_aside(&mut self, entries: &[Quarantined]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        self.in_transaction(true, |connection| entries.iter().try_for_each(|entry| insert(connection, entry)))
    }

    /// Quarantined events, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantined(&self, filter: &Filter) -> Result<Vec<Quarantined>, Error> {
        let sql = "SELECT log_offset, part, stage, scope, code, message, event, at_us, detail FROM quarantine
            WHERE (?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) ORDER BY id LIMIT ?3";
        let read = || -> rusqlite::Result<Vec<Quarantined>> {
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map(params![filter.scope, filter.code, signed(filter.entries_max)], |row| {
                let stage: String = row.get(2)?;
                let stages = [Stage::Log, Stage::Decode, Stage::Contract, Stage::Function, Stage::Destination];
                Ok(Quarantined {
                    offset: unsigned(row.get(0)?),
                    part: row.get(1)?,
                    stage: stages.iter().map(|s| s.as_str()).find(|s| *s == stage).unwrap_or("unknown"),
                    scope: row.get(3)?,
                    code: row.get(4)?,
                    message: row.get(5)?,
                    event: row.get(6)?,
                    at_us: row.get(7)?,
                    detail: row.get(8)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not read the quarantine"))
    }

    /// How many events are set aside, by scope, stage and code; of those that `filter` lets through, however many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantine_counts(&self, filter: &Filter) -> Result<Vec<(String, String, String, u64)>, Error> {
        let sql = "SELECT scope, stage, code, count(*) FROM quarantine
            WHERE (?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
        let read = || -> rusqlite::Result<Vec<(String, String, String, u64)>> {
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map(params![filter.scope, filter.code], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, unsigned(row.get(3)?)))
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not count the quarantine"))
    }
}
