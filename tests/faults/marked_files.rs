//! Files below a folder that hold one of some texts, in whatever form.
//!
//! * Every file is looked through as its bytes are: the log keeps events as they came, without compression, and so do pages of databases.
//! * Of a database of SQLite every cell of every table is looked through as well: a long text lies in several pages.
//! * What is compressed (gzip, Zstandard) is looked through as what comes out of it.
//! * Parquet files are read by DuckDB, where `tests/warehouses/setup lake` has brought it.
//!
//! What is encrypted (secrets) or hashed under a key says nothing about whoever does not have the key, and is not looked into.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::fingerprints::sqlite_tables;
use crate::lake_reader;

/// Read at once.
const PIECE: usize = 4 << 20;

/// What was looked through, and found.
pub struct MarkedFiles<'m> {
    markers: &'m [String],
    pub found: Vec<PathBuf>,
    pub count: u64,
    pub bytes: u64,
    /// Files that could not be looked into, but for their bytes.
    pub not_read: Vec<PathBuf>,
}

impl<'m> MarkedFiles<'m> {
    pub fn new(markers: &'m [String]) -> Self {
        Self { markers, found: Vec::new(), count: 0, bytes: 0, not_read: Vec::new() }
    }

    /// Looks through everything below a folder.
    pub fn look(&mut self, folder: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                self.look(&path)?;
                continue;
            }
            match self.is_marked(&path) {
                Ok(true) => self.found.push(path),
                Ok(false) => {}
                // The server has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_marked(&mut self, path: &Path) -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        self.count += 1;
        let mut head = [0; 16];
        let read = file.read(&mut head)?;
        let head = &head[..read];
        if self.has(File::open(path)?)? {
            return Ok(true);
        }
        let again = File::open(path)?;
        if head.starts_with(&[0x1f, 0x8b]) {
            return self.has(flate2::read::MultiGzDecoder::new(again));
        }
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = ruzstd::decoding::StreamingDecoder::new(BufReader::new(again));
            return self.has(decoder.map_err(|error| std::io::Error::other(error.to_string()))?);
        }
        if head.starts_with(b"SQLite format 3\0") {
            // A database that a server holds for itself is looked into once it has ended.
            let is_in = self.is_in_tables(path);
            if is_in.is_err() {
                self.not_read.push(path.to_owned());
            }
            return Ok(is_in.unwrap_or(false));
        }
        if head.starts_with(b"PAR1") {
            return Ok(self.is_in_parquet(path));
        }
        Ok(false)
    }

    /// Whether one of the texts comes out of a reader.
    fn has(&mut self, mut reader: impl Read) -> std::io::Result<bool> {
        let overlap = self.markers.iter().map(String::len).max().unwrap_or(0);
        let mut piece = Vec::with_capacity(PIECE + overlap);
        loop {
            let before = piece.len();
            let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            self.bytes += read as u64;
            if self.is_in(&piece) {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            // A text may begin in one piece and end in the next.
            let from = (before + read).saturating_sub(overlap);
            piece.drain(..from);
        }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.markers.iter().any(|marker| memmem::find(bytes, marker.as_bytes()).is_some())
    }

    fn is_in_tables(&self, path: &Path) -> rusqlite::Result<bool> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        for table in sqlite_tables(&connection)? {
            let mut select = connection.prepare(&format!("SELECT * FROM \"{}\"", table.replace('"', "\"\"")))?;
            let columns = select.column_count();
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(column)?
                        && self.is_in(bytes)
                    {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn is_in_parquet(&mut self, path: &Path) -> bool {
        if lake_reader::ready().is_err() {
            self.not_read.push(path.to_owned());
            return false;
        }
        self.markers.iter().any(|marker| {
            let answer = lake_reader::ask(&json!({"do": "holds", "files": [path], "text": marker}));
            answer["files"].as_array().is_some_and(|files: &Vec<Value>| !files.is_empty())
        })
    }
}
