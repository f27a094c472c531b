//! One connection on a thread of its own, and the transactions that take turns at it.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use tidegate_sqlite::sqlite_check;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::store::{CatalogTransaction, StoreAccess, StoreCell, StoreError, StoreReply, StoredRow};

/// What the thread is told. There is one transaction at a time, which waits for each answer: the channel holds two.
enum LaneJob {
    Begin(oneshot::Sender<Answer>),
    Run {
        sql: String,
        cells: Vec<StoreCell>,
        answer: oneshot::Sender<Answer>,
    },
    RunEach {
        sql: String,
        rows: Vec<Vec<StoreCell>>,
        answer: oneshot::Sender<Answer>,
    },
    Script {
        sql: String,
        answer: oneshot::Sender<Answer>,
    },
    Commit(oneshot::Sender<Answer>),
    /// The transaction was dropped.
    Forget,
}

type Answer = Result<Vec<StoredRow>, StoreError>;

/// Jobs on their way to the thread.
type LaneJobs = mpsc::Sender<LaneJob>;

/// A connection that one transaction at a time has.
pub(super) struct SqliteLane {
    jobs: Arc<Mutex<LaneJobs>>,
    place: String,
}

impl SqliteLane {
    /// Starts the thread. It ends when the lane and its transaction are gone.
    pub(super) fn new(
        connection: Connection,
        access: StoreAccess,
        place: String,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (jobs, waiting) = mpsc::channel();
        let of_thread = place.clone();
        let name = if access == StoreAccess::Write { "catalog-write" } else { "catalog-read" };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&connection, &waiting, access, &of_thread))
            .map_err(|error| StoreError::Failed {
                place: place.clone(),
                action: "its thread could not be started",
                cause: error.to_string(),
            })?;
        Ok((Self { jobs: Arc::new(Mutex::new(jobs)), place }, thread))
    }

    /// Waits for the connection, and begins.
    pub(super) async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        let jobs = Arc::clone(&self.jobs).lock_owned().await;
        let mut transaction = SqliteTransaction { jobs, place: self.place.clone(), is_open: true, has_failed: false };
        transaction.ask(LaneJob::Begin).await?;
        Ok(transaction)
    }
}

/// The transaction that has the connection now.
pub(super) struct SqliteTransaction {
    jobs: OwnedMutexGuard<LaneJobs>,
    place: String,
    is_open: bool,
    has_failed: bool,
}

impl SqliteTransaction {
    async fn ask(&mut self, job: impl FnOnce(oneshot::Sender<Answer>) -> LaneJob + Send) -> Answer {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::Failed {
            place: self.place.clone(),
            action: "its thread has ended",
            cause: "start the server again".to_owned(),
        };
        self.jobs.send(job(answer)).map_err(|_| ended())?;
        let answer = answered.await.map_err(|_| ended())?;
        self.has_failed |= answer.is_err();
        answer
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.jobs.send(LaneJob::Forget);
        }
    }
}

impl CatalogTransaction for SqliteTransaction {
    fn run<'a>(&'a mut self, sql: &'a str, cells: Vec<StoreCell>) -> StoreReply<'a, Vec<StoredRow>> {
        let sql = numbered(sql);
        Box::pin(async move { self.ask(|answer| LaneJob::Run { sql, cells, answer }).await })
    }

    fn run_each<'a>(&'a mut self, sql: &'a str, rows: Vec<Vec<StoreCell>>) -> StoreReply<'a, ()> {
        let sql = numbered(sql);
        Box::pin(async move { self.ask(|answer| LaneJob::RunEach { sql, rows, answer }).await.map(drop) })
    }

    fn run_script<'a>(&'a mut self, sql: &'a str) -> StoreReply<'a, ()> {
        let sql = sql.to_owned();
        Box::pin(async move { self.ask(|answer| LaneJob::Script { sql, answer }).await.map(drop) })
    }

    fn commit(mut self: Box<Self>) -> StoreReply<'static, ()> {
        Box::pin(async move {
            if self.has_failed {
                return Err(StoreError::failed_before(&self.place));
            }
            let done = self.ask(LaneJob::Commit).await;
            self.is_open = done.is_err();
            done.map(drop)
        })
    }
}

/// `$1` as SQLite has it: `?1`. No statement here has a dollar sign elsewhere.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn serve(connection: &Connection, waiting: &mpsc::Receiver<LaneJob>, access: StoreAccess, place: &str) {
    let begin = if access == StoreAccess::Write { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let error = |action| move |cause: rusqlite::Error| described(&cause, action, place);
    let script = |sql: &str, action| connection.execute_batch(sql).map(|()| Vec::new()).map_err(error(action));
    while let Ok(job) = waiting.recv() {
        // Who has asked may be gone: then the answer is nobody's, and a forgetting follows.
        let _ = match job {
            LaneJob::Begin(answer) => {
                forget(connection);
                answer.send(script(begin, "could not begin"))
            }
            LaneJob::Run { sql, cells, answer } => {
                answer.send(run(connection, &sql, &cells).map_err(error("could not be read or written")))
            }
            LaneJob::RunEach { sql, rows, answer } => {
                let done = rows.iter().try_for_each(|cells| run(connection, &sql, cells).map(drop));
                answer.send(done.map(|()| Vec::new()).map_err(error("could not be written")))
            }
            LaneJob::Script { sql, answer } => answer.send(script(&sql, "could not be set up")),
            LaneJob::Commit(answer) => answer.send(script("COMMIT", "could not commit")),
            LaneJob::Forget => {
                forget(connection);
                Ok(())
            }
        };
    }
    forget(connection);
}

fn forget(connection: &Connection) {
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

fn run(connection: &Connection, sql: &str, cells: &[StoreCell]) -> rusqlite::Result<Vec<StoredRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    for (at, cell) in cells.iter().enumerate() {
        match cell {
            StoreCell::Null => statement.raw_bind_parameter(at + 1, rusqlite::types::Null)?,
            StoreCell::Integer(number) => statement.raw_bind_parameter(at + 1, number)?,
            StoreCell::Text(text) => statement.raw_bind_parameter(at + 1, text)?,
            StoreCell::Bytes(bytes) => statement.raw_bind_parameter(at + 1, bytes)?,
        }
    }
    let columns = statement.column_count();
    let (mut found, mut rows) = (Vec::new(), statement.raw_query());
    while let Some(row) = rows.next()? {
        let cells = (0..columns).map(|at| read(row.get_ref(at)?, at));
        found.push(StoredRow(cells.collect::<rusqlite::Result<_>>()?));
    }
    Ok(found)
}

fn read(value: ValueRef<'_>, at: usize) -> rusqlite::Result<StoreCell> {
    Ok(match value {
        ValueRef::Null => StoreCell::Null,
        ValueRef::Integer(number) => StoreCell::Integer(number),
        ValueRef::Text(text) => StoreCell::Text(
            std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(at, error))?.to_owned(),
        ),
        ValueRef::Blob(bytes) => StoreCell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidColumnType(at, String::new(), value.data_type())),
    })
}

fn described(cause: &rusqlite::Error, action: &'static str, place: &str) -> StoreError {
    let (place, text) = (place.to_owned(), sqlite_check::plain(cause));
    if sqlite_check::is_damage(cause) {
        return StoreError::Damaged { place, what: text };
    }
    match cause.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Taken { place, cause: text },
        _ => StoreError::Failed { place, action, cause: text },
    }
}
