//! Takes a backup of a data directory, with or without a server that uses it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tidegate_event::time;
use tidegate_net::descriptors;
use tidegate_process::clock;
use tidegate_process::held_file::HeldFile;

use super::backup_error::BackupError;
use super::backup_folder::BackupFolder;
use super::contents::{self, BackupContents, InstanceKeyCopy};
use super::environment_copy::{self, EnvironmentFiles};
use crate::app::{data_id, paths};
use crate::config::MAIN_ENVIRONMENT;

/// Copies that are begun, when something needed goes while one is made.
const TRIES: usize = 5;
/// Held by the process that takes a backup.
const LOCK: &str = "backup.lock";
/// Below it are the environments beside the first.
const ENVIRONMENTS: &str = "environments";
/// What a server makes again by itself.
const MADE_AGAIN: [&str; 8] = [
    "archive.json",
    "backup.lock",
    "findings.json",
    "lock",
    "restored.json",
    "running.json",
    "streams.json",
    "tls.json",
];

/// What is backed up, and where to.
#[derive(Debug, Clone, Copy)]
pub struct BackupOrder<'o> {
    pub data: &'o Path,
    /// A folder that is not there yet.
    pub to: &'o Path,
    /// A backup whose files need not be written once more: they get another name in the new one.
    pub since: Option<&'o Path>,
    /// Puts the key into it that secrets are sealed under.
    pub with_instance_key: bool,
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct TakenBackup {
    pub contents: BackupContents,
    /// Bytes of it that the earlier backup has too, and that take no room.
    pub linked_bytes: u64,
}

/// Takes a backup; `told` hears what is copied.
///
/// # Errors
/// There is none, and nothing is left of it.
pub fn take(order: &BackupOrder<'_>, told: &mut dyn FnMut(&str)) -> Result<TakenBackup, BackupError> {
    let data = order.data;
    if !data.is_dir() {
        return Err(BackupError::refused(data, "there is no data directory; has `tidegate serve` run with it?"));
    }
    if is_within(order.to, data) {
        return Err(BackupError::refused(
            order.to,
            "it would lie in the data directory that it is a backup of; name another place",
        ));
    }
    let _lock = lock(data)?;
    // Each segment of the log is held open.
    let _limit = descriptors::raise();
    for _ in 1..TRIES {
        match take_once(order, told) {
            Err(BackupError::Moved { .. }) => {}
            outcome => return outcome,
        }
    }
    take_once(order, told)
}

fn lock(data: &Path) -> Result<File, BackupError> {
    let path = data.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(BackupError::io("could not open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::UnderWay { path: data.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(BackupError::io("could not lock", &path)(cause)),
    }
}

/// Whether a place, which need not be there, is in a folder.
fn is_within(place: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let above = place.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    above.filter_map(|above| above.canonicalize().ok()).take(1).any(|above| above.starts_with(&folder))
}

fn take_once(order: &BackupOrder<'_>, told: &mut dyn FnMut(&str)) -> Result<TakenBackup, BackupError> {
    let (data, begun_at_us) = (order.data, clock::now_us());
    let mut folder = BackupFolder::begin(order.to, &id_of(data), order.since)?;
    let (mut environments, mut left_out, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let found = environments_of(data)?;
    for (name, dir, prefix) in &found {
        told(&dir.display().to_string());
        let of = EnvironmentFiles { name, data: dir, prefix };
        environments.push(environment_copy::copy(&mut folder, &of, &mut notes, told)?);
        left_out.extend(unknown(dir)?.into_iter().map(|unknown| format!("{prefix}{unknown}")));
    }
    if environments.iter().all(|environment| environment.partitions.is_empty()) {
        return Err(BackupError::refused(
            data,
            "there is no state.db in it; has `tidegate serve` run with this data directory?",
        ));
    }
    // Behind the states: a sync that is in none of them and in the catalog would begin anew.
    let instance_key = catalog(&mut folder, order, told)?;
    for (name, dir, prefix) in &found {
        environment_copy::sent_since(&mut folder, &EnvironmentFiles { name, data: dir, prefix })?;
    }
    if let Some(bytes) = environment_copy::small(&paths::admin(data))? {
        folder.put("admin.json", &HeldFile::of_bytes("admin.json".to_owned(), bytes))?;
    }
    let linked_bytes = folder.linked_bytes();
    let contents = BackupContents {
        format: contents::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        begun_at: time::format(begun_at_us),
        ended_at: time::format(clock::now_us()),
        instance_key,
        environments,
        files: Vec::new(),
        left_out,
        notes,
    };
    Ok(TakenBackup { contents: folder.finish(contents)?, linked_bytes })
}

/// A short name of the data directory.
fn id_of(data: &Path) -> String {
    let id = data_id::read(&paths::id(data)).ok().flatten().map(|identity| identity.id);
    id.map_or_else(|| "new".to_owned(), |id| id.chars().filter(char::is_ascii_alphanumeric).take(8).collect())
}

/// Each environment with its data directory, and how its paths begin in the backup.
fn environments_of(data: &Path) -> Result<Vec<(String, PathBuf, String)>, BackupError> {
    let mut found = vec![(MAIN_ENVIRONMENT.to_owned(), data.to_owned(), String::new())];
    let above = data.join(ENVIRONMENTS);
    if !above.is_dir() {
        return Ok(found);
    }
    let failed = || BackupError::io("could not read", &above);
    for entry in std::fs::read_dir(&above).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let prefix = format!("{ENVIRONMENTS}/{name}/");
            found.push((name, entry.path(), prefix));
        }
    }
    found.sort_by(|one, other| one.2.cmp(&other.2));
    Ok(found)
}

/// Copies the catalog, and the key that its secrets are sealed under, if that was asked for.
fn catalog(
    folder: &mut BackupFolder,
    order: &BackupOrder<'_>,
    told: &mut dyn FnMut(&str),
) -> Result<InstanceKeyCopy, BackupError> {
    let from = paths::catalog(order.data);
    if !from.exists() {
        return Ok(InstanceKeyCopy::NotNeeded);
    }
    let place = folder.place("catalog.db")?;
    if let Some(what) = environment_copy::copy_sqlite(&from, &place, told)? {
        return Err(BackupError::DamagedSource { path: from, what });
    }
    folder.written("catalog.db")?;
    let key = paths::instance_key(order.data);
    match environment_copy::small(&key)? {
        None if order.with_instance_key => Err(BackupError::refused(
            &key,
            "it is not there: the key lies where `instance_key` in tidegate.yaml says. Keep that in a safe place, and leave `--with-instance-key` out",
        )),
        None => Ok(InstanceKeyCopy::Elsewhere),
        Some(_) if !order.with_instance_key => Ok(InstanceKeyCopy::LeftOut),
        Some(bytes) => {
            folder.put("instance.key", &HeldFile::of_bytes("instance.key".to_owned(), bytes))?;
            Ok(InstanceKeyCopy::Contained)
        }
    }
}

/// What lies in a data directory and is none of the server's.
fn unknown(data: &Path) -> Result<Vec<String>, BackupError> {
    const KNOWN: [&str; 12] = [
        "admin.json",
        "catalog.db",
        "dedup",
        "endings.json",
        ENVIRONMENTS,
        "id",
        "instance.key",
        "log",
        "state.db",
        "store",
        "catalog.db-shm",
        "catalog.db-wal",
    ];
    let warehouses = environment_copy::warehouses(data)?;
    let of_sqlite = |name: &str| {
        let file = ["-shm", "-wal"].iter().find_map(|ending| name.strip_suffix(*ending));
        file.is_some_and(|file| file == "state.db" || warehouses.contains(&data.join(file)))
    };
    let failed = || BackupError::io("could not read", data);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name().to_string_lossy().into_owned();
        let is_known = KNOWN.contains(&name.as_str()) || MADE_AGAIN.contains(&name.as_str());
        if !is_known && !of_sqlite(&name) && !warehouses.contains(&data.join(&name)) && !name.starts_with('.') {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_within_the_directory_is_known_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        assert!(
            is_within(&data.join("backup"), &data) && is_within(&data.join("a/b/c"), &data) && is_within(&data, &data)
        );
        assert!(!is_within(&dir.path().join("backup"), &data) && !is_within(&dir.path().join("data2/b"), &data));
    }
}
