//! Lists, snapshots, histories.

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{PRODUCTION, content, labels};

fn names(page: &ListPage) -> Vec<String> {
    page.objects.iter().map(|object| format!("{} {}", object.content.kind.name(), object.content.name)).collect()
}

pub fn lists_are_filtered_and_paged(test: &CatalogTest) {
    let web = [("team", "web"), ("tier", "1")];
    let of_web = |name: &str| ObjectContent { labels: labels(&web), ..content(ObjectKind::Source, name, json!({})) };
    let owner = test.made(ObjectKind::User, "ann", json!({}));
    test.made_in(PRODUCTION, of_web("web"));
    test.made_in(PRODUCTION, of_web("web_app"));
    test.made_in(PRODUCTION, ObjectContent { owner: Some(owner.clone()), ..of_web("Web") });
    test.made_in("staging", of_web("web"));
    test.made(ObjectKind::Source, "wëb", json!({}));
    test.made(ObjectKind::Destination, "web", json!({}));
    let adopted = test.made(ObjectKind::Destination, "%_", json!({}));
    test.commit(vec![ObjectEdit::Adopt { id: adopted, expected: None }]).unwrap();
    let base = ListQuery { workspace: PRODUCTION.into(), limit: 100, ..ListQuery::default() };
    let list = |query: ListQuery| names(&test.wait(test.catalog.list(&query)).unwrap());
    let all = ["destination %_", "destination web", "source Web", "source web", "source web_app", "source wëb"];
    assert_eq!(list(base.clone()), all);
    assert_eq!(list(ListQuery { kind: Some(ObjectKind::Destination), ..base.clone() }), all[..2]);
    let prefix = |prefix: &str| ListQuery { name_prefix: Some(prefix.into()), ..base.clone() };
    assert_eq!(list(prefix("web")), ["destination web", "source web", "source web_app"]);
    assert_eq!(list(prefix("%")), ["destination %_"]);
    assert_eq!(list(prefix("w\0")), [""; 0]);
    let part = |part: &str| ListQuery { name_part: Some(part.into()), ..base.clone() };
    assert_eq!(list(part("EB")), ["destination web", "source Web", "source web", "source web_app"]);
    assert_eq!(list(part("_")), ["destination %_", "source web_app"]);
    assert_eq!(list(part("%")), ["destination %_"]);
    assert_eq!(list(part(&"x".repeat(60_000))), [""; 0]);
    let label = |value: &str| ListQuery { label: Some(("team".into(), value.into())), ..base.clone() };
    assert_eq!(list(label("web")), ["source Web", "source web", "source web_app"]);
    assert_eq!(list(label("app")), [""; 0]);
    let managed = |managed| ListQuery { managed_by: Some(managed), ..base.clone() };
    assert_eq!(list(managed(ManagedFilter::Folder)), ["destination %_"]);
    assert_eq!(list(managed(ManagedFilter::Nobody)).len(), 5);
    assert_eq!(list(ListQuery { owner: Some(owner), ..label("web") }), ["source Web"]);
    for limit in 1..=7 {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let query = ListQuery { cursor: cursor.clone(), limit, ..base.clone() };
            let page = test.wait(test.catalog.list(&query)).unwrap();
            seen.extend(names(&page));
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all, "pages of {limit}");
        assert_eq!(pages, all.len().div_ceil(limit));
    }
    for cursor in ["", "x", "bm9uZQ", "Z2FkZ2V0Cng"] {
        let query = ListQuery { cursor: Some(cursor.into()), ..base.clone() };
        assert!(matches!(test.wait(test.catalog.list(&query)), Err(CatalogError::Cursor)), "{cursor}");
    }
}

pub fn a_snapshot_is_of_now_or_of_then(test: &CatalogTest) {
    let web = test.made(ObjectKind::Source, "web", json!({ "n": 1 }));
    test.made_in("staging", content(ObjectKind::Source, "other", json!({})));
    test.commit(vec![test.respecified(&web, json!({ "n": 2 })), test.create(ObjectKind::Lookup, "l", json!({}))])
        .unwrap();
    test.commit(vec![ObjectEdit::Delete { id: web.clone(), expected: None }]).unwrap();
    let again = test.made(ObjectKind::Source, "web", json!({ "n": 4 }));
    let at = |revision| {
        let snapshot = test.wait(test.catalog.snapshot(PRODUCTION, Some(revision))).unwrap();
        assert_eq!(snapshot.revision, revision);
        snapshot
            .objects
            .iter()
            .map(|object| format!("{} {}", object.content.name, object.content.spec))
            .collect::<Vec<_>>()
    };
    assert_eq!(at(0), [""; 0]);
    assert_eq!(at(1), [r#"web {"n":1}"#]);
    assert_eq!(at(2), at(1));
    assert_eq!(at(3), ["l {}", r#"web {"n":2}"#]);
    assert_eq!(at(4), ["l {}"]);
    assert_eq!(at(5), ["l {}", r#"web {"n":4}"#]);
    assert_eq!(test.wait(test.catalog.snapshot(PRODUCTION, Some(5))).unwrap(), test.snapshot());
    assert_ne!(web, again);
    assert!(test.wait(test.catalog.snapshot(PRODUCTION, Some(6))).is_err());
}

pub fn an_object_has_a_history_and_differences(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 1 }));
    for n in 2..=5 {
        test.commit(vec![test.respecified(&id, json!({ "n": n }))]).unwrap();
    }
    test.commit(vec![ObjectEdit::Delete { id: id.clone(), expected: Some(5) }]).unwrap();
    let page = |before, limit| test.wait(test.catalog.history(PRODUCTION, &id, before, limit)).unwrap();
    let first = page(None, 4);
    let told = |page: &HistoryPage| -> Vec<(u64, bool)> {
        page.versions.iter().map(|version| (version.object.revision, version.is_deleted)).collect()
    };
    assert_eq!(told(&first), [(6, true), (5, false), (4, false), (3, false)]);
    let second = page(first.next, 4);
    assert_eq!((told(&second), second.next), (vec![(2, false), (1, false)], None));
    let diff = |from, to| {
        let changes = test.wait(test.catalog.diff(PRODUCTION, &id, from, to)).unwrap();
        let side = |value: &Option<serde_json::Value>| value.as_ref().map_or("-".into(), ToString::to_string);
        changes.iter().map(|it| format!("{} {} {}", it.path, side(&it.before), side(&it.after))).collect::<Vec<_>>()
    };
    assert_eq!(diff(2, 4), ["/spec/n 2 4"]);
    assert_eq!(diff(4, 4), [""; 0]);
    assert!(diff(0, 1).contains(&"/name - \"web\"".to_owned()));
    assert!(diff(5, 6).contains(&"/name \"web\" -".to_owned()));
    let elsewhere = test.wait(test.catalog.history("staging", &id, None, 10));
    assert!(matches!(elsewhere, Err(CatalogError::Absent { .. })));
    assert!(matches!(test.wait(test.catalog.get("staging", &id)), Err(CatalogError::Absent { .. })));
}

pub fn a_reader_sees_one_state(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 0 }));
    test.wait(async {
        let mut reader = test.store.begin(StoreAccess::Read).await.unwrap();
        let seen = reader.run("SELECT revision FROM head", Vec::new()).await.unwrap();
        let object = test.catalog.get(PRODUCTION, &id);
        let object = {
            // The reader holds its connection; another store would have its own. Only the writer is asked meanwhile.
            drop(object);
            ObjectEdit::Update {
                id: id.clone(),
                expected: None,
                content: content(ObjectKind::Source, "web", json!({ "n": 1 })),
            }
        };
        test.catalog.commit(&CatalogChange::by_program(PRODUCTION, vec![object], 5)).await.unwrap();
        let again = reader.run("SELECT revision FROM head", Vec::new()).await.unwrap();
        assert_eq!(seen, again);
        let written = reader.run("UPDATE head SET revision = 9", Vec::new()).await;
        assert!(written.is_err(), "a reader cannot write");
        drop(reader);
        assert_eq!(test.catalog.revision().await.unwrap(), 2);
    });
}

pub fn a_store_is_opened_again_and_refuses_other_migrations(test: &CatalogTest) {
    test.made(ObjectKind::Source, "web", json!({}));
    let open = || CatalogTest::open(std::sync::Arc::clone(&test.store), InstanceKey::new(crate::rig::KEY).into());
    assert_eq!(open().unwrap().snapshot(), test.snapshot());
    test.tamper("UPDATE migration SET sha256 = 'another'");
    let refused = open().err().unwrap();
    assert!(matches!(refused, CatalogError::Store(StoreError::MigrationChanged { number: 1, .. })), "{refused:?}");
    test.tamper("INSERT INTO migration (n, sha256, at_us) VALUES (9, '', 0)");
    let refused = open().err().unwrap();
    assert!(
        matches!(refused, CatalogError::Store(StoreError::MigrationChanged { .. } | StoreError::Newer { .. })),
        "{refused:?}"
    );
    test.tamper("DELETE FROM migration WHERE n = 1");
    let refused = open().err().unwrap();
    assert!(matches!(refused, CatalogError::Store(StoreError::Newer { .. })), "{refused:?}");
}
