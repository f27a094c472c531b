//! Makes a data directory of a backup, whole or not at all.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::backup_error::BackupError;
use super::backup_folder::{parent, sync_folders};
use super::contents::{self, BackedUpFile, BackupContents, InstanceKeyCopy};
use super::environment_copy;
use super::file_digest::{self, FileDigest};
use super::verifying;
use crate::app::{paths, restored};
use crate::config::environment_data;

const KEY_BYTES: usize = 32;

/// What is restored, and where to.
#[derive(Debug, Clone, Copy)]
pub struct RestoreOrder<'o> {
    /// The backup.
    pub from: &'o Path,
    /// A data directory that is not there yet, or is empty.
    pub data: &'o Path,
    /// The file with the key that secrets are sealed under, which the backup has not.
    pub instance_key: Option<&'o Path>,
}

/// Verifies a backup and makes a data directory of it; `told` hears what is read and copied.
///
/// # Errors
/// The backup is damaged, or something is in the data directory already, or it cannot be written. Then it is as it was.
pub fn restore(order: &RestoreOrder<'_>, told: &mut dyn FnMut(&str)) -> Result<BackupContents, BackupError> {
    refuse_used(order.data)?;
    let key = order.instance_key.map(key).transpose()?;
    let contents = verifying::verify(order.from, told)?;
    if key.is_some() && contents.instance_key == InstanceKeyCopy::Contained {
        return Err(BackupError::refused(order.from, "the instance key is in the backup; leave `--instance-key` out"));
    }
    let folder = RestoredFolder::begin(order.data)?;
    for file in &contents.files {
        told(&file.path);
        folder.copy(order.from, file)?;
    }
    if let Some(bytes) = key {
        let path = paths::instance_key(&folder.dir);
        tidegate_process::whole_file::create(&path, &bytes).map_err(BackupError::io("could not write", &path))?;
    }
    for environment in contents.environments.iter().filter(|environment| !environment.partitions.is_empty()) {
        let data = environment_data(&folder.dir, &environment.name);
        restored::write(&data, &contents.begun_at).map_err(BackupError::io("could not write to", &data))?;
    }
    folder.finish()?;
    Ok(contents)
}

/// What is there is never overwritten.
fn refuse_used(data: &Path) -> Result<(), BackupError> {
    let mut entries = match std::fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(BackupError::io("could not read", data))?,
    };
    if entries.next().is_some() {
        let reason = "the data directory is not empty, and nothing in it is overwritten. Stop its server and move it away, or name another one with --data";
        return Err(BackupError::refused(data, reason));
    }
    Ok(())
}

fn key(path: &Path) -> Result<Vec<u8>, BackupError> {
    match environment_copy::small(path)? {
        Some(bytes) if bytes.len() == KEY_BYTES => Ok(bytes),
        Some(_) => Err(BackupError::refused(
            path,
            "an instance key has 32 bytes; name the file instance.key of the data directory that was backed up",
        )),
        None => Err(BackupError::refused(
            path,
            "there is no such file; name the file instance.key of the data directory that was backed up",
        )),
    }
}

/// A data directory in the making.
struct RestoredFolder {
    dir: PathBuf,
    to: PathBuf,
    is_done: bool,
}

impl RestoredFolder {
    fn begin(to: &Path) -> Result<Self, BackupError> {
        let Some(name) = to.file_name() else {
            return Err(BackupError::refused(to, "it is no name of a folder; name one with --data"));
        };
        let parent = parent(to);
        std::fs::create_dir_all(parent).map_err(BackupError::io("could not make the folder", parent))?;
        let dir = parent.join(format!(".{}.restoring", name.to_string_lossy()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => Ok(Self { dir, to: to.to_owned(), is_done: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::refused(
                &dir,
                "a restore is under way, or one was cut off; remove this folder if none is",
            )),
            Err(error) => Err(BackupError::io("could not make the folder", &dir)(error)),
        }
    }

    /// Copies a file, and looks once more whether it is what it should be.
    fn copy(&self, from: &Path, file: &BackedUpFile) -> Result<(), BackupError> {
        let Some(path) = file.path.strip_prefix(contents::DATA).and_then(|path| path.strip_prefix('/')) else {
            return Ok(());
        };
        let place = self.dir.join(path);
        let above = parent(&place);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(above);
        made.map_err(BackupError::io("could not make the folder", above))?;
        let copy = || -> io::Result<FileDigest> {
            fail::fail_point!("restore_write", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
            let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
            let digest = file_digest::of_file(&from.join(&file.path), Some(&mut to))?;
            // As room is written for a log, so that its commits change data alone.
            io::copy(&mut io::repeat(0).take(file.zeros), &mut to)?;
            to.sync_all()?;
            Ok(digest)
        };
        let digest = copy().map_err(BackupError::io("could not write", &place))?;
        match verifying::differs(file, &digest) {
            Some(what) => Err(BackupError::Damaged(vec![format!("{}: {what}", file.path)])),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), BackupError> {
        sync_folders(&self.dir).map_err(BackupError::io("could not sync", &self.dir))?;
        // An empty folder of that name gives way; one that has been used meanwhile does not.
        std::fs::rename(&self.dir, &self.to).map_err(BackupError::io("could not name the data directory", &self.to))?;
        self.is_done = true;
        let parent = parent(&self.to);
        let synced = std::fs::File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(BackupError::io("could not sync", parent))
    }
}

impl Drop for RestoredFolder {
    fn drop(&mut self) {
        if !self.is_done {
            // What stays has a name of its own, and the next restore says so.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
