//! Files in the data directory.

use std::path::{Path, PathBuf};

#[must_use]
pub fn log(data: &Path) -> PathBuf {
    data.join("log")
}

/// The dedup index of a partition.
#[must_use]
pub fn dedup(data: &Path, partition: u16) -> PathBuf {
    tidegate_log::partition_dir(&data.join("dedup"), partition)
}

#[must_use]
pub fn state(data: &Path) -> PathBuf {
    data.join("state.db")
}

#[must_use]
pub fn store(data: &Path) -> PathBuf {
    data.join("store")
}

/// Files that were sent with documents, by their contents.
#[must_use]
pub fn sent_files(data: &Path) -> PathBuf {
    store(data).join("files")
}

/// Which data directory it is.
#[must_use]
pub fn id(data: &Path) -> PathBuf {
    data.join("id")
}

/// What the last check found damaged.
#[must_use]
pub fn findings(data: &Path) -> PathBuf {
    data.join("findings.json")
}

/// What runs, and as of which revision.
#[must_use]
pub fn running(data: &Path) -> PathBuf {
    data.join("running.json")
}

/// How the streams are that sources read.
#[must_use]
pub fn streams(data: &Path) -> PathBuf {
    data.join("streams.json")
}

/// How the ports speak TLS.
#[must_use]
pub fn tls(data: &Path) -> PathBuf {
    data.join("tls.json")
}

/// What the archive of the log has.
#[must_use]
pub fn archive(data: &Path) -> PathBuf {
    data.join("archive.json")
}

/// What the syncs need that drain.
#[must_use]
pub fn endings(data: &Path) -> PathBuf {
    data.join("endings.json")
}

/// What there is, and who may do what with it.
#[must_use]
pub fn catalog(data: &Path) -> PathBuf {
    data.join("catalog.db")
}

/// What the secrets of the catalog are sealed under.
#[must_use]
pub fn instance_key(data: &Path) -> PathBuf {
    data.join("instance.key")
}

/// The hash of the admin token.
#[must_use]
pub fn admin(data: &Path) -> PathBuf {
    data.join("admin.json")
}
