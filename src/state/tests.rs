use super::*;

const HOUR_US: i64 = 3_600_000_000;

fn see(state: &mut State, range: Range<u64>, ids: &[(&str, &str, i64)]) -> Vec<bool> {
    let sightings: Vec<_> = ids
        .iter()
        .map(|(source, id, at)| Sighting { source, message_id: id.as_bytes(), received_at_us: *at })
        .collect();
    let mut stage = state.stage().unwrap();
    let seen = stage.seen(&sightings).unwrap();
    stage.commit(&range).unwrap();
    seen
}

#[test]
fn an_id_is_seen_once_in_its_window_and_per_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path, Window::default()).unwrap();
    let t = 1_000 * HOUR_US;
    assert_eq!(see(&mut state, 0..3, &[("a", "1", t), ("b", "1", t), ("a", "1", t + 1)]), [false, false, true]);
    drop(state);
    let mut state = State::open(&path, Window::default()).unwrap();
    assert_eq!(state.refined_to().unwrap(), 3);
    assert_eq!(see(&mut state, 3..5, &[("a", "1", t + 23 * HOUR_US), ("a", "2", t + 23 * HOUR_US)]), [true, false]);
    // The generations take turns; what lies within 24 hours is still known.
    assert_eq!(see(&mut state, 5..6, &[("a", "3", t + 25 * HOUR_US)]), [false]);
    assert_eq!(see(&mut state, 6..8, &[("a", "2", t + 46 * HOUR_US), ("a", "1", t + 46 * HOUR_US)]), [true, false]);
    assert_eq!(see(&mut state, 8..9, &[("a", "2", t + 48 * HOUR_US)]), [false]);
    assert_eq!(see(&mut state, 9..10, &[("a", "3", t + 200 * HOUR_US)]), [false]);
}

#[test]
fn a_stage_that_is_dropped_never_happened() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db"), Window::default()).unwrap();
    let sighting = Sighting { source: "a", message_id: b"1", received_at_us: 1 };
    let mut stage = state.stage().unwrap();
    assert_eq!(stage.seen(&[sighting]).unwrap(), [false]);
    stage.duplicate(7).unwrap();
    drop(stage);
    let mut stage = state.stage().unwrap();
    assert_eq!(stage.seen(&[sighting]).unwrap(), [false]);
    stage.duplicate(8).unwrap();
    stage.count("a", "duplicates", 2).unwrap();
    stage.commit(&(0..9)).unwrap();
    assert_eq!(state.duplicates_in(&(0..9)).unwrap(), [8]);
    assert_eq!(state.stretch_at(8).unwrap(), Some(0..9));
    assert_eq!(state.stretch_at(9).unwrap(), None);
    assert_eq!(state.counters().unwrap(), [("a".to_owned(), "duplicates".to_owned(), 2)]);
}

#[test]
fn too_many_ids_shorten_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(&dir.path().join("state.db"), Window::new(HOUR_US, 4)).unwrap();
    for (at, id) in ["1", "2", "3", "4", "5"].iter().enumerate() {
        assert_eq!(see(&mut state, at as u64..at as u64 + 1, &[("a", id, 5)]), [false]);
    }
    assert_eq!(see(&mut state, 5..6, &[("a", "5", 6)]), [true]);
    assert_eq!(see(&mut state, 6..7, &[("a", "1", 6)]), [false]);
}

#[test]
fn quarantine_and_reports_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    assert!(matches!(State::read(&path), Err(Error::Absent { .. })));
    let mut state = State::open(&path, Window::default()).unwrap();
    let entry = Quarantined {
        offset: 3,
        part: 0,
        stage: QuarantineStage::Contract.as_str(),
        scope: "web".into(),
        code: "schema-violation".into(),
        message: "no".into(),
        event: vec![0xff],
        at_us: 1,
        detail: Some("{}".into()),
    };
    state.quarantine(&[entry.clone(), entry.clone()]).unwrap();
    let all = Filter { entries_max: 10, ..Filter::default() };
    assert_eq!(State::read(&path).unwrap().quarantined(&all).unwrap(), [entry]);
    let progress = Progress { cursor: 4, delivered: 2, ..Progress::default() };
    state.fail("s", "away").unwrap();
    state.advance("s", &progress, 9).unwrap();
    state.advance("s", &Progress { cursor: 5, notice: Some("n".into()), ..progress }, 10).unwrap();
    let want = SyncReport {
        sync: "s".into(),
        cursor: 5,
        delivered: 4,
        delivered_at_us: Some(10),
        notice: Some("n".into()),
        ..SyncReport::default()
    };
    assert_eq!(state.reports().unwrap(), [want]);
}
