//! Jobs that give a part of the log to one sync once more. What is pending of a job is kept under a name of its own, so that the sync has
//! nothing of it; how far it is and what became of events is a text of whoever works on it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidegate_event::in_partition;

use super::forget_jobs::{subjects_of, subjects_text};
use super::pending::{self, Pending};
use super::replay_names::{self, IS_OF_REPLAY};
use super::{HashedSubject, State, StateError, job_ids, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS replay_jobs (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, asked_by TEXT NOT NULL, sync TEXT NOT NULL, asked TEXT NOT NULL,
        subjects TEXT NOT NULL, state TEXT NOT NULL, progress TEXT NOT NULL, abandoned INTEGER NOT NULL,
        ended_at_us INTEGER
    );
";

/// Jobs that are remembered.
const JOBS_KEPT: i64 = 1_000;
/// Jobs that may wait for their turn.
const JOBS_RUNNING_MAX: i64 = 100;
/// A name without what says which partition.
const NAME: &str = "substr(sync, 1, instr(sync || '/', '/') - 1)";

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayJobState {
    Running,
    Done,
    /// It could not go on; its progress says why.
    Failed,
    Cancelled,
}

impl ReplayJobState {
    const ALL: [Self; 4] = [Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Failed)
    }
}

/// A job to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewReplayJob {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub asked_by: String,
    pub sync: String,
    /// Which events and how, in the words of whoever works on it.
    pub order: String,
    /// Only events about one of them; all events where there is none.
    pub subjects: Vec<HashedSubject>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayJob {
    pub id: u64,
    pub asked: NewReplayJob,
    pub state: ReplayJobState,
    /// How far it is and what it did, in the words of whoever works on it; empty at first.
    pub progress: String,
    /// Events that were pending when it ended before its end.
    pub abandoned: u64,
    pub ended_at_us: Option<i64>,
}

impl ReplayJob {
    /// What it is called at its destination and where its pending events are kept.
    #[must_use]
    pub fn name(&self) -> String {
        replay_names::name(&self.asked.sync, self.id, self.asked.at_us)
    }
}

/// A step of a job.
#[derive(Debug, Clone, Copy)]
pub struct ReplayStep<'a> {
    pub progress: &'a str,
    /// Of the partition of the state that takes the step.
    pub pending: &'a [Pending],
    /// With this step the job ends; when, in microseconds since the epoch.
    pub end: Option<(ReplayJobState, i64)>,
}

/// What became of events of a job that could not be delivered at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayRetries {
    pub delivered: u64,
    pub refused: u64,
    pub skipped: u64,
    pub pending: u64,
}

const COLUMNS: &str = "id, at_us, asked_by, sync, asked, subjects, state, progress, abandoned, ended_at_us";

fn read(row: &Row<'_>) -> rusqlite::Result<ReplayJob> {
    let asked = NewReplayJob {
        at_us: sum::number(row, 1)?,
        asked_by: sum::text(row, 2)?,
        sync: sum::text(row, 3)?,
        order: sum::text(row, 4)?,
        subjects: subjects_of(&sum::text(row, 5)?),
    };
    Ok(ReplayJob {
        id: unsigned(sum::number(row, 0)?),
        asked,
        state: ReplayJobState::of(&sum::text(row, 6)?),
        progress: sum::text(row, 7)?,
        abandoned: unsigned(sum::number(row, 8)?),
        ended_at_us: row.get(9)?,
    })
}

impl State {
    /// Begins a job. `None` when too many wait for their turn.
    ///
    /// # Errors
    /// It does not begin.
    pub fn begin_replay_job(&mut self, job: &NewReplayJob) -> Result<Option<u64>, StateError> {
        let mut begun = None;
        self.in_transaction(true, |connection| {
            let sql = "INSERT INTO replay_jobs (id, at_us, asked_by, sync, asked, subjects, state, progress, abandoned)
                SELECT ?7, ?1, ?2, ?3, ?4, ?5, 'running', '', 0
                WHERE (SELECT count(*) FROM replay_jobs WHERE state = 'running') < ?6";
            let NewReplayJob { at_us, asked_by, sync, order, subjects } = job;
            let id = job_ids::next(connection, "replay_jobs")?;
            let values = params![at_us, asked_by, sync, order, subjects_text(subjects), JOBS_RUNNING_MAX, id];
            if connection.prepare_cached(sql)?.execute(values)? == 0 {
                return Ok(());
            }
            begun = Some(unsigned(id));
            job_ids::forget_ended(connection, ("replay_jobs", "state <> 'running'"), JOBS_KEPT)?;
            sweep(connection)
        })?;
        Ok(begun)
    }

    /// Removes what is left of jobs that nobody remembers, and what is pending of those that do not run.
    ///
    /// # Errors
    /// Nothing was removed.
    pub fn sweep_replays(&mut self) -> Result<(), StateError> {
        self.in_transaction(false, sweep)
    }

    /// The jobs that are remembered, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay_jobs(&self, jobs_max: u64) -> Result<Vec<ReplayJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM replay_jobs ORDER BY id DESC LIMIT ?1");
        let found = self.connection.prepare_cached(&sql);
        let found = found.and_then(|mut find| find.query_map([signed(jobs_max)], read)?.collect());
        found.map_err(self.err("could not read the replays"))
    }

    /// One job.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay_job(&self, id: u64) -> Result<Option<ReplayJob>, StateError> {
        self.one_replay_job("id = ?1", signed(id))
    }

    /// The oldest job that runs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn running_replay_job(&self) -> Result<Option<ReplayJob>, StateError> {
        self.one_replay_job("state = 'running' AND id > ?1 ORDER BY id LIMIT 1", 0)
    }

    fn one_replay_job(&self, condition: &str, value: i64) -> Result<Option<ReplayJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM replay_jobs WHERE {condition}");
        let found = self.connection.prepare_cached(&sql).and_then(|mut find| find.query_row([value], read).optional());
        found.map_err(self.err("could not read the replays"))
    }

    /// What became of events of a job that were pending.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay_retries(&self, job: &ReplayJob) -> Result<ReplayRetries, StateError> {
        let sql = format!(
            "SELECT coalesce(sum(delivered), 0), coalesce(sum(rejected), 0), coalesce(sum(filtered), 0),
                (SELECT count(*) FROM pending WHERE {NAME} = ?1) FROM syncs WHERE {NAME} = ?1"
        );
        let read = |row: &Row<'_>| {
            let number = |column| sum::number(row, column).map(unsigned);
            Ok(ReplayRetries { delivered: number(0)?, refused: number(1)?, skipped: number(2)?, pending: number(3)? })
        };
        let found = self.connection.prepare_cached(&sql).and_then(|mut find| find.query_row([job.name()], read));
        found.map_err(self.err("could not read the replays"))
    }

    /// Makes a step of a job, durably: what it says of its progress, and what is pending of it. False, and nothing is done, when the job
    /// does not run any more.
    ///
    /// # Errors
    /// It is where it was.
    pub fn step_replay_job(&mut self, job: &ReplayJob, step: &ReplayStep<'_>) -> Result<bool, StateError> {
        let ReplayStep { progress, pending, end: ending } = *step;
        let key = in_partition(&job.name(), self.partition).into_owned();
        let mut runs = false;
        self.in_transaction(true, |connection| {
            let sql = "UPDATE replay_jobs SET progress = ?2 WHERE id = ?1 AND state = 'running'";
            runs = connection.prepare_cached(sql)?.execute(params![signed(job.id), progress])? > 0;
            if !runs {
                return Ok(());
            }
            if !pending.is_empty() {
                // What becomes of them is counted there.
                let sql = "INSERT OR IGNORE INTO syncs (sync, cursor, sum) VALUES (?1, 0, ?2)";
                connection.prepare_cached(sql)?.execute(params![key, sum::named(&key, 0).value()])?;
            }
            pending.iter().try_for_each(|entry| pending::insert(connection, &key, entry))?;
            match ending {
                Some((state, at_us)) => end(connection, job, (state, at_us)).map(drop),
                None => Ok(()),
            }
        })?;
        Ok(runs)
    }

    /// Ends a job that runs before its end; false when it did not run. What was delivered stays so, what is pending is given up.
    ///
    /// # Errors
    /// It runs on.
    pub fn cancel_replay_job(&mut self, job: &ReplayJob, now_us: i64) -> Result<bool, StateError> {
        let mut is_cancelled = false;
        self.in_transaction(true, |connection| {
            is_cancelled = end(connection, job, (ReplayJobState::Cancelled, now_us))?;
            Ok(())
        })?;
        Ok(is_cancelled)
    }
}

fn end(connection: &Connection, job: &ReplayJob, (state, at_us): (ReplayJobState, i64)) -> rusqlite::Result<bool> {
    let sql = "UPDATE replay_jobs SET state = ?2, ended_at_us = ?3 WHERE id = ?1 AND state = 'running'";
    if connection.execute(sql, params![signed(job.id), state.as_str(), at_us])? == 0 {
        return Ok(false);
    }
    let abandoned = connection.execute(&format!("DELETE FROM pending WHERE {NAME} = ?1"), [job.name()])?;
    let sql = "UPDATE replay_jobs SET abandoned = ?2 WHERE id = ?1";
    connection.execute(sql, params![signed(job.id), signed(abandoned as u64)])?;
    Ok(true)
}

fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    let names = "SELECT sync || '.replay.' || id || '.' || at_us FROM replay_jobs";
    let sql = format!("DELETE FROM syncs WHERE {IS_OF_REPLAY} AND {NAME} NOT IN ({names})");
    connection.execute(&sql, [])?;
    let sql = format!("DELETE FROM pending WHERE {IS_OF_REPLAY} AND {NAME} NOT IN ({names} WHERE state = 'running')");
    connection.execute(&sql, []).map(drop)
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, Position};

    use super::*;

    fn pending(offset: u64) -> Pending {
        Pending {
            id: EventId::new(Position::new(0, offset), 0),
            user: "u".to_owned(),
            event: r#"{"type":"track"}"#.to_owned(),
            received_at_us: 1,
            first_tried_at_us: 2,
            attempts: 1,
            next_at_us: 3,
            error: "away".to_owned(),
        }
    }

    fn step(progress: &str) -> ReplayStep<'_> {
        ReplayStep { progress, pending: &[], end: None }
    }

    #[test]
    fn a_job_is_where_it_was_after_a_restart_and_its_sync_has_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let asked =
            NewReplayJob { at_us: 5, sync: "crm".to_owned(), order: "{}".to_owned(), ..NewReplayJob::default() };
        let id = state.begin_replay_job(&asked).unwrap().unwrap();
        let job = state.running_replay_job().unwrap().unwrap();
        assert_eq!((job.id, &job.asked, &*job.name()), (id, &asked, "crm.replay.1.5"));
        let waits = [pending(7)];
        assert!(state.step_replay_job(&job, &ReplayStep { pending: &waits, ..step("half") }).unwrap());
        drop(state);
        let mut state = State::open(&path).unwrap();
        state.sweep_replays().unwrap();
        assert_eq!(state.running_replay_job().unwrap().unwrap().progress, "half");
        assert_eq!(state.replay_retries(&job).unwrap(), ReplayRetries { pending: 1, ..ReplayRetries::default() });
        assert!(state.reports().unwrap().is_empty() && state.pending_marks("crm").unwrap().is_empty());
        assert!(state.cancel_replay_job(&job, 9).unwrap() && !state.cancel_replay_job(&job, 10).unwrap());
        assert!(!state.step_replay_job(&job, &step("more")).unwrap(), "it does not run any more");
        let found = state.replay_job(id).unwrap().unwrap();
        assert_eq!((found.state, found.abandoned, found.ended_at_us), (ReplayJobState::Cancelled, 1, Some(9)));
        assert_eq!((&*found.progress, state.replay_retries(&job).unwrap().pending), ("half", 0));
    }
}
