//! The connection and the thread that owns it.
//!
//! Three doors: [`Settings::check`] does no I/O, [`Checked::open`] opens the file and spawns nothing, [`Client::run`]
//! starts the thread. A client may also be used as it is, where blocking is welcome.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};
use tidegate_sqlite::sqlite_check::{self, Depth};
use tidegate_warehouse::Part;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::schema_cache::Found;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::waiting::{ROUNDS_MAX, Waiting};
use tokio::sync::{mpsc, oneshot};

use super::error::{SqliteError, doing};
use super::load::{self, Care, Session};

/// What an operator may say of a SQLite warehouse.
#[derive(Debug, Clone)]
pub struct Settings {
    pub path: PathBuf,
    pub limits: Limits,
    /// How long to wait for another writer.
    pub busy_timeout: Duration,
    /// How large the write-ahead log may become before readers that hold it are waited for.
    pub log_bytes_max: u64,
}

impl Settings {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            limits: Limits::default(),
            busy_timeout: Duration::from_secs(5),
            log_bytes_max: 256 << 20,
        }
    }

    /// The first door: whether these settings can be used at all. The schema is put before every table name as
    /// `schema__`.
    pub fn check(self, part: &Part) -> Result<Checked, Failure> {
        // SQLite compiles for at most 2,000 columns; one is kept for the overflow.
        let problem = if self.path.as_os_str().is_empty() || self.path == Path::new(":memory:") {
            Some("the path names no file")
        } else if part.sync.is_empty() {
            Some("the sync has no name")
        } else if part.schema.as_deref().is_some_and(|schema| !is_schema(schema)) {
            Some("a schema is lower-case letters, digits and single underscores, and begins with a letter")
        } else if !(32..=1900).contains(&self.limits.columns_max) {
            Some("columns_max is not between 32 and 1,900")
        } else if !(1..=10_000).contains(&self.limits.tables_max) {
            Some("tables_max is not between 1 and 10,000")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(SqliteError::Settings { problem }.failure(&self.path));
        }
        let prefix = part.schema.as_ref().map(|schema| format!("{schema}__")).unwrap_or_default();
        let mut log_path = self.path.clone().into_os_string();
        log_path.push("-wal");
        Ok(Checked {
            path: self.path,
            log_path: log_path.into(),
            sync: part.sync.clone(),
            prefix,
            declared: Arc::clone(&part.declared),
            waiting: Waiting::default(),
            limits: self.limits,
            busy_timeout: self.busy_timeout,
            log_bytes_max: self.log_bytes_max,
        })
    }
}

fn is_schema(schema: &str) -> bool {
    schema.starts_with(|c: char| c.is_ascii_lowercase())
        && schema.len() <= NAME_BYTES_MAX
        && schema.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !schema.contains("__")
        && !schema.ends_with('_')
        && !schema.starts_with("sqlite_")
}

/// Settings that can be used.
#[derive(Debug)]
pub struct Checked {
    pub(super) path: PathBuf,
    pub(super) log_path: PathBuf,
    pub(super) sync: String,
    pub(super) prefix: String,
    pub(super) declared: Arc<Declared>,
    pub(super) waiting: Waiting,
    pub(super) limits: Limits,
    pub(super) busy_timeout: Duration,
    pub(super) log_bytes_max: u64,
}

impl Checked {
    /// The second door: opens the file, makes the ledger, reads what exists. A file that somebody else holds is opened
    /// at the next call.
    pub fn open(self) -> Result<Client, Failure> {
        let settings = Arc::new(self);
        let mut client = Client { settings, session: None, looked_at: false };
        match client.attempt(|_| Ok(())) {
            // It is looked at again at the next call: an operator may put a whole file in its place meanwhile.
            Ok(()) | Err(SqliteError::Damaged { .. } | SqliteError::Ledger) => Ok(client),
            Err(error) => match error.failure(&client.settings.path) {
                Failure::Retry { .. } => Ok(client),
                failure => Err(failure),
            },
        }
    }

    /// What exists, looked up without changing the file; nothing where there is no file.
    pub fn find(self) -> Result<Found, Failure> {
        if !self.path.exists() {
            return Ok(Found::default());
        }
        load::find(&self).map_err(|error| error.failure(&self.path))
    }

    /// The name of one of this warehouse's tables without its prefix; `None` for other people's. No table's own name
    /// has two underscores behind its first character, so a prefix is told apart.
    pub(super) fn short<'n>(&self, full: &'n str) -> Option<&'n str> {
        let short = full.strip_prefix(&self.prefix)?;
        (!short.trim_start_matches('_').contains("__")).then_some(short)
    }
}

/// The open file. Its calls block, and wait for the disk.
pub struct Client {
    settings: Arc<Checked>,
    /// Gone after a failure; the next call opens the file anew.
    session: Option<Session>,
    /// Whether the file was found whole; nothing is written to one that is damaged.
    looked_at: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// What [`Destination::durable_to`] promises.
    pub fn durable_to(&mut self) -> Result<Option<u64>, Failure> {
        self.attempt(Session::durable_to).map_err(|error| error.failure(&self.settings.path))
    }

    /// What [`Destination::deliver`] promises.
    pub fn deliver(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        let (mut care, mut rounds) = (Care::Swift, 0);
        loop {
            match self.attempt(|session| session.deliver(batch, care)) {
                Err(SqliteError::Waits) if rounds < ROUNDS_MAX => rounds += 1,
                Err(error) if error.is_of_row() && care == Care::Swift => care = Care::OneByOne,
                done => return done.map_err(|error| error.failure(&self.settings.path)),
            }
        }
    }

    /// The third door: gives the file to a thread of its own.
    pub fn run(self) -> Result<SqliteWarehouse, Failure> {
        let settings = Arc::clone(&self.settings);
        let (orders, inbox) = mpsc::channel(1);
        let thread = std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || {
                tidegate_process::task::give_way();
                serve(self, inbox);
            })
            .map_err(|source| SqliteError::Spawn { source }.failure(&settings.path))?;
        Ok(SqliteWarehouse { settings, orders: Some(orders), thread: Some(thread) })
    }

    /// Does the work with the session, which survives success only.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T, SqliteError>) -> Result<T, SqliteError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                self.look_at_file()?;
                Session::open(&self.settings)?
            }
        };
        let done = work(&mut session);
        match &done {
            Ok(_) => self.session = Some(session),
            Err(SqliteError::Sqlite { source, .. }) if sqlite_check::is_damage(source) => self.looked_at = false,
            Err(_) => {}
        }
        done
    }
}

impl Client {
    /// Looks whether the file is whole before it is first written to. A large one is checked in the background by whoever
    /// keeps this warehouse.
    fn look_at_file(&mut self) -> Result<(), SqliteError> {
        let path = &self.settings.path;
        let small = path.metadata().is_ok_and(|found| found.len() <= sqlite_check::AT_START_BYTES_MAX);
        if self.looked_at || !small {
            return Ok(());
        }
        let found = sqlite_check::check(path, Depth::Quick).map_err(doing("checking the file"))?;
        match found.into_iter().next() {
            // A first page that is no database's may as well be another program's file: opening says so.
            Some(what) if !what.contains("not a database") => Err(SqliteError::Damaged { what }),
            _ => {
                self.looked_at = true;
                Ok(())
            }
        }
    }
}

enum Order {
    DurableTo(oneshot::Sender<Result<Option<u64>, Failure>>),
    Deliver(Arc<Batch>, oneshot::Sender<Result<Delivery, Failure>>),
}

/// The thread: takes orders until nobody can give any. An answer that nobody waits for is no loss, for the ledger
/// remembers.
fn serve(mut client: Client, mut inbox: mpsc::Receiver<Order>) {
    while let Some(order) = inbox.blocking_recv() {
        match order {
            Order::DurableTo(reply) => drop(reply.send(client.durable_to())),
            Order::Deliver(batch, reply) => drop(reply.send(client.deliver(&batch))),
        }
    }
}

/// A SQLite file as a destination. Dropping it waits for the batch in hand and closes the file.
#[derive(Debug)]
pub struct SqliteWarehouse {
    settings: Arc<Checked>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteWarehouse {
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Order) -> Result<T, Failure> {
        let gone = || SqliteError::Gone.failure(&self.settings.path);
        let (reply, answer) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(order(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Destination for SqliteWarehouse {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.ask(Order::DurableTo))
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(self.ask(|reply| Order::Deliver(batch, reply)))
    }
}

impl Drop for SqliteWarehouse {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been logged and has failed the batch it was at.
            let _ = thread.join();
        }
    }
}
