//! What the state file forgets of somebody.
//!
//! Which records of the log a job has found is kept by their offsets, because what came of a record is found by them when it does not name
//! anybody any more.

use std::ops::Range;

use rusqlite::{Connection, Row, params};
use tidegate_event::value::Value;
use tidegate_event::{EventId, Position, decode, json, partition_of};
use tidegate_process::clock;

use super::fate_syncs::ResolvedFates;
use super::{State, StateError, SubjectSet, alerts, fate_entries, position, signed, sum};

/// Rows that are looked at, and removed, at once.
const ROWS: i64 = 256;
/// Columns of jobs of the quarantine.
const EDITED: &str = "edited";
const FILTER: &str = "filter";
/// Behind the name of a sync: the scope of the counter of what was pending for it and was left out.
const SUPPRESSED: &str = " suppressed";

/// The sync whose counter of pending events that were left out this is the scope of.
#[must_use]
pub fn sync_of_suppressed(scope: &str) -> Option<&str> {
    scope.strip_suffix(SUPPRESSED)
}

/// What was found in one place of the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenRows {
    pub place: &'static str,
    pub looked_at: u64,
    pub found: u64,
    pub removed: u64,
}

impl State {
    /// Keeps which records a job has found.
    ///
    /// # Errors
    /// None of them is kept.
    pub fn keep_forgotten(&mut self, records: &[Position], job: u64) -> Result<(), StateError> {
        let columns: Vec<i64> = records.iter().map(|at| signed(at.bits())).collect();
        self.in_transaction(true, |connection| {
            let sql = "INSERT OR IGNORE INTO forgotten (log_offset, job) VALUES (?1, ?2)";
            let mut keep = connection.prepare_cached(sql)?;
            columns.iter().try_for_each(|column| keep.execute([*column, signed(job)]).map(drop))
        })
    }

    /// Removes what is pending for syncs and is about any of `subjects`: it goes to no destination. Answers what was looked at and removed.
    ///
    /// # Errors
    /// Some of it may be removed; all of it is when it is asked for again.
    pub fn forget_pending(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<ForgottenRows, StateError> {
        let mut rows = ForgottenRows { place: "pending", looked_at: 0, found: 0, removed: 0 };
        let mut at = (String::new(), i64::MIN, 0_i64);
        loop {
            let found = pending_page(&self.connection, &at).map_err(self.err("could not read what is pending"))?;
            let Some(last) = found.last() else { return Ok(rows) };
            at = (last.sync.clone(), last.log_offset, last.part);
            rows.looked_at += found.len() as u64;
            let of_subject =
                |row: &PendingRow| row.is_forgotten || subjects.holds_text(&row.event) || subjects.has_user(&row.user);
            let gone: Vec<PendingRow> = found.into_iter().filter(of_subject).collect();
            rows.found += gone.len() as u64;
            if dry_run || gone.is_empty() {
                continue;
            }
            let mut removed = 0;
            self.in_transaction(true, |connection| {
                connection.execute_batch("PRAGMA secure_delete = ON")?;
                let sql = "DELETE FROM pending WHERE sync = ?1 AND log_offset = ?2 AND part = ?3";
                let mut remove = connection.prepare_cached(sql)?;
                for row in &gone {
                    let mut fates = ResolvedFates::new(connection, &row.sync)?;
                    let part = u32::try_from(row.part).unwrap_or(u32::MAX);
                    fates.resolve(EventId::new(position(row.log_offset), part), |counts| counts.suppressed += 1)?;
                    fates.write()?;
                    if remove.execute(params![row.sync, row.log_offset, row.part])? > 0 {
                        removed += 1;
                        count(connection, &[partition_of(&row.sync).0, SUPPRESSED].concat(), "pending")?;
                    }
                }
                Ok(())
            })?;
            rows.removed += removed;
        }
    }

    /// Removes everything else in the file that is about any of `subjects`, or came of a record that a job has found. Of functions it
    /// removes the log lines of every run over such a record, and of every run below `oldest`: of those nobody can tell any more.
    ///
    /// # Errors
    /// Some of it may be removed; all of it is when it is asked for again.
    pub fn forget_rows(
        &mut self,
        subjects: &SubjectSet,
        oldest: &[Position],
        dry_run: bool,
    ) -> Result<Vec<ForgottenRows>, StateError> {
        let mut places = vec![self.forget_pending(subjects, dry_run)?];
        places.extend(self.forget_quarantined(subjects, dry_run)?);
        places.push(self.forget_lines(subjects, oldest, dry_run)?);
        let mut texts = self.forget_texts(subjects, dry_run)?;
        let (entries, reasons) = self.forget_reasons(subjects, dry_run)?;
        texts.looked_at += entries;
        let more = reasons + self.forget_names(subjects, dry_run)? + self.forget_progress(subjects, dry_run)?;
        texts.found += more;
        texts.removed += if dry_run { 0 } else { more };
        places.push(texts);
        Ok(places)
    }

    fn forget_quarantined(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<[ForgottenRows; 2], StateError> {
        let mut entries = ForgottenRows { place: "quarantine", looked_at: 0, found: 0, removed: 0 };
        let mut from = 0;
        loop {
            let page =
                entries_page(&self.connection, from, subjects).map_err(self.err("could not read the quarantine"))?;
            let Some((last, _)) = page.last().copied() else { break };
            from = last;
            entries.looked_at += page.len() as u64;
            let gone: Vec<i64> = page.iter().filter(|(_, is_found)| *is_found).map(|(id, _)| *id).collect();
            entries.found += gone.len() as u64;
            if dry_run || gone.is_empty() {
                continue;
            }
            let mut removed = 0;
            self.in_transaction(true, |connection| {
                connection.execute_batch("PRAGMA secure_delete = ON")?;
                let mut remove = connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?;
                fate_entries::suppress(connection, &gone)?;
                let mut unmark = connection.prepare_cached("DELETE FROM quarantine_retries WHERE entry = ?1")?;
                for id in &gone {
                    unmark.execute([id])?;
                    removed += remove.execute([id])?;
                }
                let sql = "UPDATE quarantine_size SET purged = purged + ?1";
                connection.execute(sql, [signed(removed as u64)]).map(drop)
            })?;
            entries.removed += removed as u64;
        }
        let mut originals =
            ForgottenRows { place: "records of quarantined events", looked_at: 0, found: 0, removed: 0 };
        let sql = "SELECT log_offset, shared, own FROM quarantine_originals";
        let mut find_all = || -> rusqlite::Result<Vec<i64>> {
            let (mut find, mut found) = (self.connection.prepare(sql)?, Vec::new());
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                originals.looked_at += 1;
                if subjects.holds_record(&sum::bytes(row, 1)?, &sum::bytes(row, 2)?) {
                    found.push(row.get(0)?);
                }
            }
            Ok(found)
        };
        let found = find_all().map_err(self.err("could not read the quarantine"))?;
        originals.found = found.len() as u64;
        if !dry_run && !found.is_empty() {
            originals.removed = self.remove_rows("DELETE FROM quarantine_originals WHERE log_offset = ?1", &found)?;
        }
        Ok([entries, originals])
    }

    fn forget_lines(
        &mut self,
        subjects: &SubjectSet,
        oldest: &[Position],
        dry_run: bool,
    ) -> Result<ForgottenRows, StateError> {
        let mut lines = ForgottenRows { place: "log lines of functions", looked_at: 0, found: 0, removed: 0 };
        let oldest: Vec<Range<i64>> =
            oldest.iter().map(|at| signed(Position::new(at.partition, 0).bits())..signed(at.bits())).collect();
        let sql = "SELECT id, first_offset, end_offset, message_ids, lines, EXISTS (SELECT 1 FROM forgotten
            WHERE log_offset >= first_offset AND log_offset < end_offset) FROM function_runs";
        let mut find_all = || -> rusqlite::Result<Vec<i64>> {
            let (mut find, mut found) = (self.connection.prepare(sql)?, Vec::new());
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                lines.looked_at += 1;
                let first = sum::number(row, 1)?;
                let is_old = oldest.iter().any(|range| range.contains(&first));
                let is_found = sum::number(row, 5)? != 0 || is_old;
                if is_found || subjects.stands_in(&sum::bytes(row, 3)?) || subjects.stands_in(&sum::bytes(row, 4)?) {
                    found.push(row.get(0)?);
                }
            }
            Ok(found)
        };
        let found = find_all().map_err(self.err("could not read the log lines of functions"))?;
        lines.found = found.len() as u64;
        if !dry_run && !found.is_empty() {
            lines.removed = self.remove_rows("DELETE FROM function_runs WHERE id = ?1", &found)?;
        }
        Ok(lines)
    }

    /// Failures, differences and conditions that quote somebody.
    fn forget_texts(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<ForgottenRows, StateError> {
        const TEXTS: [(&str, &str, &str); 12] = [
            ("syncs", "failure", "NULL"),
            ("syncs", "notice", "NULL"),
            ("pending", "error", "''"),
            ("charges", "fault", "NULL"),
            ("charges", "stopped", "'its reason was forgotten'"),
            ("comparisons", "samples", "'{}'"),
            ("alert_history", "text", "''"),
            ("alert_messages", "changes", "''"),
            ("alert_messages", "error", "''"),
            ("alert_memories", "memory", alerts::WITHOUT_TEXTS),
            ("quarantine_jobs", EDITED, "NULL"),
            // A condition that no entry meets.
            ("quarantine_jobs", FILTER, "'{\"scopes\":[]}'"),
        ];
        // A job goes on with nothing else than it was asked for.
        let cancelled = format!(
            ", ended_at_us = iif(state = 'running', {}, ended_at_us), state = iif(state = 'running', 'cancelled', state)",
            clock::now_us()
        );
        let mut texts = ForgottenRows { place: "texts of failures and jobs", looked_at: 0, found: 0, removed: 0 };
        for (table, column, left) in TEXTS {
            let sql = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL");
            let mut find_all = || -> rusqlite::Result<Vec<rusqlite::types::Value>> {
                let (mut find, mut found) = (self.connection.prepare(&sql)?, Vec::new());
                let mut rows = find.query([])?;
                while let Some(row) = rows.next()? {
                    texts.looked_at += 1;
                    let text = sum::bytes(row, 0)?;
                    if quotes(subjects, column, &text) {
                        found.push(row.get(0)?);
                    }
                }
                Ok(found)
            };
            let found = find_all().map_err(self.err("could not read texts of failures"))?;
            texts.found += found.len() as u64;
            if dry_run || found.is_empty() {
                continue;
            }
            self.in_transaction(true, |connection| {
                connection.execute_batch("PRAGMA secure_delete = ON")?;
                let beside = if table == "quarantine_jobs" { cancelled.as_str() } else { "" };
                let sql = format!("UPDATE {table} SET {column} = {left}{beside} WHERE {column} = ?1");
                let mut blank = connection.prepare(&sql)?;
                found.iter().try_for_each(|text| blank.execute([text]).map(drop))
            })?;
            texts.removed += found.len() as u64;
        }
        Ok(texts)
    }

    fn remove_rows(&mut self, sql: &str, keys: &[i64]) -> Result<u64, StateError> {
        let mut removed = 0;
        for some in keys.chunks(usize::try_from(ROWS).unwrap_or(1)) {
            self.in_transaction(true, |connection| {
                connection.execute_batch("PRAGMA secure_delete = ON")?;
                let mut remove = connection.prepare_cached(sql)?;
                for key in some {
                    removed += remove.execute([key])? as u64;
                }
                Ok(())
            })?;
        }
        Ok(removed)
    }

    /// Writes the file anew without what was removed at any time, and empties the write-ahead log. False when somebody who reads keeps
    /// that from being emptied: then it has to be asked for again.
    ///
    /// # Errors
    /// Somebody else holds the file, or it cannot be written.
    pub fn leave_no_trace(&mut self) -> Result<bool, StateError> {
        let rewrite = self.connection.execute_batch("PRAGMA secure_delete = ON; VACUUM");
        rewrite.map_err(self.err("could not write the file anew"))?;
        fail::fail_point!("forget_vacuumed", |_| std::process::abort());
        let is_busy = |row: &Row<'_>| row.get::<_, i64>(0).map(|busy| busy != 0);
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy);
        emptied.map(|is_busy| !is_busy).map_err(self.err("could not empty the write-ahead log"))
    }
}

struct PendingRow {
    sync: String,
    log_offset: i64,
    part: i64,
    user: String,
    event: Vec<u8>,
    is_forgotten: bool,
}

fn pending_page(
    connection: &Connection,
    (sync, log_offset, part): &(String, i64, i64),
) -> rusqlite::Result<Vec<PendingRow>> {
    let sql = "SELECT sync, log_offset, part, user, event,
        EXISTS (SELECT 1 FROM forgotten WHERE forgotten.log_offset = pending.log_offset) FROM pending
        WHERE (sync, log_offset, part) > (?1, ?2, ?3) ORDER BY sync, log_offset, part LIMIT ?4";
    let read = |row: &Row<'_>| {
        Ok(PendingRow {
            sync: sum::text(row, 0)?,
            log_offset: sum::number(row, 1)?,
            part: sum::number(row, 2)?,
            user: sum::text(row, 3)?,
            event: sum::bytes(row, 4)?,
            is_forgotten: sum::number(row, 5)? != 0,
        })
    };
    connection.prepare_cached(sql)?.query_map(params![sync, log_offset, part, ROWS], read)?.collect()
}

/// Whether a text of a table quotes any of the subjects. An event in the place of another is about them or not, and of a condition the text
/// counts that is looked for: the names of sources are nobody's.
fn quotes(subjects: &SubjectSet, column: &str, text: &[u8]) -> bool {
    match (column, json::parse(text, decode::DEPTH_MAX)) {
        (EDITED, _) => subjects.holds_text(text),
        (FILTER, Ok(Value::Object(filter))) => {
            let wanted = filter.get("text").and_then(Value::as_str);
            wanted.is_some_and(|wanted| subjects.stands_in(wanted.as_bytes()))
        }
        _ => subjects.holds_text(text) || subjects.stands_in(text),
    }
}

/// Some entries behind `from`, and whether each is about any of the subjects.
fn entries_page(connection: &Connection, from: i64, subjects: &SubjectSet) -> rusqlite::Result<Vec<(i64, bool)>> {
    let sql = "SELECT q.id, q.event, o.shared, o.own, r.edited,
        EXISTS (SELECT 1 FROM forgotten WHERE forgotten.log_offset = q.log_offset) FROM quarantine q
        LEFT JOIN quarantine_originals o ON o.log_offset = q.log_offset
        LEFT JOIN quarantine_retries r ON r.entry = q.id WHERE q.id > ?1 ORDER BY q.id LIMIT ?2";
    let mut find = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let [event, shared, own, edited] = [1, 2, 3, 4].map(|column| sum::bytes(row, column));
        let is_found = sum::number(row, 5)? != 0
            || subjects.holds_text(&event?)
            || subjects.holds_record(&shared?, &own?)
            || subjects.holds_text(&edited?);
        Ok((row.get(0)?, is_found))
    };
    find.query_map([from, ROWS], read)?.collect()
}

/// One more of a counter.
fn count(connection: &Connection, scope: &str, name: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO counters (scope, name, value) VALUES (?1, ?2, 1)
        ON CONFLICT (scope, name) DO UPDATE SET value = value + 1";
    connection.prepare_cached(sql)?.execute([scope, name]).map(drop)
}

#[cfg(test)]
mod tests {
    use tidegate_event::EventId;
    use tidegate_event::subject::SubjectKind;

    use super::super::{
        ClearSubject, EntryFilter, KeptOriginal, LoggedRun, OF_SEVERAL_DETAIL, Pending, QuarantineStage,
    };
    use super::super::{LogFilter, NewRetryJob, Quarantined, RetryJobState, SettledBatch, SyncProgress, Transformed};
    use super::*;

    const MARKER: &str = "marker-7f3a9";

    fn entry(offset: u64, event: &str) -> Quarantined {
        Quarantined {
            id: EventId::new(Position::new(0, offset), 0),
            stage: QuarantineStage::Contract.as_str(),
            scope: "web".into(),
            code: "schema-violation".into(),
            message: "no".into(),
            event: event.as_bytes().to_vec(),
            at_us: 1,
            detail: None,
        }
    }

    fn pending(offset: u64, user: &str) -> Pending {
        Pending {
            id: EventId::new(Position::new(0, offset), 0),
            user: user.to_owned(),
            event: format!(r#"{{"userId":"{user}"}}"#),
            received_at_us: 1,
            first_tried_at_us: 1,
            attempts: 1,
            next_at_us: 1,
            error: format!("could not take {user}."),
        }
    }

    fn has_marker(dir: &std::path::Path) -> bool {
        let mut files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        files.any(|bytes| bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes()))
    }

    #[test]
    fn no_byte_of_somebody_is_left_in_the_file_and_nobody_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let of_marker = format!(r#"{{"userId":"{MARKER}"}}"#);
        let other = r#"{"userId":"other"}"#;
        state
            .quarantine(&[entry(1, &of_marker), entry(2, other), entry(3, &format!("{{\"userId\":\"{MARKER}\","))])
            .unwrap();
        // Known by its record alone: a mapping has taken the id away.
        let email = format!(r#"{{"mail":"{MARKER}"}}"#);
        state.quarantine(&[entry(4, &email)]).unwrap();
        state
            .keep_originals(&[KeptOriginal { offset: 9, shared: Vec::new(), own: of_marker.clone().into_bytes() }])
            .unwrap();
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        let waits = [pending(5, MARKER), pending(6, "other")];
        let settled = SettledBatch { progress: &progress, quarantined: &[], pending: &waits };
        state.settle("crm", &settled, 1).unwrap();
        state.fail("crm", &format!("the far side refused {MARKER}: no")).unwrap();
        let logged = |offset, text: &str| LoggedRun {
            function: "f".to_owned(),
            version: "v".to_owned(),
            positions: Position::new(0, offset)..Position::new(0, offset + 1),
            lines: vec![("info", text.to_owned())],
            ..LoggedRun::default()
        };
        // One over a record that was found, one that names somebody, one of others.
        let logs = [logged(4, "saw a mail"), logged(7, &format!("hello {MARKER}")), logged(8, "hello other")];
        state.transformed(&Transformed { logs: &logs, ..Transformed::default() }).unwrap();
        let subject = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: MARKER.to_owned() };
        let hashed = state.hashed(&[subject]).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        state.keep_forgotten(&[Position::new(0, 4)], 1).unwrap();
        let tried = state.forget_rows(&subjects, &[], true).unwrap();
        let found: Vec<(u64, u64)> = tried.iter().map(|rows| (rows.found, rows.removed)).collect();
        assert_eq!(found, [(1, 0), (3, 0), (1, 0), (2, 0), (2, 0)], "{tried:?}");
        let done = state.forget_rows(&subjects, &[], false).unwrap();
        assert!(done.iter().all(|rows| rows.found == rows.removed || rows.place.starts_with("texts")), "{done:?}");
        assert!(state.leave_no_trace().unwrap());
        assert!(!has_marker(dir.path()));
        let left = state.entries(&EntryFilter::default(), (0, u64::MAX), 9).unwrap().entries;
        assert_eq!(left.iter().map(|kept| kept.entry.id.position.offset).collect::<Vec<_>>(), [2]);
        assert!(left[0].is_whole);
        let lines = state.function_logs("f", &LogFilter { lines_max: 9, ..LogFilter::default() }).unwrap();
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["hello other"]);
        assert_eq!(state.pending_counts().unwrap()[0].events, 1);
        assert!(state.counters().unwrap().contains(&("crm suppressed".to_owned(), "pending".to_owned(), 1)));
        assert_eq!((state.quarantine_size().unwrap().entries, state.quarantine_size().unwrap().purged), (1, 3));
        let again = state.forget_rows(&subjects, &[], false).unwrap();
        assert!(again.iter().all(|rows| rows.found == 0), "{again:?}");
        drop(state);
        let verified = super::super::verify(&dir.path().join("state.db"), tidegate_sqlite::sqlite_check::Depth::Full);
        assert!(verified.unwrap().is_whole());
    }

    #[test]
    fn somebody_whose_id_is_a_usual_word_takes_no_event_of_others_along() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let quoting = |offset, detail: &str| Quarantined {
            message: "1 of its values is a string".to_owned(),
            detail: Some(detail.to_owned()),
            ..entry(offset, r#"{"userId":"other"}"#)
        };
        let of_several = quoting(9, OF_SEVERAL_DETAIL);
        state
            .quarantine(&[
                quoting(2, r#"{"position":1}"#),
                of_several,
                entry(3, r#"{"userId":"other","n":1"#),
                entry(4, r#"{"userId":1"#),
            ])
            .unwrap();
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        let waits = [pending(5, "other 1"), pending(6, "1"), pending(7, "O'1")];
        let settled = SettledBatch { progress: &progress, quarantined: &[], pending: &waits };
        state.settle("crm", &settled, 1).unwrap();
        let job = |filter: &str, edited: Option<&str>| NewRetryJob {
            filter: filter.to_owned(),
            rate: 1,
            edited: edited.map(|event| event.as_bytes().to_vec()),
            ..NewRetryJob::default()
        };
        let edit = r#"{"userId":"other","n":1}"#;
        let kept = state.begin_retry_job(&job(r#"{"scopes":[{"name":"1"}]}"#, Some(edit))).unwrap().unwrap();
        let by_text = state.begin_retry_job(&job(r#"{"text":"1"}"#, None)).unwrap().unwrap();
        let of_subject = state.begin_retry_job(&job("{}", Some(r#"{"userId":"1"}"#))).unwrap().unwrap();
        let subject = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: "1".to_owned() };
        let hashed = state.hashed(&[subject]).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        state.forget_rows(&subjects, &[], false).unwrap();
        let left = state.entries(&EntryFilter::default(), (0, u64::MAX), 9).unwrap().entries;
        assert_eq!(left.iter().map(|kept| kept.entry.id.position.offset).collect::<Vec<_>>(), [2, 9, 3]);
        assert!(left.iter().all(|kept| kept.is_whole) && left[1].is_of_several());
        let reasons = left[..2].iter().map(|kept| (kept.entry.message.as_str(), kept.entry.detail.as_deref()));
        assert_eq!(reasons.collect::<Vec<_>>(), [("", None), ("", Some(OF_SEVERAL_DETAIL))]);
        assert_eq!(state.pending_counts().unwrap()[0].events, 2);
        // Whose edit or condition is gone does nothing any more: it would do something else.
        let kept = state.retry_job(kept).unwrap().unwrap();
        assert_eq!((kept.state, kept.asked.edited.as_deref()), (RetryJobState::Running, Some(edit.as_bytes())));
        for gone in [by_text, of_subject] {
            let gone = state.retry_job(gone).unwrap().unwrap();
            assert_eq!((gone.state, gone.asked.edited), (RetryJobState::Cancelled, None));
            assert!(gone.ended_at_us.is_some());
        }
        let again = state.forget_rows(&subjects, &[], false).unwrap();
        assert!(again.iter().all(|rows| rows.found == 0), "{again:?}");
        drop(state);
        let verified = super::super::verify(&dir.path().join("state.db"), tidegate_sqlite::sqlite_check::Depth::Full);
        assert!(verified.unwrap().is_whole());
    }
}
