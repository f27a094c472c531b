//! The files of the log, behind a small trait: a directory of named files, and what can be done with each.
//!
//! [`Disk`] is the one implementation that a server uses. Tests have another, which loses what was not synced and fails
//! when it is told to. A short write and an interrupted call are no failures: they are tried again here, once for all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogError;

/// A directory of files.
pub(super) trait Storage: Send + Sync {
    fn list(&self) -> io::Result<Vec<String>>;
    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn Stored>>;
    /// A new, empty file, whatever had the name before.
    fn create(&self, name: &str) -> io::Result<Box<dyn Stored>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_names(&self) -> io::Result<()>;
    fn path(&self, name: &str) -> PathBuf;
}

/// A file in it.
pub(super) trait Stored: Send + Sync {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The bytes, and the length where they need it.
    fn sync_data(&self) -> io::Result<()>;
    fn sync_all(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// What was tried when a sync failed, of bytes or of names.
pub(super) const SYNC: &str = "could not sync";

/// What a failed call means for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StorageFailure {
    /// No space is left; there may be some later.
    Full,
    /// The process or the machine has no file descriptor left; there may be one later.
    Busy,
    /// The disk failed.
    Disk,
}

impl StorageFailure {
    pub(super) fn of(error: &LogError) -> Self {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let LogError::Io { cause, action, .. } = error else { return Self::Disk };
        if *action == SYNC {
            // The kernel may have dropped what it could not write; nobody knows what is on the disk.
            return Self::Disk;
        }
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ if matches!(cause.raw_os_error(), Some(ENFILE | EMFILE)) => Self::Busy,
            _ => Self::Disk,
        }
    }
}

/// A [`Storage`] whose errors name the file and what was tried.
#[derive(Clone)]
pub(super) struct Home(Arc<dyn Storage>);

/// A [`Stored`] whose errors name the file and what was tried.
pub(super) struct FileHandle {
    file: Box<dyn Stored>,
    path: PathBuf,
}

impl Home {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Names of the files, ascending.
    pub(super) fn list(&self) -> Result<Vec<String>, LogError> {
        let mut names = again(|| self.0.list()).map_err(LogError::io("could not list the log", &self.path("")))?;
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn open(&self, name: &str, write: bool) -> Result<FileHandle, LogError> {
        let path = self.path(name);
        let file = again(|| self.0.open(name, write)).map_err(LogError::io("could not open", &path))?;
        Ok(FileHandle { file, path })
    }

    /// As [`Home::open`]; `None` when there is no such file.
    pub(super) fn find(&self, name: &str, write: bool) -> Result<Option<FileHandle>, LogError> {
        match self.open(name, write) {
            Ok(handle) => Ok(Some(handle)),
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn create(&self, name: &str) -> Result<FileHandle, LogError> {
        let path = self.path(name);
        let file = again(|| self.0.create(name)).map_err(LogError::io("could not make", &path))?;
        Ok(FileHandle { file, path })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), LogError> {
        again(|| self.0.rename(from, to)).map_err(LogError::io("could not name", &self.path(to)))
    }

    /// Removes a file; one that is gone already is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), LogError> {
        match again(|| self.0.remove(name)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(LogError::io("could not remove", &self.path(name))(cause))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sync_names(&self) -> Result<(), LogError> {
        again(|| self.0.sync_names()).map_err(LogError::io(SYNC, &self.path("")))
    }

    /// Puts a small file in the place of another, whole or not at all: `spare` is where it is written first.
    pub(super) fn replace(&self, name: &str, spare: &str, bytes: &[u8]) -> Result<(), LogError> {
        let handle = self.create(spare)?;
        self.put(name, spare, &handle, bytes)
    }

    /// As [`Home::replace`], with the file `spare` open already.
    pub(super) fn put(&self, name: &str, spare: &str, handle: &FileHandle, bytes: &[u8]) -> Result<(), LogError> {
        handle.write_all(bytes, 0)?;
        handle.sync_all()?;
        self.rename(spare, name)?;
        self.sync_names()
    }
}

impl FileHandle {
    /// Reads until `bytes` is full or the file ends; answers how much was read.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> Result<usize, LogError> {
        let mut done = 0;
        while done < bytes.len() {
            let more = again(|| self.file.read_at(&mut bytes[done..], at.saturating_add(done as u64)));
            match more.map_err(LogError::io("could not read", &self.path))? {
                0 => break,
                more => done += more,
            }
        }
        Ok(done)
    }

    /// The whole file, or its first `bytes_max`.
    pub(super) fn read_whole(&self, bytes_max: u64) -> Result<Vec<u8>, LogError> {
        let len = usize::try_from(self.len()?.min(bytes_max)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let read = self.read(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn write_all(&self, bytes: &[u8], at: u64) -> Result<(), LogError> {
        let mut done = 0;
        while done < bytes.len() {
            let more = again(|| match self.file.write_at(&bytes[done..], at.saturating_add(done as u64)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            });
            done += more.map_err(LogError::io("could not write", &self.path))?;
        }
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> Result<(), LogError> {
        again(|| self.file.set_len(len)).map_err(LogError::io("could not cut", &self.path))
    }

    pub(super) fn sync_data(&self) -> Result<(), LogError> {
        again(|| self.file.sync_data()).map_err(LogError::io(SYNC, &self.path))
    }

    pub(super) fn sync_all(&self) -> Result<(), LogError> {
        again(|| self.file.sync_all()).map_err(LogError::io(SYNC, &self.path))
    }

    pub(super) fn len(&self) -> Result<u64, LogError> {
        again(|| self.file.len()).map_err(LogError::io("could not read the size of", &self.path))
    }
}

/// Calls once more whenever a signal came between.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A directory of the file system. Its own handle stays open, so that syncing names needs no descriptor.
pub(super) struct Disk {
    dir: PathBuf,
    names: File,
}

impl Disk {
    /// The directory, made when it is not there. Only its owner may look into it: it holds personal data.
    pub(super) fn create(dir: &Path) -> Result<Home, LogError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(LogError::io("could not make the directory", dir))?;
        Self::at(dir)
    }

    pub(super) fn at(dir: &Path) -> Result<Home, LogError> {
        let names = File::open(dir).map_err(LogError::io("could not open the directory", dir))?;
        Ok(Home::new(Arc::new(Self { dir: dir.to_owned(), names })))
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.dir)?
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn Stored>> {
        let file = OpenOptions::new().read(true).write(write).open(self.dir.join(name))?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Stored>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(self.dir.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.names.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }
}

impl Stored for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|meta| meta.len())
    }
}
