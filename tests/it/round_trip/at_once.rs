//! Several applies at once, and names that change hands.

use std::sync::Barrier;

use serde_json::{Value, json};

use super::{AppliedServer, FolderFiles, tables};

#[test]
fn of_two_applies_at_once_one_wins_and_the_other_is_told() {
    let applied = AppliedServer::new();
    for round in 0..5 {
        let base = json!({"base_revision": applied.revision(), "prune": true});
        let folders = ["a", "b"].map(|side| {
            let value = format!("{side}{round}");
            (tables([("geo", value.as_str()), ("prices", value.as_str())]), value)
        });
        let start = Barrier::new(2);
        let replies: Vec<(u16, Value, &String)> = std::thread::scope(|scope| {
            let asking: Vec<_> = folders
                .iter()
                .map(|(files, value)| {
                    let (applied, base, start) = (&applied, &base, &start);
                    scope.spawn(move || {
                        start.wait();
                        let reply = applied.apply(files, base);
                        (reply.status, reply.json(), value)
                    })
                })
                .collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = replies.iter().filter(|(status, ..)| *status == 200).collect();
        assert_eq!(won.len(), 1, "{replies:?}");
        let lost = replies.iter().find(|(status, ..)| *status != 200).unwrap();
        assert_eq!((lost.0, lost.1["code"].as_str()), (412, Some("stale-plan")), "{replies:?}");
        for name in ["geo", "prices"] {
            let spec = applied.object("lookup", name)["spec"].clone();
            assert_eq!(&spec["entries"]["value"], won[0].2, "one of both, whole: {spec}");
        }
    }
    applied.server.stop();
}

#[test]
fn an_apply_of_an_older_plan_is_refused_and_says_by_whom_it_was_overtaken() {
    let applied = AppliedServer::new();
    let base = applied.revision();
    applied.applied(&tables([("geo", "a")]), &json!({ "base_revision": base }));
    let reply = applied.apply(&tables([("geo", "b")]), &json!({ "base_revision": base }));
    assert_eq!(reply.code(), "412 stale-plan");
    let now = applied.revision();
    assert!(reply.json()["detail"].as_str().unwrap().contains(&format!("revision {now}")), "{}", reply.text());
    assert_eq!(applied.object("lookup", "geo")["spec"]["entries"]["value"], "a");
    applied.applied(&tables([("geo", "b")]), &json!({ "base_revision": now }));
    applied.server.stop();
}

#[test]
fn names_change_hands_in_one_apply() {
    let applied = AppliedServer::new();
    applied.applied(&tables([("a", "first"), ("b", "second")]), &json!({}));
    let answer = applied.applied(&tables([("b", "first"), ("c", "second")]), &json!({"prune": true}));
    assert_eq!(
        (answer["created"].as_u64(), answer["updated"].as_u64(), answer["deleted"].as_u64()),
        (Some(1), Some(1), Some(1)),
        "{answer}"
    );
    assert_eq!(applied.names("lookup"), ["b", "c"]);
    let value = |name: &str| applied.object("lookup", name)["spec"]["entries"]["value"].clone();
    assert_eq!((value("b"), value("c")), (json!("first"), json!("second")));
    applied.server.stop();
}

/// What names it keeps naming the same object: source, destination and sync move together.
#[test]
fn a_sync_goes_on_when_what_it_names_is_called_otherwise() {
    let applied = AppliedServer::empty();
    let folder = |source: &str, destination: &str| {
        let files = [
            (format!("sources/{source}.yaml"), json!({"kind": "http"})),
            (format!("destinations/{destination}.yaml"), json!({"kind": "sqlite", "path": "DATA/place.db"})),
            ("syncs/route.yaml".to_owned(), json!({"source": source, "destination": destination})),
        ];
        FolderFiles::from(files)
    };
    applied.applied(&folder("one", "here"), &json!({}));
    applied.applied(&folder("one", "there"), &json!({"prune": true}));
    assert_eq!((applied.names("destination"), applied.names("sync")), (vec!["there".into()], vec!["route".into()]));
    // Another source is another sync: under its name it would go on with the events of both.
    let reply = applied.apply(&folder("two", "there"), &json!({"prune": true}));
    assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
    assert_eq!(applied.names("sync"), ["route"]);
    let names = applied.names("source");
    assert_eq!(names, [if reply.status == 200 { "two" } else { "one" }], "all of it or nothing");
    applied.server.stop();
}
