//! What is kept of syncs that drain, over kills and starts.

use std::sync::Arc;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{CommittedObject, ObjectKind};
use tidegate_event::record::Record;
use tidegate_log::{Frames, LogSettings, SegmentLog};

use super::*;
use crate::config::KeptDocument;

fn kept(sync: &str) -> KeptDocuments {
    let object = ObjectRef::new(ObjectRefKind::Sync, sync);
    let document = serde_json::json!({"source": "web"});
    let document = KeptDocument { object, document, replaces: true, catalog: None };
    KeptDocuments::from([(sync.to_owned(), vec![document])])
}

fn begun(sync: &str, kind: EndingKind, kept: KeptDocuments) -> BegunEndings {
    let syncs = BTreeMap::from([(sync.to_owned(), kind)]);
    BegunEndings { kept, syncs, ends: vec![Position::new(0, 5)], change: None }
}

#[test]
fn a_drain_is_found_again_and_what_was_given_up_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let state = paths::state(dir.path());
    let mut opened = State::open(&state).unwrap();
    opened.record_starts(&[("crm", 0), ("ads", 2)]).unwrap();
    let mut draining = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    assert!(draining.kept().is_empty() && !paths::endings(dir.path()).exists());
    let drain = begun("crm", EndingKind::Drain, kept("crm"));
    draining.begin(&drain, &state).unwrap();
    draining.begun(drain).unwrap();
    let abandon = begun("ads", EndingKind::Abandon, draining.kept().clone());
    draining.begin(&abandon, &state).unwrap();
    let again = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    assert_eq!(again.kept(), &kept("crm"));
    assert_eq!(again.ends().collect::<Vec<_>>(), [("crm", &[Position::new(0, 5)][..])]);
    let ended = opened.ended_syncs().unwrap();
    assert_eq!((ended[0].sync.as_str(), ended[0].abandoned), ("ads", 3));
    // What it needs is gone: it has nothing more to deliver, or nobody can.
    std::fs::remove_file(paths::endings(dir.path())).unwrap();
    let last = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    assert!(last.kept().is_empty() && opened.endings().unwrap().is_empty());
    assert_eq!(opened.ended_syncs().unwrap()[1].abandoned, 5);
}

#[test]
fn a_drain_that_had_just_begun_goes_on_and_one_that_is_taken_back_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = paths::state(dir.path());
    let mut opened = State::open(&state).unwrap();
    let mut draining = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    draining.put(kept("crm")).unwrap();
    let again = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    assert_eq!(again.ends().count(), 1);
    assert_eq!(opened.endings().unwrap().len(), 1);
    // It is given up, and then not.
    let abandon = begun("crm", EndingKind::Abandon, KeptDocuments::new());
    again.begin(&abandon, &state).unwrap();
    assert_eq!(opened.endings().unwrap()[0].kind, EndingKind::Abandon);
    again.take_back(&abandon, &state);
    assert_eq!(opened.endings().unwrap()[0].kind, EndingKind::Drain);
    assert_eq!(read(&paths::endings(dir.path())).unwrap(), kept("crm"));
}

#[test]
fn what_ends_by_a_change_of_the_catalog_that_was_not_made_does_not_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = paths::state(dir.path());
    let mut opened = State::open(&state).unwrap();
    opened.record_starts(&[("crm", 0), ("ads", 2)]).unwrap();
    let mut draining = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    let drain = begun("crm", EndingKind::Drain, kept("crm"));
    draining.begin(&drain, &state).unwrap();
    draining.begun(drain).unwrap();
    let both = BTreeMap::from([("crm", EndingKind::Abandon), ("ads", EndingKind::Drain)]);
    let order = BegunEndings {
        kept: kept("ads"),
        syncs: both.into_iter().map(|(sync, kind)| (sync.to_owned(), kind)).collect(),
        ends: vec![Position::new(0, 5)],
        change: Some(MarkedChange { revision: 8, object: ObjectId::parse("syn_00000000000000000001").unwrap() }),
    };
    draining.begin(&order, &state).unwrap();
    // The server was killed before the catalog had it.
    let again = DrainingSyncs::as_left(dir.path(), &mut opened, false).unwrap();
    assert_eq!(again.kept(), &kept("crm"));
    let ends = opened.endings().unwrap();
    assert_eq!(ends.iter().map(|end| (end.sync.as_str(), end.kind)).collect::<Vec<_>>(), [("crm", EndingKind::Drain)]);
    assert!(opened.ended_syncs().unwrap().is_empty());
    // And now after.
    again.begin(&order, &state).unwrap();
    let last = DrainingSyncs::as_left(dir.path(), &mut opened, true).unwrap();
    assert_eq!(last.kept(), &kept("ads"));
    assert_eq!(opened.ended_syncs().unwrap()[0].sync, "crm");
}

#[test]
fn a_change_is_told_by_an_object_that_runs_and_one_of_nothing_is_none() {
    let object = |id: &str, kind, done| {
        let id = ObjectId::parse(&format!("{id}_00000000000000000001")).unwrap();
        CommittedObject { id, kind, name: "crm".to_owned(), revision: 8, done }
    };
    let of = |objects: Vec<CommittedObject>| {
        MarkedChange::of(&Committed { revision: 8, objects, is_repeated: false })
            .map(|marked| marked.object.to_string())
    };
    let unchanged = || object("src", ObjectKind::Source, EditDone::Unchanged);
    assert_eq!(of(vec![unchanged()]), None);
    let key = object("wky", ObjectKind::WriteKey, EditDone::Deleted);
    let found = of(vec![unchanged(), key, object("syn", ObjectKind::Sync, EditDone::Deleted)]);
    assert_eq!(found.as_deref(), Some("syn_00000000000000000001"));
}

#[test]
fn a_file_of_a_newer_build_is_refused_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = paths::endings(dir.path());
    std::fs::write(&path, r#"{"format": 2, "how": "else"}"#).unwrap();
    assert!(read(&path).unwrap_err().to_string().starts_with("format 2, and this build supports up to 1"));
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(read(&path), Err(EndingsError::Damaged(_))));
}

#[test]
fn what_is_given_up_is_counted_by_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
    let writer = writer.run().unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for source in ["web", "app", "web", "web"] {
        let record = Record {
            problem: None,
            route: None,
            received_at_us: 1,
            source,
            ip: "",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: b"{}",
        };
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        record.write_shared(&mut shared);
        record.write_own(&mut own);
        let mut frames = Frames::default();
        frames.begin(|out| out.extend_from_slice(&shared));
        frames.push(|out| out.extend_from_slice(&own));
        runtime.block_on(log.append(0, frames)).unwrap();
    }
    assert_eq!(records_of(&*log, 0..4, Some("web")), 3);
    assert_eq!(records_of(&*log, 1..3, Some("web")), 1);
    assert_eq!(records_of(&*log, 0..4, None), 4);
    assert_eq!(records_of(&*log, Range { start: 4, end: 2 }, Some("web")), 0);
    log.close();
    drop(log);
    writer.join().unwrap();
}
