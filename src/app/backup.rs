//! Backups of a data directory: taken while its server runs, verified, restored.
//!
//! A **backup** is a folder: `backup.json` (the **contents**: every file with its SHA-256, and how far each part had come), the SHA-256 of that beside it,
//! and the files below `data/`. It is taken by a process of its own, which asks the server nothing and changes nothing of the directory.
//!
//! What makes it one that a server can go on from is the order of copying (`environment_copy.rs`): warehouses, then the dedup index, then the state, then
//! the log. So a warehouse and the index have no more than the state, as after a crash, and the log has all that either of them lacks.
//! A backup has its name when all of it is on disk, and is gone otherwise.
//!
//! This room knows files and not what is in them, but for how far the state and the log have come.

mod backup_error;
mod backup_folder;
mod contents;
mod environment_copy;
mod file_digest;
mod restoring;
mod taking;
mod verifying;

pub use backup_error::BackupError;
pub use contents::{
    BackedUpEnvironment, BackedUpFile, BackedUpPartition, BackedUpSync, BackupContents, InstanceKeyCopy,
};
pub use restoring::{RestoreOrder, restore};
pub use taking::{BackupOrder, TakenBackup, take};
pub use verifying::verify;
