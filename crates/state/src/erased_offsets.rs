//! How far records of a source may have been erased, because it keeps events no longer; and what a copy of the state has to know of records that
//! were erased after it was made.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{State, StateError, sum, unsigned};

/// Of each source and partition: below `next` nothing is left to be erased, below `reached` records may have been.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS retention (
        source TEXT NOT NULL, log_partition INTEGER NOT NULL, next INTEGER NOT NULL, reached INTEGER NOT NULL,
        erased_to_us INTEGER NOT NULL, PRIMARY KEY (source, log_partition)
    ) WITHOUT ROWID;
";

/// Keeps that records of a source may be erased below an offset of a partition.
pub(super) const KEEP_REACHED: &str =
    "INSERT INTO retention (source, log_partition, next, reached, erased_to_us) VALUES (?1, ?2, 0, ?3, 0)
    ON CONFLICT (source, log_partition) DO UPDATE SET reached = max(reached, excluded.reached)";

/// Below this offset records of `source` may have been erased.
pub(super) fn reached(connection: &Connection, source: &str, partition: u16) -> rusqlite::Result<u64> {
    let sql = "SELECT reached FROM retention WHERE source = ?1 AND log_partition = ?2";
    let found: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![source, partition], |row| row.get(0)).optional()?;
    Ok(found.map_or(0, unsigned))
}

impl State {
    /// Takes over which records `live`, of which this is a copy, has erased since, for a log that is copied later. False, and nothing is taken over,
    /// when a job that forgets somebody began meanwhile: the copy does not know that job.
    ///
    /// # Errors
    /// One of the files cannot be read, or this one cannot be written.
    pub fn take_erasures(&mut self, live: &Self) -> Result<bool, StateError> {
        if live.newest_forget_job()? > self.newest_forget_job()? {
            return Ok(false);
        }
        self.in_transaction(true, |connection| {
            let sql = "SELECT min(id) FROM forget_jobs WHERE dry_run = 0 AND state = 'running'";
            let oldest: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
            // What was done when the copy was made is all in it.
            if let Some(oldest) = oldest {
                let mut find = live.connection.prepare("SELECT log_offset, job FROM forgotten WHERE job >= ?1")?;
                let mut rows = find.query([oldest])?;
                let mut keep =
                    connection.prepare("INSERT OR IGNORE INTO forgotten (log_offset, job) VALUES (?1, ?2)")?;
                while let Some(row) = rows.next()? {
                    keep.execute([sum::number(row, 0)?, sum::number(row, 1)?])?;
                }
            }
            let mut find = live.connection.prepare("SELECT source, log_partition, reached FROM retention")?;
            let mut rows = find.query([])?;
            let mut keep = connection.prepare(KEEP_REACHED)?;
            while let Some(row) = rows.next()? {
                keep.execute(params![sum::text(row, 0)?, sum::number(row, 1)?, sum::number(row, 2)?])?;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// The number of the newest job that removes something; 0 where there is none.
    fn newest_forget_job(&self) -> Result<i64, StateError> {
        let sql = "SELECT coalesce(max(id), 0) FROM forget_jobs WHERE dry_run = 0";
        let found = self.connection.query_row(sql, [], |row| row.get(0));
        found.map_err(self.err("could not read the jobs that forget"))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::Position;

    use super::super::NewForgetJob;
    use super::*;

    fn forgotten(state: &State) -> i64 {
        state.connection.query_row("SELECT count(*) FROM forgotten", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_copy_takes_over_what_was_erased_since_unless_it_does_not_know_the_job() {
        let dir = tempfile::tempdir().unwrap();
        let mut live = State::open(&dir.path().join("state.db")).unwrap();
        let job = live.begin_forget_job(&NewForgetJob::default(), &[]).unwrap().unwrap();
        live.step_forget_job(job, "half", None).unwrap();
        live.keep_forgotten(&[Position::new(0, 1)], job).unwrap();
        live.begin_erasing(&["web"], 0, 2).unwrap();
        let path = dir.path().join("copy.db");
        live.connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        live.keep_forgotten(&[Position::new(0, 2)], job).unwrap();
        live.begin_erasing(&["web"], 0, 4).unwrap();
        live.begin_erasing(&["shop"], 1, 3).unwrap();
        live.keep_erased(&["web"], 0, 4).unwrap();
        let mut copy = State::read(&path).unwrap();
        for _ in 0..2 {
            assert!(copy.take_erasures(&live).unwrap());
            let reached = [("web", 0), ("shop", 1)].map(|(source, at)| copy.may_be_erased_below(source, at).unwrap());
            assert_eq!((forgotten(&copy), reached), (2, [4, 3]));
            assert_eq!(copy.erased_below("web", 0).unwrap(), 0, "what is left there is looked for again");
        }
        let dry = NewForgetJob { dry_run: true, ..NewForgetJob::default() };
        live.begin_forget_job(&dry, &[]).unwrap().unwrap();
        assert!(copy.take_erasures(&live).unwrap(), "it erases nothing");
        let later = live.begin_forget_job(&NewForgetJob::default(), &[]).unwrap().unwrap();
        assert_ne!(later, job);
        live.begin_erasing(&["web"], 0, 9).unwrap();
        assert!(!copy.take_erasures(&live).unwrap());
        assert_eq!((forgotten(&copy), copy.may_be_erased_below("web", 0).unwrap()), (2, 4));
    }
}
