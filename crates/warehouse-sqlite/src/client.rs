//! The connection and the thread that owns it.
//!
//! Three doors: [`SqliteSettings::check`] does no I/O, [`CheckedSqlite::open`] opens the file and spawns nothing, [`SqliteClient::run`]
//! starts the thread. A client may also be used as it is, where blocking is welcome.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::plan::FoundRow;
use tidegate_warehouse::schema_cache::FoundSchema;
use tokio::sync::{mpsc, oneshot};

use super::error::{SqliteError, doing};
use super::load::{self, SqliteLoader};
use super::settings::CheckedSqlite;
use super::sql::quoted;

impl CheckedSqlite {
    /// The second door: opens the file, makes the ledger, reads what exists. A file that somebody else holds is opened
    /// at the next call.
    pub fn open(self) -> Result<Client, Failure> {
        let settings = Arc::new(self);
        let mut client = Client { driver: Driver::new(SqliteLoader::new(Arc::clone(&settings))), settings };
        match client.driver.loader_mut().open().map(drop) {
            // It is looked at again at the next call: an operator may put a whole file in its place meanwhile.
            Ok(()) | Err(SqliteError::Damaged { .. } | SqliteError::Ledger) => Ok(client),
            Err(error) => match error.failure(&client.settings.path) {
                Failure::Retry { .. } => Ok(client),
                failure => Err(failure),
            },
        }
    }

    /// What exists, looked up without changing the file; nothing where there is no file.
    pub fn find(self) -> Result<FoundSchema, Failure> {
        if !self.path.exists() {
            return Ok(FoundSchema::default());
        }
        load::find(&self).map_err(|error| error.failure(&self.path))
    }

    /// The rows of a table that have this id, looked up without changing the file; nothing where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or has no such table.
    pub fn rows_with_id(self, table: &str, id: &str) -> Result<Vec<FoundRow>, Failure> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let look = || -> rusqlite::Result<Vec<FoundRow>> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            let sql = format!("SELECT * FROM {} WHERE id = ?1 LIMIT {}", quoted(table), FoundRow::ROWS_MAX);
            let mut find = connection.prepare(&sql)?;
            let names: Vec<String> = find.column_names().into_iter().map(str::to_owned).collect();
            let mut rows = find.query([id])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let mut cells = Vec::new();
                for (at, name) in names.iter().enumerate() {
                    let text = match row.get_ref(at)? {
                        ValueRef::Null => continue,
                        ValueRef::Integer(number) => number.to_string(),
                        ValueRef::Real(number) => number.to_string(),
                        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
                    };
                    cells.push((name.clone(), text));
                }
                found.push(FoundRow { table: table.to_owned(), cells });
            }
            Ok(found)
        };
        look().map_err(doing("looking for rows")).map_err(|error| error.failure(&self.path))
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
    settings: Arc<CheckedSqlite>,
    driver: Driver<SqliteLoader>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// What [`Destination::durable_to`] promises.
    pub fn durable_to(&mut self) -> Result<Option<u64>, Failure> {
        now(self.driver.durable_to())
    }

    /// What [`Destination::deliver`] promises.
    pub fn deliver(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        now(self.driver.load(batch))
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
}

/// What comes of a future that waits for nothing but the disk.
fn now<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (std::pin::pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

enum SqliteOrder {
    DurableTo(oneshot::Sender<Result<Option<u64>, Failure>>),
    Deliver(Arc<Batch>, oneshot::Sender<Result<Delivery, Failure>>),
}

/// The thread: takes orders until nobody can give any. An answer that nobody waits for is no loss, for the ledger
/// remembers.
fn serve(mut client: Client, mut inbox: mpsc::Receiver<SqliteOrder>) {
    while let Some(order) = inbox.blocking_recv() {
        match order {
            SqliteOrder::DurableTo(reply) => drop(reply.send(client.durable_to())),
            SqliteOrder::Deliver(batch, reply) => drop(reply.send(client.deliver(&batch))),
        }
    }
}

/// A SQLite file as a destination. Dropping it waits for the batch in hand and closes the file.
#[derive(Debug)]
pub struct SqliteWarehouse {
    settings: Arc<CheckedSqlite>,
    orders: Option<mpsc::Sender<SqliteOrder>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteWarehouse {
    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> SqliteOrder,
    ) -> Result<T, Failure> {
        let gone = || SqliteError::Gone.failure(&self.settings.path);
        let (reply, answer) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(order(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Destination for SqliteWarehouse {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.ask(SqliteOrder::DurableTo))
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(self.ask(|reply| SqliteOrder::Deliver(batch, reply)))
    }

    /// Waits for the batch in hand where it holds up nobody's thread.
    fn close(&mut self) -> Reply<'_, ()> {
        Box::pin(async {
            drop(self.orders.take());
            if let Some(thread) = self.thread.take() {
                // A panic of the thread has been logged and has failed the batch it was at.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Ok(())
        })
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
