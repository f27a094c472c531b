//! Other people with the same warehouse: they alter tables, take permissions away, have tables of their own.

use std::time::Duration;

use serde_json::json;
use tidegate_event::EventKind;
use tidegate_event::destination::Failure;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Limits;

use crate::events::{batch, event, numbered, track};
use crate::{Act, Rig, Subject};

/// While the router has the warehouse open.
pub fn a_column_added_by_another_writer_is_used<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(numbered(0..3));
    if !rig.act(&Act::AddColumn("e", "plan", Type::Text)) || !rig.act(&Act::AddColumn("e", "spare", Type::Integer)) {
        return;
    }
    subject.deliver(batch(vec![track(3, "m3", "E", json!({ "plan": 12, "n": 3 }))]));
    subject.deliver(batch(vec![track(4, "m4", "E", json!({ "plan": "x", "more": true }))]));
    let seen = rig.seen(None);
    let plans: Vec<_> = ["m0", "m3", "m4"].iter().map(|id| seen["e"].cell(id, "plan")).collect();
    assert_eq!(plans, [None, Some("12"), Some("x")]);
    assert_eq!((seen["e"].columns["plan"], seen["e"].columns["spare"]), (Type::Text, Type::Integer));
    assert_eq!(seen["e"].cell("m4", "more"), Some("true"));
}

pub fn a_column_dropped_by_an_operator_comes_back<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(numbered(0..3));
    if !rig.act(&Act::DropColumn("e", "n")) || !rig.act(&Act::DropColumn("tracks", "sent_at")) {
        return;
    }
    subject.deliver(batch(vec![track(3, "m3", "E", json!({ "n": "now text" }))]));
    subject.deliver(batch(vec![track(4, "m4", "E", json!({ "n": 4 }))]));
    let seen = rig.seen(None);
    let found: Vec<_> = ["m0", "m3", "m4"].iter().map(|id| seen["e"].cell(id, "n")).collect();
    assert_eq!(found, [None, Some("now text"), Some("4")]);
    assert_eq!(seen["tracks"].rows.len(), 5);
    assert!(seen["tracks"].columns.contains_key("sent_at"));
}

pub fn a_column_retyped_by_an_operator_is_taken_as_it_is<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![track(0, "m0", "E", json!({ "v": 1, "w": "5", "n": 7 }))]));
    // Wider, narrower, wider.
    let retypes = [("v", Type::Text), ("w", Type::Integer), ("n", Type::Decimal)];
    if !retypes.into_iter().all(|(column, kind)| rig.act(&Act::Retype("e", column, kind))) {
        return;
    }
    subject.deliver(batch(vec![track(1, "m1", "E", json!({ "v": 2, "w": 6, "n": 8 }))]));
    let seen = rig.seen(None);
    for (column, kind) in retypes {
        assert_eq!(seen["e"].columns[column], kind, "{column} stays as somebody made it");
    }
    subject.deliver(batch(vec![track(2, "m2", "E", json!({ "v": 3, "w": "007", "n": 0.5 }))]));
    let seen = rig.seen(None);
    for (column, kind, expected) in [
        ("v", Type::Text, ["1", "2", "3"]),
        ("w", Type::Text, ["5", "6", "007"]),
        ("n", Type::Decimal, ["7", "8", "0.5"]),
    ] {
        let found: Vec<_> = ["m0", "m1", "m2"].iter().map(|id| seen["e"].cell(id, column).unwrap()).collect();
        assert_eq!((seen["e"].columns[column], found), (kind, expected.to_vec()), "{column}");
    }
}

pub fn a_table_of_somebody_else_is_left_alone<R: Rig>(rig: &R) {
    if !rig.act(&Act::MakeTable("users")) || !rig.act(&Act::MakeTable("pages")) {
        return;
    }
    let mut subject = Subject::open(rig);
    let delivery = subject.deliver(batch(vec![track(0, "m", "Users", json!({ "n": 1 }))]));
    assert_eq!(delivery.notices, ["users exists and is not the router's: its events go to table _overflow"]);
    let seen = rig.seen(None);
    assert_eq!(seen["users"].columns.keys().collect::<Vec<_>>(), ["name"]);
    assert_eq!(seen["_overflow"].cell("m", "event_text"), Some("Users"));
    let failure = subject.try_deliver(batch(vec![event(EventKind::Page, 1, "p", json!({}))])).unwrap_err();
    assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
    assert!(failure.to_string().contains("pages"), "{failure}");
    assert_eq!(subject.durable_to(), Some(1));
}

/// What is told of changes that wait.
fn waits(notices: &[String]) -> Vec<&String> {
    notices.iter().filter(|notice| notice.contains("waits and is tried again")).collect()
}

pub fn a_change_that_something_is_in_the_way_of_waits_and_stops_nothing<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![track(0, "m0", "E", json!({ "n": 0, "flag": true }))]));
    if !rig.act(&Act::Block("e", "n")) {
        return;
    }
    let wide = track(1, "m1", "E", json!({ "n": "text", "flag": "yes", "late": 1 }));
    let delivery = subject.deliver(batch(vec![wide, track(2, "m2", "E", json!({ "n": 2 }))]));
    assert_eq!((delivery.delivered, delivery.duplicates), (2, 0));
    let told = waits(&delivery.notices);
    assert_eq!(told.len(), 1, "{:?}", delivery.notices);
    assert!(told[0].starts_with("column n of table e cannot be changed yet"), "{}", told[0]);
    let seen = rig.seen(None);
    assert_eq!(seen["e"].columns["n"], Type::Integer);
    assert_eq!(seen["e"].overflow("m1"), json!({"properties": {"n": "text"}}));
    let cells = ["n", "flag", "late"].map(|column| seen["e"].cell("m1", column));
    assert_eq!(cells, [None, Some("yes"), Some("1")], "other columns do not wait");
    assert_eq!((seen["e"].cell("m0", "n"), seen["e"].cell("m2", "n")), (Some("0"), Some("2")));
    let delivery = subject.deliver(batch(vec![track(3, "m3", "E", json!({ "n": "more" }))]));
    assert_eq!(waits(&delivery.notices), Vec::<&String>::new(), "told once");
    assert!(rig.act(&Act::Unblock("e")));
    drop(subject);
    Subject::open(rig).deliver(batch(vec![track(4, "m4", "E", json!({ "n": "four" }))]));
    let seen = rig.seen(None);
    assert_eq!(seen["e"].columns["n"], Type::Text);
    let found = ["m0", "m1", "m2", "m3", "m4"].map(|id| seen["e"].cell(id, "n"));
    assert_eq!(found, [Some("0"), None, Some("2"), None, Some("four")]);
    assert_eq!(seen["e"].overflow("m3"), json!({"properties": {"n": "more"}}));
    assert_eq!(seen["tracks"].rows.len(), 5);
}

pub fn a_change_that_waits_is_tried_again_while_the_sync_goes_on<R: Rig>(rig: &R) {
    let limits = Limits { try_again_after: Duration::ZERO, ..Limits::default() };
    let mut subject = Subject::with(rig, "sync", None, limits, Declared::default());
    subject.deliver(batch(vec![track(0, "m0", "E", json!({ "n": 0 }))]));
    if !rig.act(&Act::Block("e", "n")) {
        return;
    }
    for at in 1..3 {
        let delivery = subject.deliver(batch(vec![track(at, &format!("m{at}"), "E", json!({ "n": "text" }))]));
        assert_eq!(waits(&delivery.notices).len(), usize::from(at == 1), "{:?}", delivery.notices);
    }
    assert!(rig.act(&Act::Unblock("e")));
    let delivery = subject.deliver(batch(vec![track(3, "m3", "E", json!({ "n": "text" }))]));
    assert!(delivery.notices.iter().any(|notice| notice.contains("column n of table e widened")), "{delivery:?}");
    let seen = rig.seen(None);
    let found = ["m0", "m1", "m2", "m3"].map(|id| seen["e"].cell(id, "n"));
    assert_eq!(found, [Some("0"), None, None, Some("text")]);
}

pub fn a_row_that_is_refused_stands_alone<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(numbered(0..3));
    if !rig.act(&Act::Refuse("e", "n", 13)) || !rig.act(&Act::Refuse("e", "n", 29)) {
        return;
    }
    let failure = subject.try_deliver(numbered(3..40)).unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
    assert_eq!(subject.durable_to(), Some(3), "the ledger waits until the refused are quarantined");
    let (delivery, rejected) = subject.deliver_refusing(numbered(3..40));
    let mut refused: Vec<_> = rejected.iter().map(|rejected| (rejected.index, &*rejected.code)).collect();
    refused.sort_unstable();
    assert_eq!(refused, [(10, "row_refused"), (26, "row_refused")]);
    assert!(rejected.iter().all(|rejected| !rejected.reason.is_empty()));
    assert_eq!((delivery.delivered, delivery.duplicates), (35, 0));
    let seen = rig.seen(None);
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (38, 38), "both rows of an event are left out");
    assert!(!seen["e"].rows.contains_key("m13") && seen["e"].rows.contains_key("m14"));
    assert_eq!(subject.durable_to(), Some(40));
}

pub fn a_permission_that_is_missing_stops_and_loses_nothing<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(numbered(0..3));
    if !rig.act(&Act::Forbid) {
        return;
    }
    let before = rig.seen(None);
    let failure = subject.try_deliver(numbered(3..6)).unwrap_err();
    assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
    let failure = subject.try_deliver(batch(vec![track(3, "m3", "Another", json!({}))])).unwrap_err();
    assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
    assert_eq!(rig.seen(None), before);
    assert!(rig.act(&Act::Allow));
    subject.deliver(numbered(3..6));
    assert_eq!(rig.seen(None)["e"].rows.len(), 6);
    assert_eq!(subject.durable_to(), Some(6));
}
