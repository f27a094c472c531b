//! Files that people name, read within bounds.
//!
//! A name in a workspace may lead anywhere: to a pipe that nobody writes to, a device without an end, a link to another
//! user's file. Whoever reads one waits for nothing, reads no more than it asked for, and says what it found instead.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// A configuration is written by people; nobody writes this much.
pub const TEXT_BYTES_MAX: u64 = 16 << 20;
/// A component. An engine takes less, and says so itself.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// A key, a certificate, a list of authorities.
pub const SECRET_BYTES_MAX: u64 = 4 << 20;

/// A text without the byte order mark that some programs put before UTF-8.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Opens a file that must be an ordinary one. Links are followed.
///
/// # Errors
/// There is none, or it is something else; the error says what.
pub fn open(path: &Path) -> io::Result<File> {
    // A pipe would wait for its other end, and a terminal would become ours.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => not_a_file(found.file_type()),
        _ => error,
    })?;
    let found = file.metadata()?;
    if found.is_file() { Ok(file) } else { Err(not_a_file(found.file_type())) }
}

/// The bytes of an ordinary file of at most `bytes_max`.
///
/// # Errors
/// See [`open`]; or it is larger.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > bytes_max {
        return Err(too_large(bytes_max));
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    // Some files have more to give than their length says.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max { Err(too_large(bytes_max)) } else { Ok(content) }
}

/// The text of an ordinary file of at most `bytes_max`.
///
/// # Errors
/// See [`read`]; or it is no UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// Refuses a path that is written inside `folder` and leads out of it by a link. Links within the folder are fine
/// (Kubernetes mounts configuration as such), and so is a path that says itself that it lies elsewhere.
///
/// # Errors
/// It leads out, or nowhere.
pub fn stays_within(folder: &Path, path: &Path) -> io::Result<()> {
    if !path.starts_with(folder) {
        return Ok(());
    }
    let (root, real) = (folder.canonicalize()?, path.canonicalize()?);
    if real.starts_with(&root) {
        return Ok(());
    }
    let message = format!("a link leads out of the workspace, to {}", real.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn not_a_file(kind: FileType) -> io::Error {
    let what = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something else",
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not an ordinary file"))
}

fn too_large(bytes_max: u64) -> io::Error {
    let most = if bytes_max >= 1 << 20 { format!("{} MiB", bytes_max >> 20) } else { format!("{bytes_max} bytes") };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ordinary_file_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("large"), "12345").unwrap();
        std::os::unix::fs::symlink(at("large"), at("link")).unwrap();
        let said = |name: &str| read(&at(name), 4).unwrap_err().to_string();
        assert!(said("pipe").contains("named pipe"), "{}", said("pipe"));
        assert!(said("socket").contains("socket"), "{}", said("socket"));
        assert!(said("").contains("folder"), "{}", said(""));
        assert!(said("large").contains("larger than 4 bytes"), "{}", said("large"));
        assert_eq!(read(&at("link"), 5).unwrap(), b"12345");
        assert!(read(Path::new("/dev/zero"), 5).unwrap_err().to_string().contains("device"));
        assert_eq!(read(&at("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_may_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("w"), dir.path().join("o"));
        std::fs::create_dir_all(inside.join("..data")).unwrap();
        std::fs::write(inside.join("..data/a"), "a").unwrap();
        std::fs::write(&outside, "o").unwrap();
        std::os::unix::fs::symlink("..data/a", inside.join("a")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("b")).unwrap();
        assert!(stays_within(&inside, &inside.join("a")).is_ok());
        assert!(stays_within(&inside, &outside).is_ok());
        assert!(stays_within(&inside, &inside.join("b")).unwrap_err().to_string().contains("leads out"));
    }
}
