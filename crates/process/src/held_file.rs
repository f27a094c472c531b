//! Files as they are at one moment, held open to be copied while others write on, remove them or put others in their place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What a copy of a file shall be.
#[derive(Debug)]
pub struct HeldFile {
    /// Of the copy, within its folder.
    pub name: String,
    content: HeldContent,
}

#[derive(Debug)]
enum HeldContent {
    Bytes(Vec<u8>),
    /// The first `bytes` of a file, and zeros up to `length`.
    Beginning {
        file: File,
        bytes: u64,
        length: u64,
    },
}

impl HeldFile {
    /// The file at `path`, as long as it is now.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn whole(path: &Path, name: String) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { name, content: HeldContent::Beginning { file, bytes, length: bytes } })
    }

    /// The first `bytes` of the file at `path`, or all that it has, and zeros behind them up to `length`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn beginning(path: &Path, name: String, bytes: u64, length: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = bytes.min(file.metadata()?.len());
        Ok(Self { name, content: HeldContent::Beginning { file, bytes, length: length.max(bytes) } })
    }

    /// A file of these bytes.
    #[must_use]
    pub const fn of_bytes(name: String, bytes: Vec<u8>) -> Self {
        Self { name, content: HeldContent::Bytes(bytes) }
    }

    /// Bytes of the copy before the zeros that end it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match &self.content {
            HeldContent::Bytes(bytes) => bytes.len() as u64,
            HeldContent::Beginning { bytes, .. } => *bytes,
        }
    }

    /// Bytes of the copy, with the zeros that end it.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.content {
            HeldContent::Bytes(bytes) => bytes.len() as u64,
            HeldContent::Beginning { length, .. } => *length,
        }
    }

    /// Fills `buffer` with what stands at `at`; answers how much that is, 0 at the end alone.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match &self.content {
            HeldContent::Bytes(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let count = most(rest.len() as u64);
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            HeldContent::Beginning { file, bytes, .. } if at < *bytes => {
                let count = most(bytes - at);
                file.read_exact_at(&mut buffer[..count], at)?;
                Ok(count)
            }
            HeldContent::Beginning { length, .. } => {
                let count = most(length.saturating_sub(at));
                buffer[..count].fill(0);
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(held: &HeldFile) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [9; 4]);
        loop {
            match held.read_at(&mut buffer, all.len() as u64).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn a_held_file_stays_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"abcdefg").unwrap();
        let whole = HeldFile::whole(&path, "a".to_owned()).unwrap();
        let beginning = HeldFile::beginning(&path, "a".to_owned(), 5, 11).unwrap();
        let longer = HeldFile::beginning(&path, "a".to_owned(), 50, 2).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, b"hij"))
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((read(&whole), whole.length()), (b"abcdefg".to_vec(), 7));
        assert_eq!((read(&beginning), beginning.bytes()), (b"abcde\0\0\0\0\0\0".to_vec(), 5));
        assert_eq!(read(&longer), b"abcdefg");
        assert_eq!(read(&HeldFile::of_bytes("b".to_owned(), b"12345".to_vec())), b"12345");
        assert!(HeldFile::whole(&path, "a".to_owned()).is_err());
    }
}
