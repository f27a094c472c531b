use super::*;
use tidegate_dedup::DedupSettings;
use tidegate_event::EventId;

fn refine(state: &mut State, range: Range<u64>) {
    state.stage().unwrap().commit(&range, 0).unwrap();
}

/// What a build of format 7 and below did not have.
const WITHOUT_RETRIES: &str = "
    DROP TRIGGER quarantine_numbers; DROP TRIGGER originals_go; DROP INDEX quarantine_by_message;
    DROP TABLE quarantine_originals; DROP TABLE quarantine_retries; DROP TABLE quarantine_jobs; DROP TABLE retried;
    ALTER TABLE quarantine DROP COLUMN attempts; ALTER TABLE quarantine DROP COLUMN revision;
    ALTER TABLE quarantine DROP COLUMN for_sync; ALTER TABLE quarantine DROP COLUMN message_hash;
    ALTER TABLE quarantine_size DROP COLUMN last_id;
";

#[test]
fn a_file_of_format_7_is_carried_over_and_its_entries_can_be_retried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    state.quarantine(&[entry(3, 5), entry(4, 5)]).unwrap();
    let connection = &state.connection;
    connection.execute_batch(WITHOUT_RETRIES).unwrap();
    connection.execute_batch("UPDATE meta SET value = 7 WHERE key = 'format'").unwrap();
    seal::seal(connection).unwrap();
    drop(state);
    assert!(matches!(State::read(&path), Err(StateError::Older { found: 7, .. })));
    let mut state = State::open(&path).unwrap();
    state.quarantine(&[entry(5, 5)]).unwrap();
    let page = state.entries(&EntryFilter::default(), (0, u64::MAX), 9).unwrap();
    let found: Vec<_> = page.entries.iter().map(|kept| (kept.id, kept.attempts, kept.is_whole)).collect();
    assert_eq!(found, [(1, 0, true), (2, 0, true), (3, 0, true)]);
    let mark =
        RetryMark { position: Position::new(0, 4), part: 0, attempt: 1, stage: "contract", scope: "web", for_sync: "" };
    let mut stage = state.stage().unwrap();
    assert!(stage.take_retried(9, &mark).unwrap());
    stage.commit(&(0..10), 0).unwrap();
    assert_eq!(state.quarantine_size().unwrap().entries, 2);
    drop(state);
    assert!(verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap().is_whole());
}

#[test]
fn a_file_of_format_8_is_carried_over_and_what_its_jobs_send_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    state.quarantine(&[entry(3, 5)]).unwrap();
    let job = state.begin_retry_job(&NewRetryJob { rate: 1, ..NewRetryJob::default() }).unwrap().unwrap();
    let connection = &state.connection;
    connection.execute_batch("ALTER TABLE retried DROP COLUMN job; DROP TABLE retry_outcomes").unwrap();
    connection.execute_batch("UPDATE meta SET value = 8 WHERE key = 'format'").unwrap();
    seal::seal(connection).unwrap();
    drop(state);
    assert!(matches!(State::read(&path), Err(StateError::Older { found: 8, .. })));
    let mut state = State::open(&path).unwrap();
    let retries = vec![BegunRetry { entry: 1, attempt: 1, edited: None }];
    let step = RetryStep { retries, at_id: 1, skipped: "{}".into(), ended_at_us: Some(5) };
    assert_eq!(state.step_retry_job(job, &step).unwrap().len(), 1);
    let mark =
        RetryMark { position: Position::new(0, 3), part: 0, attempt: 1, stage: "contract", scope: "web", for_sync: "" };
    let mut stage = state.stage().unwrap();
    assert!(stage.take_retried(9, &mark).unwrap());
    stage.end_retries(&[EndedRetry { offset: 9, by: RetryEnding::NotMade }]).unwrap();
    // Of what is no retry nothing is counted.
    stage.end_retries(&[EndedRetry { offset: 8, by: RetryEnding::Dropped }]).unwrap();
    stage.commit(&(0..10), 0).unwrap();
    assert_eq!(state.retry_job(job).unwrap().unwrap().outcomes, r#"{"not-made":1,"refined":1}"#);
}

#[test]
fn while_nothing_is_in_quarantine_an_id_is_not_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db")).unwrap();
    // Without the column an id cannot be looked for.
    let without = "DROP INDEX quarantine_by_message; ALTER TABLE quarantine DROP COLUMN message_hash";
    state.connection.execute_batch(without).unwrap();
    let mut stage = state.stage().unwrap();
    assert!(!stage.is_quarantined("m").unwrap() && !stage.is_quarantined("n").unwrap());
    drop(stage);
    state.connection.execute_batch("UPDATE quarantine_size SET entries = 1").unwrap();
    assert!(state.stage().unwrap().is_quarantined("m").is_err());
}

#[test]
fn records_of_entries_are_kept_while_an_entry_needs_them_and_count_as_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db")).unwrap();
    state.quarantine(&[entry(3, 5), entry(4, 5)]).unwrap();
    assert_eq!(state.without_original((0, 9), 10).unwrap(), [3, 4]);
    let before = state.quarantine_size().unwrap().bytes;
    let original = KeptOriginal { offset: 3, shared: vec![1; 10], own: vec![2; 20] };
    state.keep_originals(&[original.clone(), original.clone()]).unwrap();
    assert_eq!(state.quarantine_size().unwrap().bytes, before + 30);
    state.recount_quarantine().unwrap();
    assert_eq!(state.quarantine_size().unwrap().bytes, before + 30);
    assert_eq!(state.without_original((0, 9), 10).unwrap(), [4]);
    assert_eq!(state.original(Position::new(0, 3)).unwrap(), Some(original));
    assert_eq!(state.original(Position::new(0, 4)).unwrap(), None);
    let filter = EntryFilter { id: Some(1), ..EntryFilter::default() };
    assert_eq!(state.purge_entries(&filter).unwrap(), 1);
    assert_eq!(state.original(Position::new(0, 3)).unwrap(), None);
    assert_eq!(state.quarantine_size().unwrap().bytes, before / 2);
}

/// What a build of format 5 and below did not have.
const WITHOUT_REVISIONS: &str = "
    ALTER TABLE stretches DROP COLUMN revision; DROP TABLE revisions; DROP TABLE contract_texts;
    DROP TABLE key_uses; DROP TABLE endings; DROP TABLE ended_syncs; DROP TABLE stream_positions;
";

#[test]
fn a_file_of_format_6_is_carried_over_and_keeps_positions_of_streams_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    refine(&mut state, 0..9);
    let connection = &state.connection;
    connection.execute_batch(WITHOUT_RETRIES).unwrap();
    connection.execute_batch("DROP TABLE stream_positions; UPDATE meta SET value = 6 WHERE key = 'format'").unwrap();
    seal::seal(connection).unwrap();
    drop(state);
    assert!(matches!(State::read(&path), Err(StateError::Older { found: 6, .. })));
    let mut state = State::open(&path).unwrap();
    assert_eq!(state.refined_to().unwrap(), 9);
    assert!(state.stream_positions("orders").unwrap().is_empty());
    let moved = std::collections::BTreeMap::from([("shard-0".to_owned(), Some("7".to_owned()))]);
    state.keep_stream_positions("orders", &moved).unwrap();
    drop(state);
    assert_eq!(State::read(&path).unwrap().stream_positions("orders").unwrap()["shard-0"], "7");
}

#[test]
fn a_file_of_format_5_is_carried_over_and_its_ranges_have_no_revision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    let mut stage = state.stage().unwrap();
    stage.duplicate(3).unwrap();
    stage.commit(&(0..9), 0).unwrap();
    let connection = &state.connection;
    connection.execute_batch(WITHOUT_RETRIES).unwrap();
    connection.execute_batch(WITHOUT_REVISIONS).unwrap();
    connection.execute_batch("UPDATE meta SET value = 5 WHERE key = 'format'").unwrap();
    seal::seal(connection).unwrap();
    drop(state);
    assert!(matches!(State::read(&path), Err(StateError::Older { found: 5, .. })));
    let mut state = State::open(&path).unwrap();
    assert_eq!(state.log_range_at(8).unwrap(), Some((0..9, 0)));
    assert_eq!(state.duplicates_in(&(0..9)).unwrap(), [3]);
    let revision = RunRevision { spec: "a", contracts: None, catalog_revision: None };
    assert_eq!(state.begin_revision(&revision, 1).unwrap(), 1);
    state.stage().unwrap().commit(&(9..12), 1).unwrap();
    assert_eq!(state.log_range_at(9).unwrap(), Some((9..12, 1)));
    // Another revision there is another log range.
    state.connection.execute("UPDATE stretches SET revision = 2 WHERE start = 9", []).unwrap();
    assert!(matches!(state.log_range_at(9), Err(StateError::Damaged { .. })));
    drop(state);
    assert_eq!(verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap().damaged.len(), 1);
}

/// As a build of format 4 left it: two generations of ids in tables.
fn with_tables(path: &Path, ids: &[(u8, u128, i64)], young: u8) {
    let mut state = State::open(path).unwrap();
    refine(&mut state, 0..100);
    let connection = &state.connection;
    for generation in [0, 1] {
        let sql = format!("CREATE TABLE seen_{generation} (id BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID");
        connection.execute_batch(&sql).unwrap();
    }
    for (generation, id, at_us) in ids {
        let sql = format!("INSERT INTO seen_{generation} (id, at_us) VALUES (?1, ?2)");
        connection.execute(&sql, params![&id.to_be_bytes()[..], at_us]).unwrap();
    }
    let text = sum::sealed("seen", &format!("{young} 1 2 3"));
    connection.execute("INSERT INTO meta (key, value) VALUES ('seen', ?1)", [text]).unwrap();
    connection.execute_batch(WITHOUT_RETRIES).unwrap();
    connection.execute_batch(WITHOUT_REVISIONS).unwrap();
    connection.execute("UPDATE meta SET value = 4 WHERE key = 'format'", []).unwrap();
    seal::seal(connection).unwrap();
}

#[test]
fn the_ids_of_an_earlier_build_move_into_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (path, index) = (dir.path().join("state.db"), dir.path().join("dedup"));
    let tables = |path: &Path| -> i64 {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'seen%'";
        Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    with_tables(&path, &[(0, 7, 5), (0, 9, 6), (1, 8, 1), (1, 9, 2)], 0);
    let mut state = State::open(&path).unwrap();
    let found = state.dedup(&index, DedupSettings::default()).unwrap();
    assert_eq!((found.known_to(), found.len()), (100, 4));
    drop(found);
    assert_eq!(tables(&path), 0);
    // Once; the second time there is nothing to take over.
    let found = state.dedup(&index, DedupSettings::default()).unwrap();
    assert_eq!((found.known_to(), found.len()), (100, 4));
    drop(state);
    assert!(verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap().is_whole());
}

#[test]
fn ids_of_an_earlier_build_that_cannot_be_told_apart_come_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    with_tables(&path, &[(0, 7, 5)], 0);
    Connection::open(&path).unwrap().execute("UPDATE meta SET value = '1 1 1 1' WHERE key = 'seen'", []).unwrap();
    let found = State::open(&path).unwrap().dedup(&dir.path().join("dedup"), DedupSettings::default()).unwrap();
    assert_eq!((found.known_to(), found.len()), (0, 0));
}

#[test]
fn a_stage_that_is_dropped_never_happened() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db")).unwrap();
    let mut stage = state.stage().unwrap();
    stage.duplicate(7).unwrap();
    drop(stage);
    let mut stage = state.stage().unwrap();
    stage.duplicate(8).unwrap();
    stage.count("a", "duplicates", 2).unwrap();
    stage.commit(&(0..9), 3).unwrap();
    assert_eq!(state.duplicates_in(&(0..9)).unwrap(), [8]);
    assert_eq!(state.log_range_at(8).unwrap(), Some((0..9, 3)));
    assert_eq!(state.log_range_at(9).unwrap(), None);
    assert_eq!(state.counters().unwrap(), [("a".to_owned(), "duplicates".to_owned(), 2)]);
}

#[test]
fn quarantine_and_reports_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    assert!(matches!(State::read(&path), Err(StateError::Absent { .. })));
    let mut state = State::open(&path).unwrap();
    let entry = Quarantined {
        id: id(3),
        stage: QuarantineStage::Contract.as_str(),
        scope: "web".into(),
        code: "schema-violation".into(),
        message: "no".into(),
        event: vec![0xff],
        at_us: 1,
        detail: Some("{}".into()),
    };
    state.quarantine(&[entry.clone(), entry.clone()]).unwrap();
    let size = state.quarantine_size().unwrap();
    assert_eq!((size.entries, size.bytes), (1, 200 + 1 + 2 + 2));
    assert!(size.oldest_at_us.unwrap() > 1, "it was received at 1, and is kept since now");
    let all = QuarantineFilter { entries_max: 10, ..QuarantineFilter::default() };
    assert_eq!(State::read(&path).unwrap().quarantined(&all).unwrap(), [entry]);
    let progress = SyncProgress { cursor: 4, delivered: 2, ..SyncProgress::default() };
    state.fail("s", "away").unwrap();
    state.advance("s", &progress, 9).unwrap();
    let notices = |notices: &[&str]| notices.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    let told = SyncProgress { cursor: 5, notices: notices(&["n", "of two\nlines"]), ..progress.clone() };
    state.advance("s", &told, 10).unwrap();
    state.advance("s", &SyncProgress { cursor: 5, ..SyncProgress::default() }, 10).unwrap();
    state.advance("s", &SyncProgress { cursor: 5, notices: notices(&["n"]), ..SyncProgress::default() }, 10).unwrap();
    let want = SyncReport {
        sync: "s".into(),
        cursors: vec![Position::new(0, 5)],
        delivered: 4,
        delivered_at_us: Some(10),
        notices: notices(&["of two lines", "n"]),
        ..SyncReport::default()
    };
    assert_eq!(state.reports().unwrap(), [want]);
}

fn id(offset: u64) -> EventId {
    EventId::new(Position::new(0, offset), 0)
}

fn entry(offset: u64, bytes: usize) -> Quarantined {
    Quarantined {
        id: id(offset),
        stage: QuarantineStage::Contract.as_str(),
        scope: "web".into(),
        code: "schema-violation".into(),
        message: "no".into(),
        event: vec![b'x'; bytes],
        at_us: i64::try_from(offset).unwrap(),
        detail: None,
    }
}

/// Says that each entry was quarantined at `from_us` and its offset.
fn quarantined_from(state: &State, from_us: i64) {
    state.connection.execute("UPDATE quarantine SET kept_at_us = ?1 + log_offset", [from_us]).unwrap();
}

fn expired(state: &mut State, bounds: &QuarantineBounds, now_us: i64) -> Expired {
    let mut all = Expired::default();
    loop {
        let some = state.expire_quarantine(bounds, now_us).unwrap();
        if some == Expired::default() {
            return all;
        }
        all.by_age += some.by_age;
        all.by_bytes += some.by_bytes;
    }
}

#[test]
fn the_quarantine_stays_within_its_bounds_and_its_size_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    let entries: Vec<_> = (0..2_000).map(|offset| entry(offset, 3_000)).collect();
    state.quarantine(&entries).unwrap();
    let each = 200 + 3_000 + 2;
    assert_eq!(state.quarantine_size().unwrap().bytes, 2_000 * each);
    let then = 1_800_000_000_000_000;
    quarantined_from(&state, then);
    let bounds = QuarantineBounds { age_us: 1_000_000, bytes: 500 * each };
    assert_eq!(expired(&mut state, &bounds, then + 1_000_700), Expired { by_age: 700, by_bytes: 800 });
    let left = state.quarantined(&QuarantineFilter { entries_max: 9_999, ..QuarantineFilter::default() }).unwrap();
    assert_eq!((left.len(), left[0].id.position.offset), (500, 1_500), "the oldest went");
    // A wrong size would cost entries, and is set right.
    state.connection.execute("UPDATE quarantine_size SET bytes = bytes + 10000000", []).unwrap();
    state.recount_quarantine().unwrap();
    assert_eq!(expired(&mut state, &bounds, then + 1_000_700), Expired::default());
    let purge = Purge { position: Some(Position::new(0, 1_500)), ..Purge::default() };
    assert_eq!(state.purgeable(&purge).unwrap(), [("web".to_owned(), "schema-violation".to_owned(), 1)]);
    assert_eq!((state.purge_some(&purge).unwrap(), state.purge_some(&purge).unwrap()), (1, 0));
    let size = state.quarantine_size().unwrap();
    assert_eq!((size.entries, size.bytes, size.expired, size.purged), (499, 499 * each, 1_500, 1));
    // The pages go back to the file system.
    let pages =
        |state: &State| -> i64 { state.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap() };
    let before = pages(&state);
    while state.give_back().unwrap() {}
    assert!(pages(&state) < before, "{before} and {}", pages(&state));
}

#[test]
fn the_age_in_quarantine_counts_from_when_an_event_was_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db")).unwrap();
    // Received in 1970: a sync that was away for long, a wrong clock, or damage that cannot say when.
    state.quarantine(&[entry(1, 10), entry(2, 10)]).unwrap();
    let bounds = QuarantineBounds { age_us: 10_000_000, bytes: 1 << 30 };
    let now = tidegate_process::clock::now_us();
    assert_eq!(expired(&mut state, &bounds, now + 1_000_000), Expired::default());
    // Quarantined by a clock that stood at its beginning: counts from the first look with a clock that can be believed.
    quarantined_from(&state, 5);
    assert_eq!(expired(&mut state, &bounds, 9_000_000), Expired::default());
    assert_eq!(expired(&mut state, &bounds, now), Expired::default());
    assert_eq!(expired(&mut state, &bounds, now + 9_000_000), Expired::default());
    assert_eq!(expired(&mut state, &bounds, now + 11_000_000), Expired { by_age: 2, by_bytes: 0 });
}

#[test]
fn a_guest_cannot_make_up_counters_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db")).unwrap();
    let mut stage = state.stage().unwrap();
    for n in 0..3_000 {
        stage.count("web", &format!("dropped by f/reason-{n}"), 2).unwrap();
    }
    stage.count("web", "dropped by f/reason-7", 2).unwrap();
    stage.commit(&(0..1), 0).unwrap();
    let counters = state.counters().unwrap();
    assert!(counters.len() <= 1_001, "{}", counters.len());
    assert_eq!(counters.iter().map(|(.., value)| value).sum::<u64>(), 6_002);
}

/// A state with a little of everything, in one file without a write-ahead log.
fn filled(path: &Path) {
    let mut state = State::open(path).unwrap();
    let contracts = ContractText::new(r#"{"web/shop.yaml":{"on_undeclared_schema":"BLOCK_EVENT"}}"#.to_owned());
    for spec in ["before", "now"] {
        let revision = RunRevision { spec, contracts: Some(&contracts), catalog_revision: Some(8) };
        state.begin_revision(&revision, 5).unwrap();
    }
    for n in 0..20_u64 {
        let mut stage = state.stage().unwrap();
        stage.duplicate(n * 10 + 3).unwrap();
        stage.quarantine(&entry(n * 10 + 4, 50)).unwrap();
        stage.count("web", "accepted", 10).unwrap();
        stage.commit(&(n * 10..n * 10 + 10), n % 3).unwrap();
    }
    let pending = |offset| Pending {
        id: id(offset),
        user: "u".into(),
        event: format!("{{\"n\":{offset}}}"),
        received_at_us: 1,
        first_tried_at_us: 2,
        attempts: 1,
        next_at_us: 3,
        error: "away".into(),
    };
    let waiting: Vec<_> = (0..20).map(pending).collect();
    let progress = SyncProgress { cursor: 200, ..SyncProgress::default() };
    state.settle("crm", &SettledBatch { progress: &progress, quarantined: &[], pending: &waiting }, 9).unwrap();
    state.record_starts(&[("crm", 40)]).unwrap();
    state.set_identity(&Identity { id: "one".into(), generation: 4 }).unwrap();
    let function_chain =
        Transformed { source: "web", to: 200, function_chain: Some((0, "[]")), ..Transformed::default() };
    state.transformed(&function_chain).unwrap();
    state.connection.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
}

/// What the server needs of a state, in words: everything that is delivered or decides where it goes on.
fn read(path: &Path) -> Result<String, StateError> {
    let state = State::open(path)?;
    let keys: Vec<EventId> = state.pending_marks("crm")?.iter().map(|mark| mark.id).collect();
    let mut events = state.pending_events("crm", &keys)?;
    // What is not as it was goes to quarantine, which is told.
    if !events.damaged.is_empty() {
        return Err(sum::damaged(path, "pending"));
    }
    events.whole.iter_mut().for_each(|event| (event.attempts, event.next_at_us, event.error) = (0, 0, String::new()));
    let entries = state.quarantined(&QuarantineFilter { entries_max: 999, ..QuarantineFilter::default() })?;
    if entries.iter().any(|entry| entry.code == DAMAGED_CODE) {
        return Err(sum::damaged(path, "quarantine"));
    }
    let ranges: Vec<_> = (0..20).map(|n| state.log_range_at(n * 10 + 5)).collect::<Result<_, _>>()?;
    let duplicates = state.duplicates_in(&(0..200))?;
    let cursors = (state.refined_to()?, state.cursor("crm")?, state.identity()?, state.function_chains()?);
    let contracts = (state.contracts_of(1)?, state.contracts_of(2)?);
    Ok(format!("{:?} {entries:?} {ranges:?} {duplicates:?} {cursors:?} {contracts:?}", events.whole))
}

/// A cursor that is gone is no beginning.
#[test]
fn a_partition_whose_cursor_is_gone_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    state.set_partitions(2).unwrap();
    let mut state = state.of_partition(1);
    refine(&mut state, 0..1);
    assert_eq!(state.refined_to().unwrap(), 1);
    state.connection.execute("DELETE FROM meta WHERE key = 'refined_to/1'", []).unwrap();
    drop(state);
    let read = State::open(&path).unwrap().of_partition(1).refined_to();
    assert!(matches!(read, Err(StateError::Damaged { .. })), "{read:?}");
}

#[test]
fn a_state_without_the_key_of_its_index_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = State::open(&path).unwrap();
    state.connection.execute("DELETE FROM meta WHERE key = 'seen_key'", []).unwrap();
    drop(state);
    assert!(matches!(State::open(&path), Err(StateError::Damaged { .. })));
}

/// A flipped bit there is good SQL: another type, another name.
#[test]
fn a_table_that_is_made_otherwise_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    filled(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(17).enumerate().filter(|(_, window)| *window == b"start INTEGER PRI");
    // Also in pages that are in use no more.
    for at in at.map(|(at, _)| at).collect::<Vec<_>>() {
        bytes[at + 14] ^= 1 << 7;
    }
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(State::open(&path), Err(StateError::Damaged { .. })));
    assert!(matches!(State::read(&path), Err(StateError::Damaged { .. })));
    let found = verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap();
    assert!(!found.is_whole());
    std::fs::write(&path, &whole).unwrap();
    // As a build left it that knew no seal.
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 0").unwrap();
    State::open(&path).unwrap();
    let sealed: i32 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert!(sealed != 0);
}

/// `TIDEGATE_FLIPS=all` flips a bit of every byte.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be asked for its long form")]
fn a_flipped_bit_of_the_state_changes_nothing_unseen() {
    let step = if std::env::var("TIDEGATE_FLIPS").is_ok_and(|text| text == "all") { 1 } else { 61 };
    let dir = tempfile::tempdir().unwrap();
    let (path, flipped) = (dir.path().join("state.db"), dir.path().join("flipped.db"));
    filled(&path);
    let (whole, want) = (std::fs::read(&path).unwrap(), read(&path).unwrap());
    let (mut refused, mut right, mut structure) = (0, 0, 0);
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at / step % 8);
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(dir.path().join(format!("flipped.db{suffix}")));
        }
        std::fs::write(&flipped, &bytes).unwrap();
        // As the server looks at it before it starts.
        let verified = verify(&flipped, tidegate_sqlite::sqlite_check::Depth::Full);
        if verified.as_ref().is_ok_and(|found| found.damage.is_empty() && !found.damaged.is_empty()) {
            refused += 1;
            continue;
        }
        if !verified.is_ok_and(|found| found.is_whole()) {
            structure += 1;
            continue;
        }
        match read(&flipped) {
            Err(_) => refused += 1,
            Ok(found) if found == want => right += 1,
            Ok(found) => panic!("byte {at}: unseen: {} and {} characters", found.len(), want.len()),
        }
    }
    println!("{} bytes: structure {structure}, checksum {refused}, harmless {right}", whole.len());
    assert!(structure > 0 && refused > 0 && right > 0);
}

#[test]
fn a_damaged_file_gives_what_is_whole_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("state.db"), dir.path().join("new.db"));
    filled(&path);
    let old = Connection::open(&path).unwrap();
    old.execute("UPDATE quarantine SET event = x'00' WHERE log_offset = 4", []).unwrap();
    old.execute("UPDATE pending SET event = 'other' WHERE log_offset IN (3, 5)", []).unwrap();
    drop(old);
    let verified = verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap();
    assert_eq!((verified.damage.len(), verified.damaged.len()), (0, 3), "{verified:?}");
    let mut state = State::open(&new).unwrap();
    let salvaged = state.salvage(&path).unwrap();
    assert_eq!(salvaged, Salvaged { cursors: 1, pending: 18, quarantined: 19 });
    assert_eq!((state.cursor("crm").unwrap(), state.refined_to().unwrap()), (Some(200), 0));
    assert_eq!(state.quarantine_size().unwrap().entries, 19);
    assert!(verify(&new, tidegate_sqlite::sqlite_check::Depth::Full).unwrap().is_whole());
}
