//! Entries of the quarantine on their way back into the log, and the jobs that send them.
//!
//! A step of a job marks entries, in one transaction with how far the job is; then their records are appended to the log. Whoever dies between
//! the two finds the marks and appends again. Refining takes the entry out for the first record of an attempt ([`take`]), in the
//! transaction that moves the refine cursor over it, and any further one is a duplicate. So a retried event goes on once.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidegate_event::{Position, RetryMark};

use super::retried::{self, RetriedEntry};
use super::retry_outcomes::{self, OUTCOME_REFINED};
use super::sum::{self, Sum};
use super::{State, StateError, fate_entries, job_ids, signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS quarantine_retries (
        entry INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, job INTEGER NOT NULL, edited BLOB, sum INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS quarantine_jobs (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, asked_by TEXT NOT NULL, filter TEXT NOT NULL,
        rate INTEGER NOT NULL, state TEXT NOT NULL, matched INTEGER NOT NULL, until_id INTEGER NOT NULL,
        at_id INTEGER NOT NULL, sent INTEGER NOT NULL, skipped TEXT NOT NULL, ended_at_us INTEGER, edited BLOB
    );
";

/// Jobs that are remembered.
const JOBS_KEPT: i64 = 100;
/// Jobs that may wait for their turn: each may hold an event.
const JOBS_RUNNING_MAX: i64 = 1_000;

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryJobState {
    Running,
    Done,
    Cancelled,
}

impl RetryJobState {
    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "cancelled" => Self::Cancelled,
            _ => Self::Done,
        }
    }
}

/// A job to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRetryJob {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub asked_by: String,
    /// Which entries, in the words of whoever works on it.
    pub filter: String,
    /// Events a second.
    pub rate: u32,
    /// How many entries were like that when it was asked for.
    pub matched: u64,
    /// In the place of the one event that it is about: JSON text.
    pub edited: Option<Vec<u8>>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryJob {
    pub id: u64,
    pub asked: NewRetryJob,
    pub state: RetryJobState,
    /// What is quarantined later has a higher id, and is not for it.
    pub until_id: u64,
    /// Everything up to this id has been looked at.
    pub at_id: u64,
    /// Entries that were marked.
    pub sent: u64,
    /// Entries that cannot be retried, in the words of whoever works on it.
    pub skipped: String,
    /// What has become of those that were marked, how many by the outcome, as JSON text.
    pub outcomes: String,
    pub ended_at_us: Option<i64>,
}

/// An entry that is to go into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunRetry {
    pub entry: u64,
    /// One more than the attempts of the entry.
    pub attempt: u32,
    /// In the place of the event: JSON text.
    pub edited: Option<Vec<u8>>,
}

impl BegunRetry {
    fn sum(&self) -> i64 {
        let sum = Sum::default().number(signed(self.entry)).number(self.attempt.into());
        sum.text(self.edited.as_deref().unwrap_or_default()).value()
    }
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryStep {
    pub retries: Vec<BegunRetry>,
    pub at_id: u64,
    pub skipped: String,
    /// With this step the job ends; microseconds since the epoch.
    pub ended_at_us: Option<i64>,
}

/// The columns that [`read`] reads, in its order; that of the outcomes follows on them.
const COLUMNS: &str =
    "id, at_us, asked_by, filter, rate, state, matched, until_id, at_id, sent, skipped, ended_at_us, edited";

fn read(row: &Row<'_>) -> rusqlite::Result<RetryJob> {
    let number = |column| sum::number(row, column).map(unsigned);
    Ok(RetryJob {
        id: number(0)?,
        asked: NewRetryJob {
            at_us: sum::number(row, 1)?,
            asked_by: sum::text(row, 2)?,
            filter: sum::text(row, 3)?,
            rate: sum::small(row, 4)?,
            matched: number(6)?,
            edited: row.get(12)?,
        },
        state: RetryJobState::of(&sum::text(row, 5)?),
        until_id: number(7)?,
        at_id: number(8)?,
        sent: number(9)?,
        skipped: sum::text(row, 10)?,
        outcomes: sum::text(row, 13)?,
        ended_at_us: row.get(11)?,
    })
}

/// Takes the entry that `mark` names out of the quarantine: its event is in the log once more, at `at`.
pub(super) fn take(connection: &Connection, at: Position, mark: &RetryMark<'_>) -> rusqlite::Result<bool> {
    let sql =
        "DELETE FROM quarantine WHERE log_offset = ?1 AND part = ?2 AND stage = ?3 AND scope = ?4 AND attempts = ?5
        RETURNING id, kept_at_us, event, at_us";
    let named =
        params![signed(mark.position.bits()), mark.part, mark.stage, mark.scope, mark.attempt.saturating_sub(1)];
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, sum::bytes(row, 2)?, sum::number(row, 3)?));
    let taken = connection.prepare_cached(sql)?.query_row(named, read).optional()?;
    let Some((entry, kept_at_us, event, at_us)): Option<(i64, i64, Vec<u8>, i64)> = taken else { return Ok(false) };
    fate_entries::take_back(connection, mark, (&*event, at_us))?;
    let sql = "DELETE FROM quarantine_retries WHERE entry = ?1 RETURNING job";
    let job: Option<i64> = connection.prepare_cached(sql)?.query_row([entry], |row| row.get(0)).optional()?;
    let job = job.map_or(0, unsigned);
    let was = RetriedEntry {
        entry: unsigned(entry),
        attempts: mark.attempt,
        kept_at_us,
        for_sync: Some(mark.for_sync).filter(|sync| !sync.is_empty()).map(str::to_owned),
        parts: mark.parts(),
        job,
    };
    retried::keep(connection, at, &was)?;
    retry_outcomes::count(connection, job, OUTCOME_REFINED)?;
    Ok(true)
}

impl State {
    /// Begins a job over the entries that there are now; answers its id. `None` when too many wait for their turn.
    ///
    /// # Errors
    /// It does not begin.
    pub fn begin_retry_job(&mut self, job: &NewRetryJob) -> Result<Option<u64>, StateError> {
        let mut begun = None;
        self.in_transaction(true, |connection| {
            let sql =
                "INSERT INTO quarantine_jobs (id, at_us, asked_by, filter, rate, state, matched, until_id, at_id, sent,
                skipped, edited) SELECT ?8, ?1, ?2, ?3, ?4, 'running', ?5, last_id, 0, 0, '{}', ?6 FROM quarantine_size
                WHERE (SELECT count(*) FROM quarantine_jobs WHERE state = 'running') < ?7";
            let NewRetryJob { at_us, asked_by, filter, rate, matched, edited } = job;
            let id = job_ids::next(connection, "quarantine_jobs")?;
            let values = params![at_us, asked_by, filter, rate, signed(*matched), edited, JOBS_RUNNING_MAX, id];
            if connection.prepare_cached(sql)?.execute(values)? == 0 {
                return Ok(());
            }
            begun = Some(unsigned(id));
            job_ids::forget_ended(connection, ("quarantine_jobs", "state <> 'running'"), JOBS_KEPT)?;
            let sql = "DELETE FROM retry_outcomes WHERE job NOT IN (SELECT id FROM quarantine_jobs)";
            connection.execute(sql, []).map(drop)
        })?;
        Ok(begun)
    }

    /// The jobs that are remembered, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn retry_jobs(&self) -> Result<Vec<RetryJob>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS}, {} FROM quarantine_jobs ORDER BY id DESC LIMIT {JOBS_KEPT}",
            retry_outcomes::COLUMN
        );
        let read = || -> rusqlite::Result<Vec<RetryJob>> {
            let mut find = self.connection.prepare_cached(&sql)?;
            find.query_map([], read)?.collect()
        };
        read().map_err(self.err("could not read the jobs of the quarantine"))
    }

    /// One job.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn retry_job(&self, id: u64) -> Result<Option<RetryJob>, StateError> {
        self.one_job("id = ?1", signed(id))
    }

    /// The oldest job that runs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn running_retry_job(&self) -> Result<Option<RetryJob>, StateError> {
        self.one_job("state = 'running' AND id > ?1 ORDER BY id LIMIT 1", 0)
    }

    fn one_job(&self, condition: &str, value: i64) -> Result<Option<RetryJob>, StateError> {
        let sql = format!("SELECT {COLUMNS}, {} FROM quarantine_jobs WHERE {condition}", retry_outcomes::COLUMN);
        let found = self.connection.prepare_cached(&sql).and_then(|mut find| find.query_row([value], read).optional());
        found.map_err(self.err("could not read the jobs of the quarantine"))
    }

    /// Ends a job that runs before its end; false when it did not run. What is marked goes on.
    ///
    /// # Errors
    /// It runs on.
    pub fn cancel_retry_job(&mut self, id: u64, now_us: i64) -> Result<bool, StateError> {
        let sql = "UPDATE quarantine_jobs SET state = 'cancelled', ended_at_us = ?2, edited = NULL
            WHERE id = ?1 AND state = 'running'";
        let mut is_cancelled = false;
        self.in_transaction(true, |connection| {
            is_cancelled = connection.prepare_cached(sql)?.execute([signed(id), now_us])? > 0;
            Ok(())
        })?;
        Ok(is_cancelled)
    }

    /// Makes a step of a job, durably, and answers which entries were marked: those that are still there as they were, and on no other way
    /// into the log. Of a job that does not run any more none.
    ///
    /// # Errors
    /// Nothing of the step was done.
    pub fn step_retry_job(&mut self, id: u64, step: &RetryStep) -> Result<Vec<BegunRetry>, StateError> {
        let mut marked = Vec::with_capacity(step.retries.len());
        self.in_transaction(true, |connection| {
            let sql = "UPDATE quarantine_jobs SET at_id = ?2, skipped = ?3 WHERE id = ?1 AND state = 'running'";
            let moved =
                connection.prepare_cached(sql)?.execute(params![signed(id), signed(step.at_id), step.skipped])?;
            if moved == 0 {
                return Ok(());
            }
            let sql = "INSERT OR IGNORE INTO quarantine_retries (entry, attempt, job, edited, sum)
                SELECT id, ?2, ?3, ?4, ?5 FROM quarantine WHERE id = ?1 AND attempts = ?2 - 1";
            let mut mark = connection.prepare_cached(sql)?;
            for retry in &step.retries {
                let values = params![signed(retry.entry), retry.attempt, signed(id), retry.edited, retry.sum()];
                if mark.execute(values)? > 0 {
                    marked.push(retry.clone());
                }
            }
            let sql = "UPDATE quarantine_jobs SET sent = sent + ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute([signed(id), signed(marked.len() as u64)])?;
            if let Some(ended_at_us) = step.ended_at_us {
                let sql = "UPDATE quarantine_jobs SET state = 'done', ended_at_us = ?2, edited = NULL WHERE id = ?1";
                connection.prepare_cached(sql)?.execute([signed(id), ended_at_us])?;
            }
            Ok(())
        })?;
        Ok(marked)
    }

    /// How many entries are on their way into the log, of all jobs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn retries_under_way(&self) -> Result<u64, StateError> {
        let sql = "SELECT count(*) FROM quarantine_retries";
        let found = self.connection.prepare_cached(sql);
        let found = found.and_then(|mut find| find.query_row([], |row| row.get(0).map(unsigned)));
        found.map_err(self.err("could not read the quarantine"))
    }

    /// Some of the entries that are on their way into the log, with ids behind `from`. What is not what was stored is on its way no more.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn begun_retries(&mut self, from: u64, retries_max: u64) -> Result<Vec<BegunRetry>, StateError> {
        let mut found = Vec::new();
        self.in_transaction(false, |connection| {
            let sql =
                "SELECT entry, attempt, edited, sum FROM quarantine_retries WHERE entry > ?1 ORDER BY entry LIMIT ?2";
            let mut find = connection.prepare_cached(sql)?;
            let rows = find.query_map([signed(from), signed(retries_max)], |row| {
                let retry = BegunRetry {
                    entry: unsigned(sum::number(row, 0)?),
                    attempt: sum::small(row, 1)?,
                    edited: row.get(2)?,
                };
                let is_right = sum::number(row, 3)? == retry.sum();
                Ok((retry, is_right))
            })?;
            let all: Vec<(BegunRetry, bool)> = rows.collect::<Result<_, _>>()?;
            for (retry, is_right) in all {
                if is_right {
                    found.push(retry);
                } else {
                    connection.execute("DELETE FROM quarantine_retries WHERE entry = ?1", [signed(retry.entry)])?;
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives up to send an entry: it stays in quarantine as it is.
    ///
    /// # Errors
    /// It is still on its way.
    pub fn give_up_retry(&mut self, entry: u64) -> Result<(), StateError> {
        self.in_transaction(true, |connection| {
            connection.execute("DELETE FROM quarantine_retries WHERE entry = ?1", [signed(entry)]).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::EventId;

    use super::super::{EntryFilter, QuarantineStage, Quarantined};
    use super::*;

    fn entry(offset: u64, part: u32) -> Quarantined {
        Quarantined {
            id: EventId::new(Position::new(0, offset), part),
            stage: QuarantineStage::Contract.as_str(),
            scope: "web".into(),
            code: "schema-violation".into(),
            message: "no".into(),
            event: br#"{"messageId":"m"}"#.to_vec(),
            at_us: 1,
            detail: None,
        }
    }

    fn all(state: &State) -> Vec<(u64, u64, u32)> {
        let page = state.entries(&EntryFilter::default(), (0, u64::MAX), 100).unwrap();
        page.entries.iter().map(|kept| (kept.id, kept.entry.id.position.offset, kept.attempts)).collect()
    }

    fn mark(attempt: u32, offset: u64) -> RetryMark<'static> {
        let position = Position::new(0, offset);
        RetryMark { position, part: 0, attempt, stage: "contract", scope: "web", for_sync: "" }
    }

    #[test]
    fn an_entry_is_taken_once_and_what_fails_again_is_the_same_entry() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        state.quarantine(&[entry(3, 0), entry(4, 0)]).unwrap();
        assert_eq!(all(&state), [(1, 3, 0), (2, 4, 0)]);
        let job = state.begin_retry_job(&NewRetryJob { rate: 1, ..NewRetryJob::default() }).unwrap().unwrap();
        let retries = vec![BegunRetry { entry: 2, attempt: 1, edited: None }];
        let step = RetryStep { retries, at_id: 2, skipped: "{}".into(), ended_at_us: Some(5) };
        assert_eq!(state.step_retry_job(job, &step).unwrap(), step.retries);
        assert_eq!(state.step_retry_job(job, &step).unwrap(), [], "the job is over");
        let found = state.retry_job(job).unwrap().unwrap();
        assert_eq!((found.state, found.sent, found.at_id), (RetryJobState::Done, 1, 2));
        // What is on its way stays.
        assert_eq!(state.purge_entries(&EntryFilter::default()).unwrap(), 1);
        assert_eq!((all(&state), state.begun_retries(0, 9).unwrap()), (vec![(2, 4, 0)], step.retries));
        let mut stage = state.stage().unwrap();
        assert!(stage.take_retried(9, &mark(1, 4)).unwrap());
        assert!(!stage.take_retried(10, &mark(1, 4)).unwrap(), "the second record of one attempt");
        stage.quarantine(&entry(9, 0)).unwrap();
        stage.commit(&(0..11), 1).unwrap();
        assert_eq!((all(&state), state.retries_under_way().unwrap()), (vec![(2, 9, 1)], 0));
        let mut stage = state.stage().unwrap();
        assert!(!stage.take_retried(11, &mark(1, 9)).unwrap(), "that attempt is over");
        assert!(stage.take_retried(12, &mark(2, 9)).unwrap());
        stage.commit(&(11..13), 1).unwrap();
        assert_eq!((all(&state), state.quarantine_size().unwrap().entries), (Vec::new(), 0));
        // The second attempt was sent by no job.
        let found = state.retry_job(job).unwrap().unwrap();
        assert_eq!(found.outcomes, r#"{"quarantined":1,"refined":1}"#);
        state.quarantine(&[entry(20, 0)]).unwrap();
        assert_eq!(all(&state), [(3, 20, 0)], "no id comes twice");
    }

    #[test]
    fn the_entries_of_one_event_are_told_together_as_far_as_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let of = |offset, scope: &str| Quarantined {
            stage: QuarantineStage::Destination.as_str(),
            scope: scope.into(),
            ..entry(offset, 0)
        };
        state.quarantine(&[of(3, "crm"), of(4, "crm"), of(3, "chat")]).unwrap();
        let scopes = |filter: &EntryFilter| state.scopes_at(Position::new(0, 3), filter).unwrap();
        assert_eq!(scopes(&EntryFilter::default()), [(1, "crm".to_owned()), (3, "chat".to_owned())]);
        let chat = super::super::EntryScope { name: "chat".to_owned(), is_sync: true };
        let of_chat = EntryFilter { scopes: Some(vec![chat]), ..EntryFilter::default() };
        assert_eq!(scopes(&of_chat), [(3, "chat".to_owned())]);
    }

    #[test]
    fn what_stops_the_whole_event_of_a_retried_part_keeps_the_part_that_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let destination = QuarantineStage::Destination.as_str();
        state.quarantine(&[Quarantined { stage: destination, scope: "crm".into(), ..entry(3, 2) }]).unwrap();
        let position = Position::new(0, 3);
        let mark = RetryMark { position, part: 2, attempt: 1, stage: destination, scope: "crm", for_sync: "crm" };
        let mut stage = state.stage().unwrap();
        assert!(stage.take_retried(9, &mark).unwrap());
        // Of a part beside it nothing is kept.
        stage.quarantine(&entry(9, 1)).unwrap();
        stage.quarantine(&entry(9, 0)).unwrap();
        stage.commit(&(0..10), 1).unwrap();
        let page = state.entries(&EntryFilter::default(), (0, u64::MAX), 9).unwrap();
        let [kept] = &page.entries[..] else { panic!("{:?}", page.entries) };
        assert_eq!((kept.id, kept.entry.id.part, kept.attempts), (1, 2, 1));
        assert_eq!((kept.entry.stage, kept.for_sync.as_deref()), ("contract", Some("crm")));
    }
}
