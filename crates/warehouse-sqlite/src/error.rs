//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`SqliteError::failure`], which alone decides between trying again and stopping.

use std::path::Path;

use rusqlite::ErrorCode;
use tidegate_event::destination::Failure;
use tidegate_warehouse::loader::LoadError;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteError {
    #[error("{doing}: {source}")]
    Sqlite { doing: &'static str, source: rusqlite::Error },
    #[error("{name} exists but is not a table of this warehouse")]
    Taken { name: String },
    #[error("cannot change the type of column {column} of table {table} to {wanted}")]
    Retype { table: String, column: String, wanted: &'static str },
    #[error("a reader keeps the write-ahead log at {bytes} bytes")]
    LogHeld { bytes: u64 },
    #[error("the row of this sync in _tidegate_ledger is not what was stored")]
    Ledger,
    #[error("the ledger is of format {found}, and this build supports up to {known}; nothing was changed")]
    Format { found: i64, known: i64 },
    #[error("the file is damaged: {what}")]
    Damaged { what: String },
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: &'static str },
    #[error("the tables cannot be swapped yet: {problem}")]
    Swap { problem: String },
    #[error("the thread that owns the file cannot be started")]
    Spawn { source: std::io::Error },
    #[error("the thread that owns the file is gone")]
    Gone,
}

/// Names what was being done when SQLite refused.
pub(super) fn doing(doing: &'static str) -> impl Fn(rusqlite::Error) -> SqliteError {
    move |source| SqliteError::Sqlite { doing, source }
}

impl LoadError for SqliteError {
    fn is_of_row(&self) -> bool {
        let Self::Sqlite { source, .. } = self else { return false };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        )
    }

    /// Nobody else changes the file while a batch is written.
    fn is_of_schema(&self) -> bool {
        false
    }

    fn is_of_session(&self, _reused: bool) -> bool {
        false
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

impl SqliteError {
    /// Said of a statement that alters a table: whether something of somebody else is in its way, and rows can be written
    /// without it.
    pub(super) fn is_of_alteration(&self) -> bool {
        match self {
            Self::Retype { .. } => true,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::ConstraintViolation
                        | ErrorCode::TooBig
                        | ErrorCode::TypeMismatch
                        | ErrorCode::AuthorizationForStatementDenied
                        | ErrorCode::Unknown
                )
            ),
            _ => false,
        }
    }

    /// The failure to report for the warehouse in `file`.
    pub(super) fn failure(self, file: &Path) -> Failure {
        let file = file.display();
        let reason = format!("warehouse {file}: {self}");
        let advice = match &self {
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::SchemaChanged,
                ) => None,
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    Some(format!("let the process write {file} and its directory"))
                }
                Some(ErrorCode::CannotOpen) => {
                    Some(format!("create the directory of {file} and let the process write there"))
                }
                Some(ErrorCode::DatabaseCorrupt) => Some(format!(
                    "restore {file} from a backup or run `sqlite3 {file} .recover`, then start the sync again"
                )),
                Some(ErrorCode::NotADatabase) => Some(format!(
                    "{file} is no SQLite file, or its first page is damaged; name another path, or put a backup of it back"
                )),
                _ => Some(format!(
                    "look for something in {file} that is not the router's own (a table, index, trigger or strict \
                     table of the same name) and move it away"
                )),
            },
            Self::Taken { name } => Some(format!("rename {name} in {file}, or give the sync a schema of its own")),
            Self::Retype { table, column, wanted } => Some(format!(
                "the definition of {table} in {file} cannot be edited safely; change the declared type of {column} to \
                 {wanted} by hand, or rename the table so that a new one is made"
            )),
            Self::LogHeld { .. } => None,
            Self::Ledger => Some(format!(
                "put a backup of {file} back, or look up the highest log offset that arrived and set it: UPDATE \
                 _tidegate_ledger SET log_offset = ..., sum = NULL WHERE sync = ... (too low an offset only delivers \
                 events again, and their ids keep them from coming twice)"
            )),
            Self::Format { .. } => Some("use the newer build that wrote it".to_owned()),
            Self::Damaged { .. } => Some(format!(
                "put a backup of {file} back, or move it away (it is made anew with what the log still keeps; `sqlite3 \
                 {file} .recover` reads what is left of the old one). The sync stands still until then, and its events \
                 wait in the log"
            )),
            Self::Settings { .. } => Some("correct the settings of the warehouse".to_owned()),
            Self::Spawn { .. } | Self::Swap { .. } => None,
            Self::Gone => Some("start the process again and report the panic that the log shows".to_owned()),
        };
        let cause: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(self));
        match advice {
            None => Failure::Retry { reason, cause },
            Some(advice) => Failure::Stop { reason, advice, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_worth_another_try_and_a_corrupt_file_is_not() {
        let of = |code| {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            doing("commit")(source).failure(Path::new("/w.db"))
        };
        for code in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_BUSY, rusqlite::ffi::SQLITE_IOERR] {
            assert!(matches!(of(code), Failure::Retry { .. }), "{code}");
        }
        for code in [rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_READONLY, rusqlite::ffi::SQLITE_ERROR] {
            assert!(matches!(of(code), Failure::Stop { advice, .. } if advice.contains("/w.db")), "{code}");
        }
    }
}
