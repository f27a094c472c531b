//! The folder that becomes a backup: written under another name, synced, renamed. Whatever ends it before, nothing of it stays.

use std::collections::{BTreeSet, HashMap};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tidegate_process::held_file::HeldFile;

use super::backup_error::BackupError;
use super::contents::{self, BackedUpFile, BackupContents};
use super::file_digest::{self, FileDigest};

/// Endings of archives, which a backup is not.
const ARCHIVES: [&str; 6] = ["gz", "tar", "tgz", "xz", "zip", "zst"];

/// A backup in the making.
pub(super) struct BackupFolder {
    /// Where it is written.
    dir: PathBuf,
    /// Where it shall be.
    to: PathBuf,
    earlier: Option<EarlierBackup>,
    files: Vec<BackedUpFile>,
    names: BTreeSet<String>,
    /// Bytes that were not written, because the earlier backup has them.
    linked_bytes: u64,
    is_done: bool,
}

/// A backup whose files need not be written once more.
struct EarlierBackup {
    dir: PathBuf,
    paths: HashMap<FileDigest, String>,
}

impl EarlierBackup {
    fn read(dir: &Path) -> Result<Self, BackupError> {
        let of = |file: BackedUpFile| (FileDigest { bytes: file.bytes, sha256: file.sha256 }, file.path);
        let paths = contents::read(dir)?.files.into_iter().map(of).collect();
        Ok(Self { dir: dir.to_owned(), paths })
    }
}

impl BackupFolder {
    /// Begins a backup that shall be the folder `to`, of the data directory with this id. What is left of one that was cut off is removed.
    pub(super) fn begin(to: &Path, id: &str, since: Option<&Path>) -> Result<Self, BackupError> {
        let earlier = since.map(EarlierBackup::read).transpose()?;
        if to.extension().is_some_and(|found| ARCHIVES.iter().any(|ending| found == *ending)) {
            let reason = "a backup is a folder: name one, and pack it with `tar --zstd -cf` when it is made";
            return Err(BackupError::refused(to, reason));
        }
        if to.symlink_metadata().is_ok() {
            return Err(BackupError::refused(to, "it is there already; name a folder that is not there yet"));
        }
        let Some(name) = to.file_name() else {
            return Err(BackupError::refused(to, "it is no name of a folder"));
        };
        let parent = parent(to);
        std::fs::create_dir_all(parent).map_err(BackupError::io("could not make the folder", parent))?;
        let dir = parent.join(format!(".{}.{id}.partial", name.to_string_lossy()));
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::io("could not remove what is left of a backup that was cut off", &dir)(error));
            }
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(BackupError::io("could not make the folder", &dir))?;
        let (files, names) = (Vec::new(), BTreeSet::new());
        Ok(Self { dir, to: to.to_owned(), earlier, files, names, linked_bytes: 0, is_done: false })
    }

    /// Whether a file of the data directory is in it.
    pub(super) fn has(&self, path: &str) -> bool {
        self.names.contains(path)
    }

    /// Where a file of the data directory lies in it; the folders above it are made.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, BackupError> {
        let place = self.dir.join(contents::DATA).join(path);
        let above = parent(&place);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(above);
        made.map_err(BackupError::io("could not make the folder", above))?;
        Ok(place)
    }

    /// Puts a file of the data directory into it, durably.
    pub(super) fn put(&mut self, path: &str, held: &HeldFile) -> Result<(), BackupError> {
        let place = self.place(path)?;
        if self.link(path, held, &place)? {
            return Ok(());
        }
        let digest = write(&place, held).map_err(BackupError::io("could not write", &place))?;
        self.note(path, digest, held.length() - held.bytes());
        Ok(())
    }

    /// Takes up what was written at [`BackupFolder::place`], and makes it durable.
    pub(super) fn written(&mut self, path: &str) -> Result<(), BackupError> {
        let place = self.place(path)?;
        let sync = || -> io::Result<FileDigest> {
            File::open(&place)?.sync_all()?;
            file_digest::of_file(&place, None)
        };
        let digest = sync().map_err(BackupError::io("could not sync", &place))?;
        self.note(path, digest, 0);
        Ok(())
    }

    fn note(&mut self, path: &str, FileDigest { bytes, sha256 }: FileDigest, zeros: u64) {
        self.names.insert(path.to_owned());
        self.files.push(BackedUpFile { path: format!("{}/{path}", contents::DATA), bytes, sha256, zeros });
    }

    /// Gives a file of the earlier backup another name in this one, if it has such a file and that is whole.
    fn link(&mut self, path: &str, held: &HeldFile, place: &Path) -> Result<bool, BackupError> {
        let Some(earlier) = &self.earlier else { return Ok(false) };
        let digest = file_digest::of_held(held, None).map_err(BackupError::io("could not read what becomes", place))?;
        let Some(there) = earlier.paths.get(&digest).map(|there| earlier.dir.join(there)) else { return Ok(false) };
        let is_whole = file_digest::of_file(&there, None).is_ok_and(|found| found == digest);
        // On another file system, or one without links, it is written.
        if !is_whole || std::fs::hard_link(&there, place).is_err() {
            return Ok(false);
        }
        self.linked_bytes += digest.bytes;
        self.note(path, digest, held.length() - held.bytes());
        Ok(true)
    }

    /// Bytes that stand in the earlier backup as well, and were not written.
    pub(super) const fn linked_bytes(&self) -> u64 {
        self.linked_bytes
    }

    /// Makes it a backup: from here on it is there, whole, whatever happens. Of the contents the files are filled in.
    pub(super) fn finish(mut self, mut contents: BackupContents) -> Result<BackupContents, BackupError> {
        contents.files = std::mem::take(&mut self.files);
        contents.files.sort_by(|one, other| one.path.cmp(&other.path));
        let path = self.dir.join(contents::FILE);
        let encoded = contents::encode(&contents).map_err(io::Error::from);
        let (bytes, checksum) = encoded.map_err(BackupError::io("could not write", &path))?;
        for (name, bytes) in [(contents::FILE, bytes), (contents::CHECKSUM, checksum.into_bytes())] {
            let path = self.dir.join(name);
            let held = HeldFile::of_bytes(name.to_owned(), bytes);
            write(&path, &held).map_err(BackupError::io("could not write", &path))?;
        }
        sync_folders(&self.dir).map_err(BackupError::io("could not sync", &self.dir))?;
        fail::fail_point!("backup_before_rename", |_| std::process::abort());
        std::fs::rename(&self.dir, &self.to).map_err(BackupError::io("could not name the backup", &self.to))?;
        self.is_done = true;
        let parent = parent(&self.to);
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(BackupError::io("could not sync", parent))?;
        Ok(contents)
    }
}

impl Drop for BackupFolder {
    fn drop(&mut self) {
        if !self.is_done {
            // What stays has a name that the next backup removes.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The folder that a file or folder is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(place: &Path, held: &HeldFile) -> io::Result<FileDigest> {
    fail::fail_point!("backup_write", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
    let digest = file_digest::of_held(held, Some(&mut file))?;
    file.sync_all()?;
    Ok(digest)
}

/// Makes the names durable of everything in `dir`.
pub(super) fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}
