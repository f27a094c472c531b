//! What one environment has, copied in an order by which the copies fit together.
//!
//! 1. **Warehouses** that lie in the data directory. Their ledgers are behind the cursors of the state then, or level with them: the restored server
//!    delivers again from the log what they lack. The other way round, what a warehouse refused between the two would be in no quarantine.
//! 2. **The dedup index.** It knows less than the state, and marks the rest again from the log.
//! 3. **The state**, within one transaction. What it says was forgotten is not in the log any more, for the log is looked at later; what was erased
//!    between the two looks, forgotten or too old, is written into the copy.
//! 4. **The log**: all segments are held open at one moment, so nothing that is trimmed or erased meanwhile is missing. It has all that the state has
//!    refined. Whether it still has everything that 1 and 2 lack is looked at then ([`floors`]); if not, all of it begins anew.
//!
//! Components of the store have the names of what is in them, so they are copied before the state and once more behind it, and nothing that either needs is missing.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension as _;
use tidegate_dedup as dedup;
use tidegate_event::Position;
use tidegate_log::{self as intake, HeldLog};
use tidegate_process::held_file::HeldFile;
use tidegate_sqlite::{sqlite_check, sqlite_copy};
use tidegate_state::{Identity, State};

use super::backup_error::BackupError;
use super::backup_folder::BackupFolder;
use super::contents::{BackedUpEnvironment, BackedUpPartition, BackedUpSync};
use crate::app::{data_id, paths, startup};

/// What a file of SQLite begins with.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Files of the server that are read whole are small.
const SMALL_BYTES_MAX: u64 = 64 << 20;
/// Folders of the store whose files have the names of what is in them.
const STORE_FOLDERS: [&str; 3] = ["components", "files", "versions"];
const TRIMMED: &str = "the log gave up records that the copy needs";
const ENDED: &str = "a sync began to drain, or ended,";
const FORGETS: &str = "a job that forgets somebody began";

/// An environment of the server.
pub(super) struct EnvironmentFiles<'e> {
    pub(super) name: &'e str,
    pub(super) data: &'e Path,
    /// Of its files in the backup: nothing, or `environments/NAME/`.
    pub(super) prefix: &'e str,
}

/// Copies an environment; `notes` gets what is wrong with it, and `told` hears what comes next.
pub(super) fn copy(
    folder: &mut BackupFolder,
    of: &EnvironmentFiles<'_>,
    notes: &mut Vec<String>,
    told: &mut dyn FnMut(&str),
) -> Result<BackedUpEnvironment, BackupError> {
    let state = paths::state(of.data);
    let mut copied = BackedUpEnvironment { name: of.name.to_owned(), ..BackedUpEnvironment::default() };
    if !state.exists() {
        if startup::has_segments(&paths::log(of.data)) {
            return Err(BackupError::refused(
                &state,
                "it is not there, and a log is; start the server once, which makes it anew",
            ));
        }
        return Ok(copied);
    }
    let endings = small(&paths::endings(of.data))?;
    let floors = floors(of.data)?;
    store(folder, of, StorePass::Before)?;
    for path in warehouses(of.data)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let damage = sqlite(folder, of, &name, told)?;
        notes.extend(damage.map(|what| format!("{}: the file is damaged, and so is its copy: {what}", path.display())));
    }
    for partition in of_all(&floors) {
        let dir = paths::dedup(of.data, partition);
        told(&dir.display().to_string());
        put_all(folder, of, &paths::dedup(Path::new(""), partition), &dedup::hold(&dir)?)?;
    }
    if let Some(what) = sqlite(folder, of, "state.db", told)? {
        return Err(BackupError::DamagedSource { path: state, what });
    }
    let place = folder.place(&format!("{}state.db", of.prefix))?;
    let (identity, cursors) = read_state(&place, &mut copied)?;
    let logs = hold_logs(of.data, &floors)?;
    if !State::read(&place)?.take_erasures(&State::read(&state)?)? {
        return Err(BackupError::Moved { path: state, what: FORGETS });
    }
    folder.written(&format!("{}state.db", of.prefix))?;
    if small(&paths::endings(of.data))? != endings {
        return Err(BackupError::Moved { path: paths::endings(of.data), what: ENDED });
    }
    copied.syncs = cursors;
    for (partition, held) in (0..).zip(&logs) {
        told(&intake::partition_dir(&paths::log(of.data), partition).display().to_string());
        put_all(folder, of, &intake::partition_dir(&paths::log(Path::new("")), partition), &held.files)?;
        let of_state = copied.partitions.iter_mut().find(|found| found.partition == partition);
        if let Some(of_state) = of_state {
            (of_state.oldest, of_state.end) = (held.oldest, held.end);
        }
        notes.extend(held.notes.iter().map(|note| note.text.clone()));
    }
    if let Some(bytes) = endings {
        folder.put(&format!("{}endings.json", of.prefix), &HeldFile::of_bytes("endings.json".to_owned(), bytes))?;
    }
    if let Some(identity) = identity {
        // As the state in the backup has it, so that neither is taken for an older copy.
        let path = format!("{}id", of.prefix);
        let place = folder.place(&path)?;
        data_id::write(&place, &identity).map_err(BackupError::io("could not write", &place))?;
        folder.written(&path)?;
    }
    store(folder, of, StorePass::Behind)?;
    Ok(copied)
}

/// The numbers of as many partitions.
fn of_all<T>(partitions: &[T]) -> impl Iterator<Item = u16> + use<T> {
    0..u16::try_from(partitions.len()).unwrap_or(u16::MAX)
}

fn put_all(
    folder: &mut BackupFolder,
    of: &EnvironmentFiles<'_>,
    dir: &Path,
    files: &[HeldFile],
) -> Result<(), BackupError> {
    let path = |held: &HeldFile| format!("{}{}", of.prefix, dir.join(&held.name).display());
    files.iter().try_for_each(|held| folder.put(&path(held), held))
}

/// From where each partition of the log must be in the backup: no warehouse and no index that is copied from now on is behind this.
fn floors(data: &Path) -> Result<Vec<u64>, BackupError> {
    let state = State::read(&paths::state(data))?;
    let reports = state.reports()?;
    let mut floors = Vec::new();
    for partition in 0..state.partitions()? {
        let of_partition = |cursor: &&Position| cursor.partition == partition;
        let cursors = reports.iter().flat_map(|report| report.cursors.iter().filter(of_partition));
        let slowest = cursors.map(|cursor| cursor.offset).min().unwrap_or(u64::MAX);
        let refined_to = state.refined_to_of(partition)?.unwrap_or(0);
        // What is gone already nobody gets, with a backup or without one.
        let oldest = intake::hold(&intake::partition_dir(&paths::log(data), partition))?.oldest;
        floors.push(slowest.min(refined_to).max(oldest));
    }
    Ok(floors)
}

/// Holds the log of each partition, if it still begins early enough.
fn hold_logs(data: &Path, floors: &[u64]) -> Result<Vec<HeldLog>, BackupError> {
    let mut logs = Vec::new();
    for (partition, floor) in of_all(floors).zip(floors) {
        let dir = intake::partition_dir(&paths::log(data), partition);
        let held = intake::hold(&dir)?;
        if held.oldest > *floor {
            return Err(BackupError::Moved { path: dir, what: TRIMMED });
        }
        logs.push(held);
    }
    Ok(logs)
}

/// What the copy of the state says of itself: whose it is, and how far each sync is. Fills in its format and how far it has refined the log.
fn read_state(
    place: &Path,
    copied: &mut BackedUpEnvironment,
) -> Result<(Option<Identity>, Vec<BackedUpSync>), BackupError> {
    let state = State::read(place)?;
    for partition in 0..state.partitions()? {
        let refined_to = state.refined_to_of(partition)?.unwrap_or(0);
        copied.partitions.push(BackedUpPartition { partition, oldest: 0, end: 0, refined_to });
    }
    let of_report = |report: tidegate_state::SyncReport| {
        let sync = report.sync;
        let of_cursor = move |cursor: Position| BackedUpSync {
            sync: sync.clone(),
            partition: cursor.partition,
            cursor: cursor.offset,
        };
        report.cursors.into_iter().map(of_cursor)
    };
    let syncs = state.reports()?.into_iter().flat_map(of_report).collect();
    let identity = state.identity()?;
    drop(state);
    let format = sqlite_check::open(place).and_then(|connection| {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'format'";
        connection.query_row(sql, [], |row| row.get(0)).optional()
    });
    copied.state_format = format.map_err(|cause| BackupError::Sqlite { path: place.to_owned(), cause })?;
    Ok((identity, syncs))
}

/// Copies a file of SQLite, and answers what is wrong with it.
fn sqlite(
    folder: &mut BackupFolder,
    of: &EnvironmentFiles<'_>,
    name: &str,
    told: &mut dyn FnMut(&str),
) -> Result<Option<String>, BackupError> {
    let path = format!("{}{name}", of.prefix);
    let place = folder.place(&path)?;
    let damage = copy_sqlite(&of.data.join(name), &place, told)?;
    // That of the state is written to before.
    if name != "state.db" {
        folder.written(&path)?;
    }
    Ok(damage)
}

/// Copies a file of SQLite to a place of the backup, and answers what is wrong with it.
pub(super) fn copy_sqlite(
    from: &Path,
    place: &Path,
    told: &mut dyn FnMut(&str),
) -> Result<Option<String>, BackupError> {
    told(&from.display().to_string());
    let mut of_pages = |done: u64, pages: u64| told(&format!("{}: {done} of {pages} pages", from.display()));
    match sqlite_copy::copy(from, place, &mut of_pages) {
        Ok(damage) => Ok(damage.into_iter().next()),
        Err(error) if sqlite_check::is_damage(&error) => {
            Err(BackupError::DamagedSource { path: from.to_owned(), what: error.to_string() })
        }
        Err(cause) => Err(BackupError::Sqlite { path: from.to_owned(), cause }),
    }
}

/// The files of SQLite that are neither the state nor the catalog: warehouses, by name.
pub(super) fn warehouses(data: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |path: &Path| BackupError::io("could not read", path);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).map_err(failed(data))? {
        let entry = entry.map_err(failed(data))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name == "state.db" || name == "catalog.db" || name.contains(".damaged-");
        if is_ours || !entry.file_type().map_err(failed(&path))?.is_file() {
            continue;
        }
        if begins_as_sqlite(&path).map_err(failed(&path))? {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn begins_as_sqlite(path: &Path) -> io::Result<bool> {
    let mut head = [0; SQLITE_MAGIC.len()];
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut begin = file.take(head.len() as u64);
    match begin.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| head == *SQLITE_MAGIC),
    }
}

/// The bytes of a small file of the server; `None` when there is none.
pub(super) fn small(path: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(BackupError::io("could not open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(BackupError::io("could not read", path))?;
    if bytes.len() as u64 > SMALL_BYTES_MAX {
        return Err(BackupError::refused(
            path,
            format!("it has more than {SMALL_BYTES_MAX} bytes, so it is no file of the server"),
        ));
    }
    Ok(Some(bytes))
}

/// When the store is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StorePass {
    /// Before the state: what the store may give up meanwhile.
    Before,
    /// Behind it: what is live, what else there is by now, and what may have changed.
    Behind,
    /// Behind the catalog: what was sent with documents since, which it may name.
    Sent,
}

/// Copies what the catalog, which is copied behind all environments, may name of this one.
pub(super) fn sent_since(folder: &mut BackupFolder, of: &EnvironmentFiles<'_>) -> Result<(), BackupError> {
    store(folder, of, StorePass::Sent)
}

fn store(folder: &mut BackupFolder, of: &EnvironmentFiles<'_>, pass: StorePass) -> Result<(), BackupError> {
    let dir = paths::store(of.data);
    if pass == StorePass::Behind
        && let Some(bytes) = small(&dir.join("pointers.json"))?
    {
        // Whatever it names was there before it.
        let path = format!("{}store/pointers.json", of.prefix);
        folder.put(&path, &HeldFile::of_bytes("pointers.json".to_owned(), bytes))?;
    }
    for within in STORE_FOLDERS {
        for name in names(&dir.join(within))? {
            let path = format!("{}store/{within}/{name}", of.prefix);
            let may_change = within == "versions" && name.ends_with(".json");
            if folder.has(&path) || (may_change && pass == StorePass::Before) {
                continue;
            }
            let from = dir.join(within).join(&name);
            match HeldFile::whole(&from, name) {
                Ok(held) => folder.put(&path, &held)?,
                // Nobody needs it any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::io("could not open", &from)(error)),
            }
        }
    }
    Ok(())
}

/// The names of the files in `dir`, but for those that are being written; none when there is no such folder.
fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(BackupError::io("could not read", dir)),
    }
}
