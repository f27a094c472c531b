//! What replays and rebuilds keep of their work: failures and notices of destinations, names of events, and the names that a replay was asked
//! for. They are texts of whoever works on the jobs, and JSON.

use rusqlite::{Connection, Row};
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{decode, json};
use tidegate_process::clock;

use super::forget_names::is_named;
use super::{State, StateError, SubjectSet, sum, unsigned};

const REPLAYS: &str = "replay_jobs";
const REBUILDS: &str = "rebuild_jobs";
/// Takes out of the progress of a job what may quote somebody. How far it is stays.
const WITHOUT_TEXTS: &str =
    "json_replace(progress, '$.failure', NULL, '$.notes', json('[]'), '$.notices', json('[]'), '$.names', json('{}'))";

/// A job that names somebody.
struct NamingJob {
    id: i64,
    in_progress: bool,
    /// By the names of events that it was asked for.
    in_order: bool,
}

impl State {
    /// Takes away what jobs say that names any of `subjects`; answers how many jobs did. A replay that was asked for a name of an event that
    /// names somebody ends: without the name it would send other events.
    ///
    /// # Errors
    /// Some of it may be taken away; all of it is when it is asked for again.
    pub(super) fn forget_progress(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<u64, StateError> {
        let mut found = 0;
        for table in [REPLAYS, REBUILDS] {
            let naming = naming_jobs(&self.connection, table, subjects);
            let naming = naming.map_err(self.err("could not read what jobs say"))?;
            found += naming.len() as u64;
            if dry_run {
                continue;
            }
            for job in &naming {
                self.blank_job(table, job)?;
            }
        }
        Ok(found)
    }

    fn blank_job(&mut self, table: &str, job: &NamingJob) -> Result<(), StateError> {
        if job.in_order
            && let Some(running) = self.replay_job(unsigned(job.id))?
        {
            self.cancel_replay_job(&running, clock::now_us())?;
        }
        self.in_transaction(true, |connection| {
            connection.execute_batch("PRAGMA secure_delete = ON")?;
            if job.in_progress {
                let sql =
                    format!("UPDATE {table} SET progress = {WITHOUT_TEXTS} WHERE id = ?1 AND json_valid(progress)");
                connection.execute(&sql, [job.id])?;
            }
            if job.in_order {
                let sql = "UPDATE replay_jobs SET asked = json_replace(asked, '$.events', json('[]'))
                    WHERE id = ?1 AND json_valid(asked)";
                connection.execute(sql, [job.id])?;
            }
            Ok(())
        })
    }
}

fn naming_jobs(connection: &Connection, table: &str, subjects: &SubjectSet) -> rusqlite::Result<Vec<NamingJob>> {
    let mut find = connection.prepare(&format!("SELECT id, progress, asked FROM {table}"))?;
    let read = |row: &Row<'_>| {
        let [progress, asked] = [1, 2].map(|column| sum::bytes(row, column));
        let (progress, asked) = (fields(&progress?), fields(&asked?));
        let mut said = ["failure", "notes", "notices"].into_iter().flat_map(|field| texts(progress.get(field)));
        let is_said = said.any(|text| subjects.stands_in(text.as_bytes()));
        Ok(NamingJob {
            id: row.get(0)?,
            in_progress: is_said || texts(progress.get("names")).into_iter().any(|name| is_named(subjects, name)),
            in_order: texts(asked.get("events")).into_iter().any(|name| is_named(subjects, name)),
        })
    };
    let mut jobs: Vec<NamingJob> = find.query_map([], read)?.collect::<Result<_, _>>()?;
    jobs.retain(|job| job.in_progress || job.in_order);
    Ok(jobs)
}

/// Of a job that has not begun, nothing.
fn fields(text: &[u8]) -> JsonObject {
    match json::parse(text, decode::DEPTH_MAX) {
        Ok(Value::Object(fields)) => fields,
        _ => JsonObject::default(),
    }
}

/// A text, those of a list, or the names of the fields of an object.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(Value::Object(fields)) => fields.keys().map(|name| name.as_str()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::subject::SubjectKind;

    use super::super::{
        ClearSubject, NewRebuildJob, NewReplayJob, RebuildJobState, ReplayJob, ReplayJobState, ReplayStep,
    };
    use super::*;

    const EMAIL: &str = "ann@example.com";

    fn begun(state: &mut State, order: &str, progress: &str) -> ReplayJob {
        let asked = NewReplayJob { sync: "crm".to_owned(), order: order.to_owned(), ..NewReplayJob::default() };
        let id = state.begin_replay_job(&asked).unwrap().unwrap();
        let job = state.replay_job(id).unwrap().unwrap();
        let step = ReplayStep { progress, pending: &[], end: None };
        assert!(progress.is_empty() || state.step_replay_job(&job, &step).unwrap());
        job
    }

    #[test]
    fn what_jobs_say_of_somebody_is_taken_away_and_they_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let by_name = begun(&mut state, r#"{"events":["Invited ann@example.com"],"dry_run":true}"#, "");
        let failing = r#"{"step":"events","parts":[{"at":3}],"names":{"Bought":{"events":2}},
            "failure":"the far side refused ann@example.com"}"#;
        let failing = begun(&mut state, r#"{"events":["Bought"]}"#, failing);
        let other = r#"{"failure":"away","names":{"Bought":{"events":1}},"notes":["hello"]}"#;
        let other = begun(&mut state, "{}", other);
        let asked = NewRebuildJob { sync: "dwh".to_owned(), order: "{}".to_owned(), ..NewRebuildJob::default() };
        let rebuild = state.begin_rebuild_job(&asked).unwrap().unwrap();
        let progress = r#"{"step":"events","notices":["no table for Invited \"ann@example.com\""]}"#;
        assert!(state.step_rebuild_job(rebuild, progress, (RebuildJobState::Running, 1)).unwrap());
        let subject =
            ClearSubject { kind: SubjectKind::Trait, trait_name: "email".to_owned(), value: EMAIL.to_owned() };
        let hashed = state.hashed(&[subject]).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        for (dry_run, found) in [(true, 3), (false, 3), (false, 0)] {
            assert_eq!(state.forget_progress(&subjects, dry_run).unwrap(), found, "{dry_run}");
        }
        let ended = state.replay_job(by_name.id).unwrap().unwrap();
        assert_eq!((ended.state, &*ended.asked.order), (ReplayJobState::Cancelled, r#"{"events":[],"dry_run":true}"#));
        let goes_on = state.replay_job(failing.id).unwrap().unwrap();
        assert_eq!((goes_on.state, &*goes_on.asked.order), (ReplayJobState::Running, r#"{"events":["Bought"]}"#));
        assert!(goes_on.progress.contains(r#""at":3"#) && goes_on.progress.contains(r#""failure":null"#));
        let untouched = state.replay_job(other.id).unwrap().unwrap();
        assert_eq!((untouched.state, untouched.asked.order), (ReplayJobState::Running, other.asked.order));
        assert!(untouched.progress.contains("away") && untouched.progress.contains("hello"));
        let rebuild = state.rebuild_job(rebuild).unwrap().unwrap();
        assert_eq!(
            (rebuild.state, &*rebuild.progress),
            (RebuildJobState::Running, r#"{"step":"events","notices":[]}"#)
        );
    }
}
