//! Why a backup is not made, or not restored.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_dedup::DedupError;
use tidegate_log::LogError;
use tidegate_state::StateError;

/// Why a backup was not made, is none, or was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{}: {action}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error("{}: could not copy", path.display())]
    Sqlite {
        path: PathBuf,
        #[source]
        cause: rusqlite::Error,
    },
    #[error("{}: the file is damaged: {what}. No backup was made; `tidegate check --deep` shows what else is damaged and what to do", path.display())]
    DamagedSource { path: PathBuf, what: String },
    #[error("{}: a backup of this data directory is being made; try again when it is done", path.display())]
    UnderWay { path: PathBuf },
    #[error("{}: {what} while the copy was made, each time that it was tried. No backup was made; try again later", path.display())]
    Moved { path: PathBuf, what: &'static str },
    #[error("the backup is damaged: {}. Nothing was changed; use another backup", .0.join("; "))]
    Damaged(Vec<String>),
    #[error("{}: format {found}, and this build supports up to {known}; use the newer build that wrote it. Nothing was changed", path.display())]
    Newer { path: PathBuf, found: u64, known: u32 },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Dedup(#[from] DedupError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl BackupError {
    /// Of a call of the system for a file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }

    /// Somebody asked for what cannot be done.
    pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into() }
    }
}
