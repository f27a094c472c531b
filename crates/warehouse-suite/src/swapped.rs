//! Tables that were made anew take the place of those that are read, all of them or none.

use serde_json::json;
use tidegate_event::EventKind;
use tidegate_event::destination::{Batch, Failure};
use tidegate_warehouse::swap::{LedgerSwap, TableSwap};

use crate::events::{batch, event, numbered, track};
use crate::{Act, Rig, Subject};

const REBUILD: &str = "sync.rebuild.1.2";
const REBUILT: &str = "made_anew";
const BEFORE: &str = "read_before";

fn order(log_offset: u64) -> TableSwap {
    let ledger = LedgerSwap { sync: "sync".to_owned(), rebuilt: REBUILD.to_owned(), log_offset };
    TableSwap { schema: None, rebuilt: REBUILT.to_owned(), before: BEFORE.to_owned(), ledgers: vec![ledger] }
}

/// The first ten offsets, and one event of each further kind.
fn events(plan: &str, more: &str) -> Batch {
    let mut events: Vec<_> = (0..10).map(|n| track(n, &format!("m{n}"), "E", json!({ "n": n, more: true }))).collect();
    events.push(event(EventKind::Identify, 10, "i", json!({ "userId": "u", "traits": { "plan": plan } })));
    batch(events)
}

/// Whether the warehouse can swap tables at all; one that cannot says what to do.
fn can_swap(swapped: &Result<(), Failure>) -> bool {
    match swapped {
        Err(Failure::Stop { advice, .. }) => !advice.contains("second sync"),
        _ => true,
    }
}

pub fn rebuilt_tables_take_the_place_of_those_that_are_read<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(events("free", "old"));
    subject.deliver(batch(vec![track(11, "o", "Only Old", json!({}))]));
    let before = rig.seen(None);
    let mut rebuild = Subject::of(rig, REBUILD, Some(REBUILT));
    rebuild.deliver(events("pro", "new"));
    rebuild.deliver(batch(vec![track(11, "o", "E", json!({ "n": 11 }))]));
    let at = rebuild.durable_to().unwrap();
    assert_eq!(subject.durable_to(), Some(at));
    let rebuilt = rig.seen(Some(REBUILT));
    drop(rebuild);
    let swapped = rig.swap(&order(at));
    if !can_swap(&swapped) {
        assert_eq!(rig.seen(None), before, "nothing was changed");
        return;
    }
    swapped.unwrap();
    let after = rig.seen(None);
    for (name, table) in &rebuilt {
        assert_eq!(after.get(name), Some(table), "{name}");
        assert_eq!(rig.seen(Some(BEFORE)).get(name), before.get(name), "{name} as it was before");
    }
    assert_eq!(after.get("only_old"), before.get("only_old"), "what was not made anew stays");
    if let Some(users) = rig.read("users", &["user_id", "plan"]) {
        assert_eq!(users, ["u|pro"]);
    }
    // Once more it is done already.
    rig.swap(&order(at)).unwrap();
    assert_eq!(rig.seen(None), after);
    // Who was open all the while goes on where the rebuild was.
    assert_eq!(subject.durable_to(), Some(at));
    let delivery = subject.deliver(numbered(10..15));
    assert_eq!((delivery.delivered, subject.durable_to()), (5, Some(15)));
    let seen = rig.seen(None);
    let mut ids: Vec<&str> = seen["e"].rows.keys().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["m0", "m1", "m12", "m13", "m14", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "o"]);
    subject.deliver(batch(vec![event(
        EventKind::Identify,
        15,
        "j",
        json!({ "userId": "u", "traits": { "plan": "x" } }),
    )]));
    if let Some(users) = rig.read("users", &["user_id", "plan"]) {
        assert_eq!(users.len(), 1, "the view reads the new table: {users:?}");
    }
}

pub fn tables_that_are_not_as_far_as_they_have_to_be_are_not_swapped<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(events("free", "old"));
    let mut rebuild = Subject::of(rig, REBUILD, Some(REBUILT));
    rebuild.deliver(events("pro", "new"));
    let at = rebuild.durable_to().unwrap();
    let (before, rebuilt) = (rig.seen(None), rig.seen(Some(REBUILT)));
    let swapped = rig.swap(&order(at + 1));
    if !can_swap(&swapped) {
        return;
    }
    assert!(matches!(&swapped, Err(Failure::Retry { reason, .. }) if reason.contains("has to say")), "{swapped:?}");
    assert!(rig.seen(None) == before && rig.seen(Some(REBUILT)) == rebuilt, "something was swapped");
    // Somebody else's table has the name of one.
    rebuild.deliver(batch(vec![track(11, "f", "F", json!({}))]));
    assert!(rig.act(&Act::MakeTable("f")));
    let at = rebuild.durable_to().unwrap();
    let swapped = rig.swap(&order(at));
    assert!(
        matches!(&swapped, Err(Failure::Stop { reason, .. }) if reason.contains("f exists but is not")),
        "{swapped:?}"
    );
    assert_eq!(rig.seen(None)["e"], before["e"]);
    assert_eq!((subject.durable_to(), rebuild.durable_to()), (Some(11), Some(at)));
}
