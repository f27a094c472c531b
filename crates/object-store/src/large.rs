//! Objects that are too large to be held in memory: they are written from a file, and read part by part.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::{GetRange, MultipartUpload, ObjectStoreExt as _};

use crate::error::{ObjectError, disk, doing};
use crate::opened::OpenedPlace;

/// What goes in one request, and is in memory at once; every store takes parts of this size.
pub const PART_BYTES: u64 = 8 << 20;
/// Behind the name of an object of a folder while it is written.
const UNFINISHED: &str = ".unfinished";

impl OpenedPlace {
    /// Writes an object that has the first `bytes` of `file`, in the place of the one before. It is there whole or not at all.
    ///
    /// # Errors
    /// The file cannot be read, or the object cannot be written.
    pub async fn put_file(&self, path: &str, file: &FilePath, bytes: u64) -> Result<(), ObjectError> {
        if let Some(folder) = self.folder() {
            let (from, to) = (file.to_owned(), folder.join(path));
            let copied = tokio::task::spawn_blocking(move || copy_file(&from, &to, bytes)).await;
            return copied.map_err(|_| ObjectError::Gone)?.map_err(disk("writing a file"));
        }
        if bytes <= PART_BYTES {
            return self.put(path, part_of(file, 0..bytes).await?).await;
        }
        let opening = self.objects().put_multipart(&self.path(path)?).await;
        let mut upload = opening.map_err(doing("writing a file"))?;
        let written = match put_parts(&mut *upload, file, bytes).await {
            Ok(()) => upload.complete().await.map(drop).map_err(doing("writing a file")),
            Err(error) => Err(error),
        };
        if written.is_err() {
            // What a store keeps of an upload that nobody ends is paid for.
            let _ = upload.abort().await;
        }
        written
    }

    /// A part of an object.
    ///
    /// # Errors
    /// It cannot be read, or is gone.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        self.get_part(path, Some(GetRange::Bounded(range))).await
    }
}

async fn put_parts(upload: &mut dyn MultipartUpload, file: &FilePath, bytes: u64) -> Result<(), ObjectError> {
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at.saturating_add(PART_BYTES));
        let part = part_of(file, at..end).await?;
        upload.put_part(part.into()).await.map_err(doing("writing a file"))?;
        at = end;
    }
    Ok(())
}

async fn part_of(file: &FilePath, range: Range<u64>) -> Result<Bytes, ObjectError> {
    let file = file.to_owned();
    let read = move || -> io::Result<Bytes> {
        let mut part = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        File::open(file)?.read_exact_at(&mut part, range.start)?;
        Ok(part.into())
    };
    let part = tokio::task::spawn_blocking(read).await;
    part.map_err(|_| ObjectError::Gone)?.map_err(disk("reading the file that is to be written"))
}

/// The file has its name when all of it is on the disk. Its unfinished copy has a fixed name, so the next try takes its place.
fn copy_file(from: &FilePath, to: &FilePath, bytes: u64) -> io::Result<()> {
    let home = to.parent().unwrap_or(to);
    std::fs::create_dir_all(home)?;
    let mut name = to.as_os_str().to_owned();
    name.push(UNFINISHED);
    let unfinished = FilePath::new(&name);
    let copied = copy_bytes(from, unfinished, bytes).and_then(|()| std::fs::rename(unfinished, to));
    if let Err(error) = copied {
        // It would only take the space that may be missing.
        let _ = std::fs::remove_file(unfinished);
        return Err(error);
    }
    File::open(home)?.sync_all()
}

fn copy_bytes(from: &FilePath, to: &FilePath, bytes: u64) -> io::Result<()> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut from = File::open(from)?.take(bytes);
    // What people keep in it is nobody else's.
    let mut options = std::fs::OpenOptions::new();
    let mut to = options.write(true).create(true).truncate(true).mode(0o600).open(to)?;
    if io::copy(&mut from, &mut to)? < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use tidegate_net::WebSettings;

    use super::*;
    use crate::{ObjectOptions, ObjectPlace};

    #[tokio::test]
    async fn a_file_is_copied_whole_and_read_part_by_part() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("from");
        std::fs::write(&file, b"0123456789").unwrap();
        let place = ObjectPlace::Folder(folder.path().join("place"));
        let place = OpenedPlace::open(&place, &ObjectOptions::default(), &WebSettings::default()).unwrap();
        place.put_file("a/b.log", &file, 7).await.unwrap();
        assert_eq!(place.size("a/b.log").await.unwrap(), Some(7));
        assert_eq!(&*place.get_range("a/b.log", 2..5).await.unwrap(), b"234");
        assert!(place.put_file("a/b.log", &file, 11).await.is_err(), "the file is shorter");
        assert_eq!(&*place.get("a/b.log").await.unwrap(), b"0123456", "the one before is as it was");
        let left = std::fs::read_dir(folder.path().join("place/a")).unwrap().count();
        assert_eq!(left, 1, "nothing unfinished is left");
    }
}
