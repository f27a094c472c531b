//! A data directory has one server.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::AppError;

/// Takes the data directory for this process alone.
pub(super) fn lock(data: &Path) -> Result<File, AppError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |cause| AppError::Io { action, path, cause }
    };
    std::fs::create_dir_all(data).map_err(io("could not make the data directory", data))?;
    let path = data.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(io("could not open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppError::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(io("could not lock", &path)(cause)),
    }
}
