//! What an operator may say of a SQLite warehouse, and whether it can be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::waiting::Waiting;

use super::error::SqliteError;

/// What an operator may say of a SQLite warehouse.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    pub path: PathBuf,
    pub limits: Limits,
    /// How long to wait for a writer of another process.
    pub busy_timeout: Duration,
    /// How large the write-ahead log may become before readers that hold it are waited for.
    pub log_bytes_max: u64,
}

impl SqliteSettings {
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
    pub fn check(self, part: &SyncPart) -> Result<CheckedSqlite, Failure> {
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
        Ok(CheckedSqlite {
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
pub struct CheckedSqlite {
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
