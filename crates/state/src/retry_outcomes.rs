//! What has become of the entries that jobs have sent: refined, in quarantine again, or ended with nothing that goes on.
//!
//! Each is counted in the transaction that makes it so, of the job that sent the entry. Jobs that are forgotten take their counts along.

use rusqlite::{Connection, params};
use tidegate_event::Position;

use super::{RefineStage, StateError, retried, signed};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS retry_outcomes (
        job INTEGER NOT NULL, outcome TEXT NOT NULL, entries INTEGER NOT NULL, PRIMARY KEY (job, outcome)
    ) WITHOUT ROWID;
";

/// The counts of a row of the jobs, as JSON text.
pub(super) const COLUMN: &str =
    "(SELECT json_group_object(outcome, entries) FROM retry_outcomes WHERE job = quarantine_jobs.id)";

/// The event has gone through the log, and its entry has left the quarantine.
pub const OUTCOME_REFINED: &str = "refined";
/// It has failed again.
pub const OUTCOME_QUARANTINED: &str = "quarantined";

/// Why nothing of a retried event goes on, though nothing of it is in quarantine again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryEnding {
    /// It was accepted under its id by another way meanwhile.
    Duplicate,
    /// The filter of the one sync that it is for leaves it out.
    Filtered,
    /// Functions make nothing of the event.
    Dropped,
    /// Functions make something of the event, and not the part that was quarantined.
    NotMade,
    /// Somebody whom it is about is left out by now.
    Suppressed,
}

impl RetryEnding {
    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Filtered => "filtered",
            Self::Dropped => "dropped",
            Self::NotMade => "not-made",
            Self::Suppressed => "suppressed",
        }
    }
}

/// A retried event of which nothing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRetry {
    /// Of its record, in the partition of whoever says so.
    pub offset: u64,
    pub by: RetryEnding,
}

/// Counts an entry of a job; of an entry of an earlier build the job is 0, and nothing is counted.
pub(super) fn count(connection: &Connection, job: u64, outcome: &str) -> rusqlite::Result<()> {
    if job == 0 {
        return Ok(());
    }
    let sql = "INSERT INTO retry_outcomes (job, outcome, entries) VALUES (?1, ?2, 1)
        ON CONFLICT (job, outcome) DO UPDATE SET entries = entries + 1";
    connection.prepare_cached(sql)?.execute(params![signed(job), outcome]).map(drop)
}

/// Counts retried events of a partition of which nothing goes on.
pub(super) fn end(connection: &Connection, partition: u16, ended: &[EndedRetry]) -> rusqlite::Result<()> {
    for EndedRetry { offset, by } in ended {
        if let Some(was) = retried::find(connection, Position::new(partition, *offset))? {
            count(connection, was.job, by.as_str())?;
        }
    }
    Ok(())
}

impl RefineStage<'_> {
    /// Counts retried events of which nothing goes on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end_retries(&mut self, ended: &[EndedRetry]) -> Result<(), StateError> {
        end(&self.transaction, self.partition, ended)
            .map_err(StateError::at("could not count retried events", self.path))
    }
}
