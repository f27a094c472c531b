//! How long 10,000 objects take. Nothing is asserted of time: `cargo test … -- --ignored --nocapture measure` prints it.

use std::time::Instant;

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{CatalogRig, KEY, PRODUCTION, PostgresRig, SeededEntropy, SqliteRig};

fn measured<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn wanted(count: usize) -> Vec<WantedObject> {
    let object = |kind, name: String, spec| WantedObject {
        kind,
        name,
        was: None,
        labels: crate::rig::labels(&[("team", "web")]),
        owner: None,
        spec,
    };
    let sources = (0..count / 2).map(|n| {
        let spec = json!({ "kind": "http", "limits": { "rate": n, "bytes": "1MiB" }, "functions": [], "text": "x".repeat(200) });
        object(ObjectKind::Source, format!("source {n}"), spec)
    });
    let syncs = (0..count / 2 - 1).map(|n| {
        let spec = json!({ "source": format!("source {n}"), "destination": "warehouse", "filter": { "events": ["Order Completed"] } });
        object(ObjectKind::Sync, format!("sync {n}"), spec)
    });
    let destination = object(ObjectKind::Destination, "warehouse".into(), json!({ "kind": "sqlite" }));
    sources.chain(syncs).chain([destination]).collect()
}

fn measure<R: CatalogRig>(store: &str) {
    let Ok(rig) = R::new() else { return println!("{store}: not on this machine") };
    let test = CatalogTest::open(rig.store(), InstanceKey::new(KEY).into()).unwrap();
    let mut wanted = wanted(10_000);
    println!("{store}, {} objects", wanted.len());
    let plan_of = |wanted: &[WantedObject]| {
        plan(&test.snapshot(), wanted, PlanOptions { prune: true, take_over: true, folder: None })
    };
    let change = |plan: &CatalogPlan| {
        let entropy = SeededEntropy::new(test.tick() as u64);
        plan.change(Authority::Program, Actor::default(), test.tick(), entropy.as_ref()).unwrap()
    };
    let first = plan_of(&wanted);
    measured("  apply all", || test.commit_change(&change(&first))).unwrap();
    measured("  snapshot", || test.snapshot());
    measured("  plan, nothing differs", || assert!(plan_of(&wanted).is_empty()));
    for object in wanted.iter_mut().step_by(10) {
        object.spec["changed"] = json!(true);
    }
    let second = measured("  plan, 1,000 differ", || plan_of(&wanted));
    let change = change(&second);
    measured("  dry run of 1,000", || test.wait(test.catalog.dry_run(&change))).unwrap();
    measured("  apply 1,000", || test.commit_change(&change)).unwrap();
    let all = ListQuery { workspace: PRODUCTION.into(), limit: 1_000, ..ListQuery::default() };
    let pages = |query: &ListQuery| {
        let (mut query, mut seen) = (query.clone(), 0);
        loop {
            let page = test.wait(test.catalog.list(&query)).unwrap();
            seen += page.objects.len();
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return seen,
            }
        }
    };
    measured("  list all, pages of 1,000", || assert_eq!(pages(&all), 10_000));
    let prefix = ListQuery { name_prefix: Some("sync 42".into()), ..all.clone() };
    measured("  list by name prefix", || assert!(pages(&prefix) > 10));
    let label = ListQuery { label: Some(("team".into(), "web".into())), kind: Some(ObjectKind::Sync), ..all };
    measured("  list by label and kind", || assert_eq!(pages(&label), 4_999));
    let edit = || vec![test.create(ObjectKind::Lookup, &format!("l{}", test.tick()), json!({}))];
    measured("  100 commits of one object, one by one", || {
        for _ in 0..100 {
            test.commit(edit()).unwrap();
        }
    });
    measured("  verify the audit log", || test.verified().unwrap());
    measured("  snapshot of revision 1", || test.wait(test.catalog.snapshot(PRODUCTION, Some(1))).unwrap());
}

#[test]
#[ignore = "it measures"]
fn measure_both_stores() {
    measure::<SqliteRig>("SQLite");
    measure::<PostgresRig>("PostgreSQL");
}
