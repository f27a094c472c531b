//! Numbers of jobs. None of a kind comes twice, also in a file that was made anew or is an older copy: whoever has noted the number of a job that is
//! gone finds no other one under it, and a record that it has erased from the log is not taken for one that another job has erased.

use rusqlite::Connection;

use super::{State, StateError, seal, signed};

/// Made when it is needed: files of this format may lack it.
const TABLE: &str = "CREATE TABLE job_numbers (above INTEGER NOT NULL);";

fn has_table(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'job_numbers'")?.exists([])
}

/// The number of the next job of a table.
pub(super) fn next(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let highest =
        |sql: &str| -> rusqlite::Result<i64> { connection.prepare_cached(sql)?.query_row([], |row| row.get(0)) };
    let last = highest(&format!("SELECT coalesce(max(id), 0) FROM {table}"))?;
    let above = if has_table(connection)? { highest("SELECT coalesce(max(above), 0) FROM job_numbers")? } else { 0 };
    Ok(last.max(above).saturating_add(1))
}

/// Forgets the jobs of a table that have ended, but for the `kept` newest of all.
pub(super) fn forget_ended(
    connection: &Connection,
    (table, has_ended): (&str, &str),
    kept: i64,
) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM {table} WHERE {has_ended}
         AND id <= (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?1)"
    );
    connection.prepare_cached(&sql)?.execute([kept]).map(drop)
}

impl State {
    /// Has all jobs from now on get numbers above this one, durably.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn number_jobs_above(&mut self, number: u64) -> Result<(), StateError> {
        self.in_transaction(true, |connection| {
            if !has_table(connection)? {
                connection.execute_batch(TABLE)?;
                seal::seal(connection)?;
            }
            connection.execute("DELETE FROM job_numbers WHERE above < ?1", [signed(number)])?;
            connection.execute("INSERT INTO job_numbers (above) VALUES (?1)", [signed(number)]).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::subject::SubjectKind;

    use super::super::{ClearSubject, NewForgetJob, NewRebuildJob, NewReplayJob, NewRetryJob};
    use super::*;

    fn forget(state: &mut State, value: &str) -> u64 {
        let named = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: value.to_owned() };
        let job = NewForgetJob { subjects: state.hashed(&[named]).unwrap(), ..NewForgetJob::default() };
        state.begin_forget_job(&job, &[]).unwrap().unwrap()
    }

    #[test]
    fn a_number_of_a_job_does_not_come_again_in_a_file_that_was_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        assert_eq!(forget(&mut state, "ann"), 1);
        drop(state);
        std::fs::remove_file(&path).unwrap();
        let mut state = State::open(&path).unwrap();
        state.number_jobs_above(1_700_000_000).unwrap();
        // An earlier moment changes nothing.
        state.number_jobs_above(5).unwrap();
        assert_eq!([forget(&mut state, "ann"), forget(&mut state, "ben")], [1_700_000_001, 1_700_000_002]);
        let replay = NewReplayJob { sync: "crm".to_owned(), ..NewReplayJob::default() };
        assert_eq!(state.begin_replay_job(&replay).unwrap(), Some(1_700_000_001));
        let rebuild = NewRebuildJob { sync: "dwh".to_owned(), ..NewRebuildJob::default() };
        assert_eq!(state.begin_rebuild_job(&rebuild).unwrap().unwrap(), 1_700_000_001);
        let retry = NewRetryJob { rate: 1, ..NewRetryJob::default() };
        assert_eq!(state.begin_retry_job(&retry).unwrap(), Some(1_700_000_001));
        drop(state);
        let verified = super::super::verify(&path, tidegate_sqlite::sqlite_check::Depth::Full);
        assert!(verified.unwrap().is_whole());
    }

    #[test]
    fn jobs_that_were_carried_over_stay_however_high_the_numbers_are_that_follow() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let old = forget(&mut state, "ann");
        state.step_forget_job(old, "all", Some(9)).unwrap();
        state.number_jobs_above(1_700_000_000).unwrap();
        let new = forget(&mut state, "ben");
        let ids: Vec<u64> = state.forget_jobs(10).unwrap().into_iter().map(|job| job.id).collect();
        assert_eq!(ids, [new, old]);
        state
            .in_transaction(false, |connection| forget_ended(connection, ("forget_jobs", "state <> 'running'"), 1))
            .unwrap();
        assert_eq!(state.forget_job(old).unwrap(), None);
        assert!(state.forget_job(new).unwrap().is_some());
    }
}
