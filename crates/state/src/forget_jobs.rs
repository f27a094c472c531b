//! Jobs that forget somebody. A job knows whom it is about by hashes alone; its progress is a text of whoever works on it.
//!
//! Tools behind destination plugins know nobody by our hashes: for as long as a job has them to ask, the ids are here in clear as well.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidegate_event::subject::SubjectKind;

use super::subjects::{hex, unhex};
use super::{ClearSubject, HashedSubject, State, StateError, job_ids, seal, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS forgotten (log_offset INTEGER PRIMARY KEY, job INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS forget_jobs (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, asked_by TEXT NOT NULL, subjects TEXT NOT NULL,
        dry_run INTEGER NOT NULL, state TEXT NOT NULL, progress TEXT NOT NULL, ended_at_us INTEGER
    );
";

/// Made when it is needed: files of this format may lack it.
const PEOPLE_TABLE: &str = "
    CREATE TABLE forget_people (
        job INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, trait TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (job, number)
    ) WITHOUT ROWID;
";

/// Jobs that are remembered.
const JOBS_KEPT: i64 = 1_000;
/// Jobs that may wait for their turn.
const JOBS_RUNNING_MAX: i64 = 100;

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetJobState {
    Running,
    Done,
}

impl ForgetJobState {
    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
        }
    }
}

/// A job to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewForgetJob {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub asked_by: String,
    pub subjects: Vec<HashedSubject>,
    /// Nothing is removed.
    pub dry_run: bool,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetJob {
    pub id: u64,
    pub asked: NewForgetJob,
    pub state: ForgetJobState,
    /// How far it is and what it found, in the words of whoever works on it; empty at first.
    pub progress: String,
    pub ended_at_us: Option<i64>,
}

/// Subjects as a job keeps them.
pub(super) fn subjects_text(subjects: &[HashedSubject]) -> String {
    let shown = |subject: &HashedSubject| {
        let HashedSubject { kind, trait_name, hash } = subject;
        format!("{} {} {trait_name}", kind.as_str(), hex(hash))
    };
    subjects.iter().map(shown).collect::<Vec<_>>().join("\n")
}

pub(super) fn subjects_of(text: &str) -> Vec<HashedSubject> {
    let subject = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let (hash, trait_name) = rest.split_once(' ')?;
        Some(HashedSubject { kind: SubjectKind::parse(kind)?, trait_name: trait_name.to_owned(), hash: unhex(hash)? })
    };
    text.lines().filter_map(subject).collect()
}

pub(super) const COLUMNS: &str = "id, at_us, asked_by, subjects, dry_run, state, progress, ended_at_us";

fn read(row: &Row<'_>) -> rusqlite::Result<ForgetJob> {
    let asked = NewForgetJob {
        at_us: sum::number(row, 1)?,
        asked_by: sum::text(row, 2)?,
        subjects: subjects_of(&sum::text(row, 3)?),
        dry_run: sum::number(row, 4)? != 0,
    };
    let state = if sum::text(row, 5)? == "running" { ForgetJobState::Running } else { ForgetJobState::Done };
    Ok(ForgetJob {
        id: unsigned(sum::number(row, 0)?),
        asked,
        state,
        progress: sum::text(row, 6)?,
        ended_at_us: row.get(7)?,
    })
}

/// Carries a job of a damaged file over, by its [`COLUMNS`]. One that ran begins anew: what it found is found again. Without the key of the
/// file its hashes mean nobody.
pub(super) fn salvage(new: &Connection, row: &Row<'_>) -> rusqlite::Result<u64> {
    let Ok(ForgetJob { id, asked, state, progress, ended_at_us }) = read(row) else { return Ok(0) };
    let has_key = new.prepare_cached("SELECT 1 FROM suppress_key")?.exists([])?;
    if !has_key || asked.subjects.is_empty() {
        return Ok(0);
    }
    let progress = if state == ForgetJobState::Running { "" } else { progress.as_str() };
    let NewForgetJob { at_us, asked_by, subjects, dry_run } = asked;
    let sql = format!("INSERT OR IGNORE INTO forget_jobs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let subjects = subjects_text(&subjects);
    let values = params![signed(id), at_us, asked_by, subjects, dry_run, state.as_str(), progress, ended_at_us];
    new.prepare_cached(&sql)?.execute(values).map(|rows| rows as u64)
}

fn has_people(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'forget_people'")?.exists([])
}

fn keep_people(connection: &Connection, job: i64, people: &[ClearSubject]) -> rusqlite::Result<()> {
    if !has_people(connection)? {
        connection.execute_batch(PEOPLE_TABLE)?;
        seal::seal(connection)?;
    }
    let sql = "INSERT INTO forget_people (job, number, kind, trait, value) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut keep = connection.prepare_cached(sql)?;
    for (number, ClearSubject { kind, trait_name, value }) in (0_i64..).zip(people) {
        keep.execute(params![job, number, kind.as_str(), trait_name, value])?;
    }
    Ok(())
}

impl State {
    /// Begins a job; the id of one for the same subjects that waits for its turn, if there is one: it finds what has come until then. `None` when
    /// too many wait. `people` are its subjects in clear, in their order, where tools are to be asked about them; else none.
    ///
    /// # Errors
    /// It does not begin.
    pub fn begin_forget_job(&mut self, job: &NewForgetJob, people: &[ClearSubject]) -> Result<Option<u64>, StateError> {
        let subjects = subjects_text(&job.subjects);
        let mut begun = None;
        self.in_transaction(true, |connection| {
            let sql = "SELECT id FROM forget_jobs WHERE state = 'running' AND progress = '' AND subjects = ?1
                AND dry_run = ?2 LIMIT 1";
            let same = params![subjects, job.dry_run];
            let running: Option<i64> = connection.prepare_cached(sql)?.query_row(same, |row| row.get(0)).optional()?;
            if let Some(id) = running {
                begun = Some(unsigned(id));
                return Ok(());
            }
            let sql = "INSERT INTO forget_jobs (id, at_us, asked_by, subjects, dry_run, state, progress)
                SELECT ?6, ?1, ?2, ?3, ?4, 'running', ''
                WHERE (SELECT count(*) FROM forget_jobs WHERE state = 'running') < ?5";
            let id = job_ids::next(connection, "forget_jobs")?;
            let values = params![job.at_us, job.asked_by, subjects, job.dry_run, JOBS_RUNNING_MAX, id];
            if connection.prepare_cached(sql)?.execute(values)? == 0 {
                return Ok(());
            }
            begun = Some(unsigned(id));
            if !people.is_empty() {
                keep_people(connection, id, people)?;
            }
            job_ids::forget_ended(connection, ("forget_jobs", "state <> 'running'"), JOBS_KEPT)
        })?;
        Ok(begun)
    }

    /// The jobs that are remembered, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn forget_jobs(&self, jobs_max: u64) -> Result<Vec<ForgetJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM forget_jobs ORDER BY id DESC LIMIT ?1");
        let found = self.connection.prepare_cached(&sql);
        let found = found.and_then(|mut find| find.query_map([signed(jobs_max)], read)?.collect());
        found.map_err(self.err("could not read the jobs that forget"))
    }

    /// One job.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn forget_job(&self, id: u64) -> Result<Option<ForgetJob>, StateError> {
        self.one_forget_job("id = ?1", signed(id))
    }

    /// The oldest job that runs.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn running_forget_job(&self) -> Result<Option<ForgetJob>, StateError> {
        self.one_forget_job("state = 'running' AND id > ?1 ORDER BY id LIMIT 1", 0)
    }

    /// Whether a job that forgets somebody was at work at this time, in microseconds since the epoch, or later, or waits for its turn.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn has_forgotten_since(&self, at_us: i64) -> Result<bool, StateError> {
        let sql = "SELECT 1 FROM forget_jobs WHERE dry_run = 0 AND (ended_at_us IS NULL OR ended_at_us >= ?1) LIMIT 1";
        let found = self.connection.prepare_cached(sql).and_then(|mut find| find.exists([at_us]));
        found.map_err(self.err("could not read the jobs that forget"))
    }

    fn one_forget_job(&self, condition: &str, value: i64) -> Result<Option<ForgetJob>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM forget_jobs WHERE {condition}");
        let found = self.connection.prepare_cached(&sql).and_then(|mut find| find.query_row([value], read).optional());
        found.map_err(self.err("could not read the jobs that forget"))
    }

    /// The subjects of a job in clear, in their order; none where they were not kept, or are not any more.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn forget_people(&self, id: u64) -> Result<Vec<ClearSubject>, StateError> {
        let sql = "SELECT kind, trait, value FROM forget_people WHERE job = ?1 ORDER BY number";
        let read = |row: &Row<'_>| Ok((sum::text(row, 0)?, sum::text(row, 1)?, sum::text(row, 2)?));
        let find = || -> rusqlite::Result<Vec<(String, String, String)>> {
            if !has_people(&self.connection)? {
                return Ok(Vec::new());
            }
            self.connection.prepare_cached(sql)?.query_map([signed(id)], read)?.collect()
        };
        let found = find().map_err(self.err("could not read whom a job forgets"))?;
        let subject = |(kind, trait_name, value): (String, String, String)| {
            Some(ClearSubject { kind: SubjectKind::parse(&kind)?, trait_name, value })
        };
        Ok(found.into_iter().filter_map(subject).collect())
    }

    /// Forgets the subjects of a job in clear; their bytes go when the file is written anew.
    ///
    /// # Errors
    /// They are still there.
    pub fn drop_forget_people(&mut self, id: u64) -> Result<(), StateError> {
        self.in_transaction(true, |connection| {
            if !has_people(connection)? {
                return Ok(());
            }
            let sql = "DELETE FROM forget_people WHERE job = ?1";
            connection.prepare_cached(sql)?.execute([signed(id)]).map(drop)
        })
    }

    /// Keeps how far a job is, durably; with `ended_at_us` it is done.
    ///
    /// # Errors
    /// It is where it was.
    pub fn step_forget_job(&mut self, id: u64, progress: &str, ended_at_us: Option<i64>) -> Result<(), StateError> {
        let sql = "UPDATE forget_jobs SET progress = ?2, ended_at_us = ?3,
            state = CASE WHEN ?3 IS NULL THEN state ELSE 'done' END WHERE id = ?1";
        self.in_transaction(true, |connection| {
            connection.prepare_cached(sql)?.execute(params![signed(id), progress, ended_at_us]).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::Position;

    use super::super::ClearSubject;
    use super::*;

    #[test]
    fn a_job_is_begun_once_and_is_where_it_was_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let named = ["a", "b"].map(|value| ClearSubject {
            kind: SubjectKind::Trait,
            trait_name: "e mail".to_owned(),
            value: value.to_owned(),
        });
        let job = NewForgetJob {
            at_us: 5,
            asked_by: "somebody".to_owned(),
            subjects: state.hashed(&named).unwrap(),
            dry_run: false,
        };
        let id = state.begin_forget_job(&job, &[]).unwrap();
        assert_eq!(state.begin_forget_job(&job, &[]).unwrap(), id);
        let dry = state.begin_forget_job(&NewForgetJob { dry_run: true, ..job.clone() }, &[]).unwrap();
        assert_ne!(dry, id);
        state.step_forget_job(id.unwrap(), "half", None).unwrap();
        // It may be past what has come since.
        let later = state.begin_forget_job(&job, &[]).unwrap();
        assert!(later > dry, "{later:?}");
        state.step_forget_job(later.unwrap(), "all", Some(8)).unwrap();
        drop(state);
        let mut state = State::open(&path).unwrap();
        let found = state.running_forget_job().unwrap().unwrap();
        assert_eq!((found.id, &found.asked, found.progress.as_str()), (id.unwrap(), &job, "half"));
        assert!(state.has_forgotten_since(100).unwrap(), "it runs");
        state.step_forget_job(found.id, "all", Some(9)).unwrap();
        assert_eq!([9, 10].map(|at_us| state.has_forgotten_since(at_us).unwrap()), [true, false]);
        assert_eq!(state.running_forget_job().unwrap().map(|job| job.id), dry);
        assert_eq!(state.forget_job(found.id).unwrap().unwrap().state, ForgetJobState::Done);
    }

    #[test]
    fn whom_tools_are_to_delete_is_kept_in_clear_until_they_were_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let people = ["marker-1", "marker-0"].map(|value| ClearSubject {
            kind: SubjectKind::User,
            trait_name: String::new(),
            value: value.to_owned(),
        });
        let job = NewForgetJob { at_us: 5, subjects: state.hashed(&people).unwrap(), ..NewForgetJob::default() };
        let id = state.begin_forget_job(&job, &people).unwrap().unwrap();
        // The same order once more is the same job, and keeps nobody twice.
        assert_eq!(state.begin_forget_job(&job, &people).unwrap(), Some(id));
        drop(state);
        let mut state = State::open(&path).unwrap();
        let values = |state: &State| -> Vec<String> {
            state.forget_people(id).unwrap().into_iter().map(|person| person.value).collect()
        };
        assert_eq!(values(&state), ["marker-1", "marker-0"]);
        state.drop_forget_people(id).unwrap();
        assert!(values(&state).is_empty());
        assert!(state.leave_no_trace().unwrap());
        drop(state);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"marker-"));
        let verified = super::super::verify(&path, tidegate_sqlite::sqlite_check::Depth::Full);
        assert!(verified.unwrap().is_whole());
    }

    #[test]
    fn a_job_that_ran_begins_anew_in_the_file_that_is_made_of_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.db");
        let mut old = State::open(&path).unwrap();
        let named = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: "ann".to_owned() };
        let job = NewForgetJob { at_us: 5, subjects: old.hashed(&[named]).unwrap(), ..NewForgetJob::default() };
        let done = old.begin_forget_job(&job, &[]).unwrap().unwrap();
        old.step_forget_job(done, "all", Some(9)).unwrap();
        let running = old.begin_forget_job(&job, &[]).unwrap().unwrap();
        old.step_forget_job(running, "half", None).unwrap();
        drop(old);
        let mut new = State::open(&dir.path().join("new.db")).unwrap();
        new.salvage(&path).unwrap();
        let found = new.running_forget_job().unwrap().unwrap();
        assert_eq!((found.id, &found.asked, found.progress.as_str()), (running, &job, ""));
        assert_eq!(new.forget_job(done).unwrap().unwrap().progress, "all");
        assert!(new.subject_set(&found.asked.subjects).unwrap().has_user("ann"));
    }

    #[test]
    fn what_a_job_has_found_is_known_until_it_is_done_although_the_log_is_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let named = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: "ann".to_owned() };
        let job = NewForgetJob { subjects: state.hashed(&[named]).unwrap(), ..NewForgetJob::default() };
        let id = state.begin_forget_job(&job, &[]).unwrap().unwrap();
        state.keep_forgotten(&[Position::new(0, 4)], id).unwrap();
        let known = |state: &State| -> i64 {
            state.connection.query_row("SELECT count(*) FROM forgotten", [], |row| row.get(0)).unwrap()
        };
        state.forget_below(9).unwrap();
        assert_eq!(known(&state), 1);
        state.step_forget_job(id, "all", Some(9)).unwrap();
        state.forget_below(9).unwrap();
        assert_eq!(known(&state), 0);
    }
}
