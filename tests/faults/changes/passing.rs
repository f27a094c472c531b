//! Syncs that come and go again, some with a source of their own, whose events are counted.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::scene::PassingSync;
use crate::support::http::{basic, try_request};
use crate::{Found, pass};

/// Events of each source that passes by, and how many of them are sent at once.
const EVENTS: u64 = 100;
const BATCH: u64 = 25;

/// A sync that went.
struct GoneSync {
    name: String,
    /// Answered with 200; none when it had no source of its own.
    acked: Option<u64>,
    /// It was drained; else it was given up.
    is_drained: bool,
}

/// What has come and gone.
pub struct Passing {
    seed: u64,
    count: u64,
    /// Of the source that is there now.
    acked: u64,
    gone: Vec<GoneSync>,
}

impl Passing {
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: 0, acked: 0, gone: Vec::new() }
    }

    /// The next one, under a name that was never used.
    pub fn next(&mut self, has_source: bool) -> PassingSync {
        self.count += 1;
        let key = has_source.then(|| format!("pass-key-{}-0123456789", self.count));
        PassingSync { name: format!("pass-{}", self.count), key }
    }

    /// Sends events to a source that has come.
    pub fn send(&mut self, address: &str, passing: &PassingSync) {
        self.acked = 0;
        let Some(key) = &passing.key else { return };
        let authorization = basic(key);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let mut tries = 0;
        while self.acked < EVENTS && tries < 100 {
            let event = |n| {
                let id = format!("p{:x}-{}-{n}", self.seed, self.count);
                json!({"type": "track", "event": "Passing", "messageId": id, "userId": format!("u{n}"), "properties": {"n": n}})
            };
            let events: Vec<_> = (self.acked..self.acked + BATCH).map(event).collect();
            let body = json!({ "batch": events }).to_string();
            match try_request(address, "POST", "/v1/batch", &headers, body.as_bytes()) {
                Ok(reply) if reply.status == 200 => self.acked += BATCH,
                _ => pass(Duration::from_millis(20)),
            }
            tries += 1;
        }
    }

    pub fn ended(&mut self, passing: &PassingSync, is_drained: bool) {
        let acked = passing.key.is_some().then_some(self.acked);
        self.gone.push(GoneSync { name: passing.name.clone(), acked, is_drained });
    }

    /// What was drained is in its tables, each event once; what was given up is counted.
    pub fn judge(&self, data: &Path, found: &mut Found) {
        if let Err(error) = self.judge_all(data, found) {
            found.broken += 1;
            found.notes.push(format!("what became of the syncs that went cannot be read: {error}"));
        }
    }

    fn judge_all(&self, data: &Path, found: &mut Found) -> rusqlite::Result<()> {
        let open = |name: &str| Connection::open_with_flags(data.join(name), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let (state, warehouse) = (open("state.db")?, open("warehouse.db")?);
        for GoneSync { name, acked, is_drained } in &self.gone {
            let sql = "SELECT count(*), coalesce(max(abandoned), 0) FROM ended_syncs WHERE sync = ?1";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let (ended, abandoned) = state.query_row(sql, [name], read)?;
            let waiting: i64 =
                state.query_row("SELECT count(*) FROM endings WHERE sync = ?1", [name], |row| row.get(0))?;
            if ended != 1 || waiting != 0 {
                found.broken += 1;
                found.notes.push(format!(
                    "sync {name} went, and the state has it {ended} times as ended, {waiting} as ending"
                ));
            }
            let Some(acked) = acked.and_then(|acked| i64::try_from(acked).ok()) else { continue };
            found.acked += acked.cast_unsigned();
            let rows = rows(&warehouse, &format!("{}__passing", name.replace('-', "_")))?;
            let had = if *is_drained { rows } else { rows + abandoned };
            if had < acked {
                found.lost += (acked - had).cast_unsigned();
                found
                    .notes
                    .push(format!("of the {acked} events of {name} {rows} arrived and {abandoned} were given up"));
            }
            if rows > acked {
                found.altered += (rows - acked).cast_unsigned();
                found.notes.push(format!("{rows} events of {name} arrived, and {acked} were sent"));
            }
        }
        Ok(())
    }
}

/// Rows of a table; 0 when it was never made.
fn rows(warehouse: &Connection, table: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let is_there: i64 = warehouse.query_row(sql, [table], |row| row.get(0))?;
    if is_there == 0 {
        return Ok(0);
    }
    warehouse.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))
}
