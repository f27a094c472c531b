//! Jobs that make the tables of a sync anew beside the old ones. One of a sync runs at a time; how far it is and what it did is a text of
//! whoever works on it.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{State, StateError, job_ids, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rebuild_jobs (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, asked_by TEXT NOT NULL, sync TEXT NOT NULL, asked TEXT NOT NULL,
        state TEXT NOT NULL, progress TEXT NOT NULL, swap_asked INTEGER NOT NULL DEFAULT 0, ended_at_us INTEGER
    );
";

/// Jobs that are remembered.
const JOBS_KEPT: i64 = 1_000;
/// Of those that have not come to their end.
const RUNS: &str = "state IN ('running', 'swapping')";
/// Jobs that may run at a time.
const JOBS_RUNNING_MAX: i64 = 10;

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildJobState {
    Running,
    /// Its tables take the place of the old ones: nothing ends it now.
    Swapping,
    Done,
    /// It could not go on; its progress says why.
    Failed,
    Cancelled,
}

impl RebuildJobState {
    const ALL: [Self; 5] = [Self::Running, Self::Swapping, Self::Done, Self::Failed, Self::Cancelled];

    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Swapping => "swapping",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has not come to its end.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Swapping)
    }

    fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Failed)
    }
}

/// A job to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRebuildJob {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub asked_by: String,
    pub sync: String,
    /// From where and how, in the words of whoever works on it.
    pub order: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildJob {
    pub id: u64,
    pub asked: NewRebuildJob,
    pub state: RebuildJobState,
    /// How far it is and what it did, in the words of whoever works on it; empty at first.
    pub progress: String,
    /// Somebody has asked for the new tables to take the place of the old ones.
    pub is_swap_asked: bool,
    pub ended_at_us: Option<i64>,
}

impl RebuildJob {
    /// What it is called in the ledger beside the new tables: never twice, also where the numbers of jobs begin anew. No sync has a dot in
    /// its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.rebuild.{}.{}", self.asked.sync, self.id, self.asked.at_us)
    }
}

/// Why a job did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildRefusal {
    /// This one of the same sync runs.
    OfSameSync(u64),
    TooMany,
}

const COLUMNS: &str = "id, at_us, asked_by, sync, asked, state, progress, swap_asked, ended_at_us";

fn read(row: &Row<'_>) -> rusqlite::Result<RebuildJob> {
    let asked = NewRebuildJob {
        at_us: sum::number(row, 1)?,
        asked_by: sum::text(row, 2)?,
        sync: sum::text(row, 3)?,
        order: sum::text(row, 4)?,
    };
    Ok(RebuildJob {
        id: unsigned(sum::number(row, 0)?),
        asked,
        state: RebuildJobState::of(&sum::text(row, 5)?),
        progress: sum::text(row, 6)?,
        is_swap_asked: sum::number(row, 7)? != 0,
        ended_at_us: row.get(8)?,
    })
}

impl State {
    /// Begins a job.
    ///
    /// # Errors
    /// It does not begin.
    pub fn begin_rebuild_job(&mut self, job: &NewRebuildJob) -> Result<Result<u64, RebuildRefusal>, StateError> {
        let mut begun = Err(RebuildRefusal::TooMany);
        self.in_transaction(true, |connection| {
            let sql = format!("SELECT id FROM rebuild_jobs WHERE {RUNS} AND sync = ?1 LIMIT 1");
            let same: Option<i64> =
                connection.prepare_cached(&sql)?.query_row([&job.sync], |row| row.get(0)).optional()?;
            if let Some(id) = same {
                begun = Err(RebuildRefusal::OfSameSync(unsigned(id)));
                return Ok(());
            }
            let sql = format!(
                "INSERT INTO rebuild_jobs (id, at_us, asked_by, sync, asked, state, progress)
                SELECT ?6, ?1, ?2, ?3, ?4, 'running', '' WHERE (SELECT count(*) FROM rebuild_jobs WHERE {RUNS}) < ?5"
            );
            let NewRebuildJob { at_us, asked_by, sync, order } = job;
            let id = job_ids::next(connection, "rebuild_jobs")?;
            let values = params![at_us, asked_by, sync, order, JOBS_RUNNING_MAX, id];
            if connection.prepare_cached(&sql)?.execute(values)? == 0 {
                return Ok(());
            }
            begun = Ok(unsigned(id));
            job_ids::forget_ended(connection, ("rebuild_jobs", &format!("NOT ({RUNS})")), JOBS_KEPT)
        })?;
        Ok(begun)
    }

    /// The jobs that are remembered, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rebuild_jobs(&self, jobs_max: u64) -> Result<Vec<RebuildJob>, StateError> {
        self.some_rebuild_jobs("1 ORDER BY id DESC", jobs_max)
    }

    /// The jobs that run, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn running_rebuild_jobs(&self) -> Result<Vec<RebuildJob>, StateError> {
        self.some_rebuild_jobs(&format!("{RUNS} ORDER BY id"), unsigned(JOBS_RUNNING_MAX))
    }

    fn some_rebuild_jobs(&self, condition: &str, jobs_max: u64) -> Result<Vec<RebuildJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM rebuild_jobs WHERE {condition} LIMIT ?1");
        let found = self.connection.prepare_cached(&sql);
        let found = found.and_then(|mut find| find.query_map([signed(jobs_max)], read)?.collect());
        found.map_err(self.err("could not read the rebuilds"))
    }

    /// One job.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rebuild_job(&self, id: u64) -> Result<Option<RebuildJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM rebuild_jobs WHERE id = ?1");
        let found = self.connection.prepare_cached(&sql);
        let found = found.and_then(|mut find| find.query_row([signed(id)], read).optional());
        found.map_err(self.err("could not read the rebuilds"))
    }

    /// Keeps what a job says of its progress, durably, and how it is from then on, at a time in microseconds since the epoch. False, and nothing
    /// is done, when the job does not run any more.
    ///
    /// # Errors
    /// It is where it was.
    pub fn step_rebuild_job(
        &mut self,
        id: u64,
        progress: &str,
        (state, at_us): (RebuildJobState, i64),
    ) -> Result<bool, StateError> {
        let ended_at_us = (!state.runs()).then_some(at_us);
        let mut runs = false;
        self.in_transaction(true, |connection| {
            let sql =
                format!("UPDATE rebuild_jobs SET progress = ?2, state = ?3, ended_at_us = ?4 WHERE id = ?1 AND {RUNS}");
            let values = params![signed(id), progress, state.as_str(), ended_at_us];
            runs = connection.prepare_cached(&sql)?.execute(values)? > 0;
            Ok(())
        })?;
        Ok(runs)
    }

    /// Has a job swap the tables as soon as the new ones are as far as the old ones; false when it does not run.
    ///
    /// # Errors
    /// It is as it was.
    pub fn ask_for_swap(&mut self, id: u64) -> Result<bool, StateError> {
        let mut is_asked = false;
        self.in_transaction(true, |connection| {
            let sql = "UPDATE rebuild_jobs SET swap_asked = 1 WHERE id = ?1 AND state = 'running'";
            is_asked = connection.execute(sql, [signed(id)])? > 0;
            Ok(())
        })?;
        Ok(is_asked)
    }

    /// Ends a job that runs before its end; false when it did not run, or swaps tables. What it has made stays.
    ///
    /// # Errors
    /// It runs on.
    pub fn cancel_rebuild_job(&mut self, id: u64, now_us: i64) -> Result<bool, StateError> {
        let mut is_cancelled = false;
        self.in_transaction(true, |connection| {
            let sql =
                "UPDATE rebuild_jobs SET state = 'cancelled', ended_at_us = ?2 WHERE id = ?1 AND state = 'running'";
            is_cancelled = connection.execute(sql, params![signed(id), now_us])? > 0;
            Ok(())
        })?;
        Ok(is_cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_of_a_sync_runs_at_a_time_and_is_where_it_was_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let asked = |sync: &str| NewRebuildJob { at_us: 5, sync: sync.to_owned(), ..NewRebuildJob::default() };
        assert_eq!(state.begin_rebuild_job(&asked("a")).unwrap(), Ok(1));
        assert_eq!(state.begin_rebuild_job(&asked("a")).unwrap(), Err(RebuildRefusal::OfSameSync(1)));
        assert_eq!(state.begin_rebuild_job(&asked("b")).unwrap(), Ok(2));
        assert!(
            state.step_rebuild_job(1, "half", (RebuildJobState::Running, 6)).unwrap() && state.ask_for_swap(1).unwrap()
        );
        drop(state);
        let mut state = State::open(&path).unwrap();
        let jobs = state.running_rebuild_jobs().unwrap();
        assert_eq!(jobs.iter().map(RebuildJob::name).collect::<Vec<_>>(), ["a.rebuild.1.5", "b.rebuild.2.5"]);
        assert_eq!((&*jobs[0].progress, jobs[0].is_swap_asked, jobs[1].is_swap_asked), ("half", true, false));
        assert!(state.step_rebuild_job(1, "half", (RebuildJobState::Swapping, 7)).unwrap());
        assert!(!state.cancel_rebuild_job(1, 8).unwrap(), "it swaps tables");
        assert_eq!(state.rebuild_job(1).unwrap().unwrap().ended_at_us, None);
        assert!(state.step_rebuild_job(1, "all", (RebuildJobState::Done, 9)).unwrap());
        assert!(state.cancel_rebuild_job(2, 10).unwrap() && !state.cancel_rebuild_job(1, 11).unwrap());
        assert!(
            !state.step_rebuild_job(1, "more", (RebuildJobState::Running, 12)).unwrap()
                && !state.ask_for_swap(2).unwrap()
        );
        let found: Vec<_> =
            state.rebuild_jobs(9).unwrap().into_iter().map(|job| (job.state, job.ended_at_us)).collect();
        assert_eq!(found, [(RebuildJobState::Cancelled, Some(10)), (RebuildJobState::Done, Some(9))]);
        assert_eq!(state.begin_rebuild_job(&asked("a")).unwrap(), Ok(3));
    }
}
