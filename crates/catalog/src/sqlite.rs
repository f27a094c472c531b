//! The catalog in a SQLite file: what a server alone uses.
//!
//! One connection writes and one reads, each on a thread of its own, so that whoever waits for the disk holds no thread of the
//! runtime. Commits are synced (`synchronous = FULL`): what was answered for survives a power cut.

mod lane;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tidegate_sqlite::sqlite_check::{self, Depth};

use self::lane::SqliteLane;
use crate::store::{CatalogStore, CatalogTransaction, Migration, StoreAccess, StoreError, StoreReply};

const MIGRATIONS: &[Migration] = &[
    (1, include_str!("../migrations/sqlite/001.sql")),
    (2, include_str!("../migrations/sqlite/002.sql")),
    (3, include_str!("../migrations/sqlite/003.sql")),
];

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// A SQLite file that keeps the catalog.
pub struct SqliteCatalog {
    path: PathBuf,
    writer: SqliteLane,
    reader: SqliteLane,
    threads: Vec<JoinHandle<()>>,
}

impl SqliteCatalog {
    /// Opens the file, making it when it is new. Blocks on the disk.
    ///
    /// # Errors
    /// It cannot be opened, or is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = || format!("catalog {}", path.display());
        let failed = |action| {
            move |cause: rusqlite::Error| StoreError::Failed {
                place: place(),
                action,
                cause: sqlite_check::plain(&cause),
            }
        };
        let bytes = path.metadata().map_or(0, |found| found.len());
        if bytes <= sqlite_check::AT_START_BYTES_MAX {
            let damage = sqlite_check::check(path, Depth::Quick).map_err(failed("could not be checked"))?;
            if let Some(what) = damage.into_iter().next() {
                return Err(StoreError::Damaged { place: place(), what });
            }
        }
        let writer = connect(path).map_err(failed("could not be opened"))?;
        let reader = connect(path).map_err(failed("could not be opened"))?;
        reader.execute_batch("PRAGMA query_only = ON").map_err(failed("could not be opened"))?;
        let lane = |connection, access| SqliteLane::new(connection, access, place());
        let (writer, of_writer) = lane(writer, StoreAccess::Write)?;
        let (reader, of_reader) = lane(reader, StoreAccess::Read)?;
        Ok(Self { path: path.to_owned(), writer, reader, threads: vec![of_writer, of_reader] })
    }

    /// The threads of its connections. They end when nobody uses the file any more, and SQLite tidies its files when the last
    /// connection closes: whoever stops the program waits for them.
    pub fn take_threads(&mut self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.threads)
    }
}

/// What a catalog's file says of itself to whoever has no key of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogFile {
    /// Migrations that were made.
    pub migrations: i64,
    /// Of the last change.
    pub revision: u64,
}

impl CatalogFile {
    /// Migrations that this build knows.
    pub const MIGRATIONS: usize = MIGRATIONS.len();

    /// Reads the file beside whoever writes to it. None when there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is no catalog.
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = |cause: rusqlite::Error| StoreError::Failed {
            place: format!("catalog {}", path.display()),
            action: "could not be read",
            cause: sqlite_check::plain(&cause),
        };
        let sql = "SELECT (SELECT count(*) FROM migration), revision FROM head WHERE id = 1";
        let read = sqlite_check::open(path).and_then(|connection| {
            connection.query_row(sql, [], |row| {
                let revision: i64 = row.get(1)?;
                Ok(Self { migrations: row.get(0)?, revision: revision.unsigned_abs() })
            })
        });
        read.map(Some).map_err(failed)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
         PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON",
    )?;
    Ok(connection)
}

impl CatalogStore for SqliteCatalog {
    fn place(&self) -> String {
        format!("catalog {}", self.path.display())
    }

    fn migrations(&self) -> &'static [Migration] {
        MIGRATIONS
    }

    fn begin(&self, access: StoreAccess) -> StoreReply<'_, Box<dyn CatalogTransaction>> {
        let lane = match access {
            StoreAccess::Read => &self.reader,
            StoreAccess::Write => &self.writer,
        };
        Box::pin(async move {
            let transaction: Box<dyn CatalogTransaction> = Box::new(lane.begin().await?);
            Ok(transaction)
        })
    }
}
