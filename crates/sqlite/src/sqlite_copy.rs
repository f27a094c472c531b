//! Copies a SQLite file that others write to, as it is at one moment.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ffi};

use crate::sqlite_check::{self, Depth};

/// Pages that are copied between two words about it.
const STEP_PAGES: i32 = 1024;

/// Copies the file at `from` to `to`, where there is none yet: what was committed when the copy began, page by page. Nobody waits
/// for it who writes by a write-ahead log. The copy is one file that needs nothing beside it, and is not synced. `told` hears how many pages
/// of how many are copied. Answers what is wrong with the copy, up to the first damaged place; nothing when it is whole.
///
/// # Errors
/// The file cannot be read, or the copy cannot be written; a part of it may be there then.
pub fn copy(from: &Path, to: &Path, told: &mut dyn FnMut(u64, u64)) -> rusqlite::Result<Vec<String>> {
    let source = sqlite_check::open(from)?;
    // One transaction for all steps: without it the copy would begin anew whenever somebody writes.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut copy = Connection::open(to)?;
    // Nobody goes on from a half copy.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    {
        let copying = Backup::new(&source, &mut copy)?;
        loop {
            match copying.step(STEP_PAGES)? {
                StepResult::Done => break,
                StepResult::More => {
                    let progress = copying.progress();
                    let pages = u64::try_from(progress.pagecount).unwrap_or(0);
                    told(pages.saturating_sub(u64::try_from(progress.remaining).unwrap_or(0)), pages);
                }
                // Nobody else has the copy, and whoever reads the source within a transaction waits for nobody.
                _ => return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
            }
        }
    }
    copy.execute_batch("PRAGMA journal_mode = DELETE")?;
    let damage = match sqlite_check::damage(&copy, Depth::Quick) {
        Err(error) if sqlite_check::is_damage(&error) => vec![sqlite_check::plain(&error)],
        other => other?,
    };
    copy.close().map_err(|(_, error)| error)?;
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_of_one_moment_although_somebody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a.db"), dir.path().join("b.db"));
        let writer = Connection::open(&from).unwrap();
        writer
            .execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE t (a, b); CREATE TABLE n (a);
                 WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 60000)
                 INSERT INTO t SELECT x, hex(randomblob(200)) FROM c",
            )
            .unwrap();
        let mut told = 0;
        let damage = copy(&from, &to, &mut |done, pages| {
            assert!(done <= pages);
            told += 1;
            // Each of these would let a copy without a transaction begin anew.
            writer.execute_batch("BEGIN; DELETE FROM t WHERE a % 2 = 0; INSERT INTO n VALUES (1); COMMIT").unwrap();
        });
        assert_eq!(damage.unwrap(), Vec::<String>::new());
        assert!(told > 0);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("b.db-")), "{names:?}");
        let copied = sqlite_check::open(&to).unwrap();
        let count = |table: &str| -> i64 {
            copied.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("t"), count("n")), (60_000, 0));
    }
}
