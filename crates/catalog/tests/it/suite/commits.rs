//! Changes: all or nothing, each a revision.

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{KEY, PRODUCTION, content};

pub fn a_change_is_one_revision_with_versions_and_entries(test: &CatalogTest) {
    let (source, destination) = (
        test.create(ObjectKind::Source, "web", json!({ "kind": "http" })),
        test.create(ObjectKind::Destination, "warehouse", json!({ "kind": "sqlite" })),
    );
    let sync = test.create(ObjectKind::Sync, "web", json!({ "source": "web", "destination": "warehouse" }));
    // A sync before its ends: the change counts as a whole.
    let made = test.commit(vec![sync, source, destination]).unwrap();
    assert_eq!((made.revision, made.objects.len()), (1, 3));
    assert!(made.objects.iter().all(|object| object.revision == 1 && object.done == EditDone::Created));
    let id = &made.objects[1].id;
    let changed = test.commit(vec![test.respecified(id, json!({ "kind": "webhook" }))]).unwrap();
    assert_eq!((changed.revision, changed.objects[0].done), (2, EditDone::Updated));
    let object = test.get(id);
    assert_eq!((object.revision, object.content.spec), (2, json!({ "kind": "webhook" })));
    assert!(object.updated_at_us > object.created_at_us);
    // The content before it is kept, and each object of each change has an entry.
    assert_eq!(test.count("SELECT count(*) FROM version"), 4);
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE revision = 1"), 3);
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE revision = 2 AND action = 'updated'"), 1);
    let deleted = test.commit(vec![ObjectEdit::Delete { id: made.objects[0].id.clone(), expected: Some(1) }]).unwrap();
    assert_eq!((deleted.revision, deleted.objects[0].done), (3, EditDone::Deleted));
    assert_eq!(test.snapshot().objects.len(), 2);
    assert_eq!(test.verified().unwrap().entries, 5);
}

pub fn an_edit_for_another_revision_names_the_object_and_both(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({}));
    let stale = test.respecified(&id, json!({ "a": 1 }));
    test.commit(vec![test.respecified(&id, json!({ "a": 2 }))]).unwrap();
    match test.commit(vec![stale]) {
        Err(CatalogError::Conflict { kind: ObjectKind::Source, name, id: named, expected: 1, found: 2 }) => {
            assert_eq!((name.as_str(), named), ("web", id.clone()));
        }
        other => panic!("{other:?}"),
    }
    let whole = CatalogChange {
        expected_revision: Some(1),
        ..CatalogChange::by_program(PRODUCTION, vec![test.respecified(&id, json!({}))], test.tick())
    };
    let refused = test.commit_change(&whole);
    assert!(matches!(refused, Err(CatalogError::Moved { expected: 1, found: 2 })), "{refused:?}");
    assert_eq!(test.get(&id).content.spec, json!({ "a": 2 }));
}

pub fn one_bad_edit_of_many_leaves_everything_as_it_was(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({}));
    let (before, entries) = (test.snapshot(), test.count("SELECT count(*) FROM audit"));
    let good = || vec![test.create(ObjectKind::Source, "app", json!({})), test.respecified(&id, json!({ "a": 1 }))];
    let absent = test.catalog.new_id(ObjectKind::Source);
    let bad = [
        test.create(ObjectKind::Source, "web", json!({})),
        test.create(ObjectKind::Source, "app", json!({})),
        test.create(ObjectKind::Source, "a\nb", json!({})),
        test.create(ObjectKind::User, "ann", json!({})),
        test.create(ObjectKind::Role, "admin", json!({})),
        test.create(ObjectKind::Role, "mine", json!({ "acces": [] })),
        test.create(ObjectKind::WriteKey, "key", json!({ "source": "web" })),
        ObjectEdit::Create { id: absent.clone(), content: content(ObjectKind::Lookup, "l", json!({})) },
        ObjectEdit::Delete { id: absent, expected: None },
        ObjectEdit::Delete { id: id.clone(), expected: None },
    ];
    for edit in bad {
        let shown = format!("{edit:?}");
        let refused = test.commit([good(), vec![edit]].concat());
        assert!(refused.is_err(), "{shown}");
        assert_eq!(test.snapshot(), before, "{shown}");
    }
    let names: Vec<String> = (0..1_001).map(|n| format!("secret:s{n}")).collect();
    let many = test.commit(vec![test.create(ObjectKind::Lookup, "many", json!({ "names": names }))]);
    assert!(matches!(many, Err(CatalogError::TooMany { found: 1_001, .. })), "{many:?}");
    assert_eq!(test.count("SELECT count(*) FROM audit"), entries);
    assert_eq!(test.count("SELECT count(*) FROM version"), 1);
    assert_eq!(test.commit(good()).unwrap().revision, 2);
}

pub fn names_change_hands_within_one_change(test: &CatalogTest) {
    let (a, b) =
        (test.made(ObjectKind::Source, "a", json!({ "is": "a" })), test.made(ObjectKind::Source, "b", json!({})));
    let renamed = |id: &ObjectId, name: &str| {
        let object = test.get(id);
        let content = ObjectContent { name: name.to_owned(), ..object.content };
        ObjectEdit::Update { id: id.clone(), expected: Some(object.revision), content }
    };
    test.commit(vec![renamed(&a, "b"), renamed(&b, "c")]).unwrap();
    assert_eq!((test.get(&a).content.name, test.get(&b).content.name), ("b".into(), "c".into()));
    test.commit(vec![renamed(&a, "c"), renamed(&b, "b")]).unwrap();
    assert_eq!((test.get(&a).content.name, test.get(&b).content.name), ("c".into(), "b".into()));
    // The name of what is deleted is free in the same change.
    test.commit(vec![ObjectEdit::Delete { id: b, expected: None }, renamed(&a, "b")]).unwrap();
    assert_eq!(test.snapshot().objects.len(), 1);
    let taken = test
        .commit(vec![test.create(ObjectKind::Source, "x", json!({})), test.create(ObjectKind::Source, "x", json!({}))]);
    assert!(matches!(taken, Err(CatalogError::NameTaken { .. })), "{taken:?}");
    test.commit(vec![test.create(ObjectKind::Destination, "b", json!({}))]).unwrap();
}

pub fn what_is_named_stays_and_what_is_not_there_is_not_named(test: &CatalogTest) {
    let web = test.made(ObjectKind::Source, "web", json!({}));
    let warehouse = test.made(ObjectKind::Destination, "warehouse", json!({}));
    let spec = |source: &str| json!({ "source": source, "destination": "warehouse" });
    let dangling = test.commit(vec![test.create(ObjectKind::Sync, "s", spec("app"))]);
    assert!(
        matches!(&dangling, Err(CatalogError::Dangling { of_kind: ObjectKind::Source, of_name, .. }) if of_name == "app"),
        "{dangling:?}"
    );
    let secret = test.commit(vec![test.create(ObjectKind::Lookup, "l", json!({ "deep": [{ "key": "secret:none" }] }))]);
    assert!(matches!(secret, Err(CatalogError::Dangling { of_kind: ObjectKind::Secret, .. })), "{secret:?}");
    let sync = test.made(ObjectKind::Sync, "s", spec("web"));
    let gone = test.commit(vec![ObjectEdit::Delete { id: web.clone(), expected: None }]);
    assert!(matches!(&gone, Err(CatalogError::InUse { by, .. }) if by == "the sync \"s\""), "{gone:?}");
    let mut still = spec("web");
    still["filter"] = json!({});
    let both = vec![ObjectEdit::Delete { id: web.clone(), expected: None }, test.respecified(&sync, still)];
    let both = test.commit(both);
    assert!(matches!(both, Err(CatalogError::Dangling { of_kind: ObjectKind::Source, .. })), "{both:?}");
    let mut renamed = test.get(&web).content;
    renamed.name = "site".into();
    let rename = ObjectEdit::Update { id: web.clone(), expected: None, content: renamed };
    assert!(matches!(test.commit(vec![rename.clone()]), Err(CatalogError::InUse { .. })));
    test.commit(vec![rename, test.respecified(&sync, spec("site"))]).unwrap();
    let all = [web, warehouse, sync].map(|id| ObjectEdit::Delete { id, expected: None });
    test.commit(all.to_vec()).unwrap();
    assert_eq!(test.count("SELECT count(*) FROM reference"), 0);
}

pub fn a_dry_run_says_what_would_be_and_changes_nothing(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({}));
    let edits = vec![test.respecified(&id, json!({ "a": 1 })), test.create(ObjectKind::Source, "app", json!({}))];
    let change = CatalogChange::by_program(PRODUCTION, edits, test.tick());
    let would = test.wait(test.catalog.dry_run(&change)).unwrap();
    assert_eq!((test.wait(test.catalog.revision()).unwrap(), test.snapshot().objects.len()), (1, 1));
    assert_eq!(test.count("SELECT count(*) FROM audit"), 1);
    assert_eq!(test.commit_change(&change).unwrap(), would);
}

pub fn a_request_that_comes_again_gets_the_first_answer(test: &CatalogTest) {
    let edits = vec![test.create(ObjectKind::Source, "web", json!({}))];
    let key = |sha: u8| Some(IdempotencyKey { key: "k1".into(), request_sha256: [sha; 32] });
    let first = CatalogChange { idempotency: key(1), ..CatalogChange::by_program(PRODUCTION, edits, test.tick()) };
    let answer = test.commit_change(&first).unwrap();
    // Another process would have made another id for it.
    let edits = vec![test.create(ObjectKind::Source, "web", json!({}))];
    let again = CatalogChange { edits, at_us: test.tick(), ..first.clone() };
    assert_eq!(test.commit_change(&again).unwrap(), Committed { is_repeated: true, ..answer.clone() });
    let other = CatalogChange { idempotency: key(2), ..again.clone() };
    assert!(matches!(test.commit_change(&other), Err(CatalogError::OtherRequest { key }) if key == "k1"));
    // A failed request is not an answer: it may be mended under its key.
    let broken =
        CatalogChange { idempotency: Some(IdempotencyKey { key: "k2".into(), request_sha256: [3; 32] }), ..again };
    assert!(matches!(test.commit_change(&broken), Err(CatalogError::NameTaken { .. })));
    assert_eq!(test.count("SELECT count(*) FROM idempotency"), 1);
    let day_later = CatalogChange { at_us: first.at_us + 25 * 3_600 * 1_000_000, ..first };
    assert!(test.commit_change(&day_later).is_err(), "after a day the key is a new one, and the name is taken");
}

pub fn saying_the_same_again_makes_no_revision(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({ "a": [1, { "b": 2 }] }));
    let same = test.commit(vec![test.respecified(&id, json!({ "a": [1, { "b": 2 }] }))]).unwrap();
    assert_eq!((same.revision, same.objects[0].done, same.objects[0].revision), (1, EditDone::Unchanged, 1));
    assert_eq!((test.count("SELECT count(*) FROM version"), test.count("SELECT count(*) FROM audit")), (1, 1));
}

pub fn of_writers_with_one_expected_revision_one_wins(test: &CatalogTest) {
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 0 }));
    for round in 1..=10 {
        let edit = |writer| test.respecified(&id, json!({ "n": round, "by": writer }));
        let edits: Vec<ObjectEdit> = (0..8).map(edit).collect();
        let writers: Vec<_> = edits
            .into_iter()
            .map(|edit| {
                let change = CatalogChange::by_program(PRODUCTION, vec![edit], test.tick());
                let catalog = std::sync::Arc::clone(&test.catalog);
                test.runtime.spawn(async move { catalog.commit(&change).await })
            })
            .collect();
        let ended: Vec<_> = writers.into_iter().map(|writer| test.wait(writer).unwrap()).collect();
        let won = ended.iter().filter(|end| end.is_ok()).count();
        assert_eq!(won, 1, "{ended:?}");
        let lost = ended.iter().filter(|end| matches!(end, Err(CatalogError::Conflict { .. }))).count();
        assert_eq!(lost, 7, "{ended:?}");
    }
    assert_eq!(test.wait(test.catalog.revision()).unwrap(), 11);
    test.verified().unwrap();
}

pub fn nodes_that_share_a_store_take_turns(test: &CatalogTest) {
    let other = CatalogTest::open(test.other.clone().unwrap(), InstanceKey::new(KEY).into()).unwrap();
    let nodes = [&test.catalog, &other.catalog];
    let writers: Vec<_> = (0..60)
        .map(|n| {
            let catalog = std::sync::Arc::clone(nodes[n % 2]);
            let edit = test.create(ObjectKind::Source, &format!("s{n}"), json!({}));
            let change = CatalogChange::by_program(PRODUCTION, vec![edit], test.tick());
            test.runtime.spawn(async move { catalog.commit(&change).await })
        })
        .collect();
    let mut revisions: Vec<u64> =
        writers.into_iter().map(|writer| test.wait(writer).unwrap().unwrap().revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=60).collect::<Vec<u64>>());
    assert_eq!(other.snapshot(), test.snapshot());
    assert_eq!(other.verified().unwrap().entries, 60);
}

pub fn a_transaction_that_is_dropped_changes_nothing(test: &CatalogTest) {
    test.made(ObjectKind::Source, "web", json!({}));
    test.wait(async {
        let mut transaction = test.store.begin(StoreAccess::Write).await.unwrap();
        transaction.run("UPDATE head SET revision = $1", vec![StoreCell::Integer(7)]).await.unwrap();
        transaction.run_each("INSERT INTO no_such_table VALUES ($1)", vec![vec![StoreCell::Null]]).await.unwrap_err();
        transaction.commit().await.unwrap_err();
    });
    assert_eq!(test.wait(test.catalog.revision()).unwrap(), 1, "of a failed statement nothing is left");
    for commits in [false, true] {
        test.wait(async {
            let mut transaction = test.store.begin(StoreAccess::Write).await.unwrap();
            transaction.run("UPDATE head SET revision = $1", vec![StoreCell::Integer(7)]).await.unwrap();
            let failed = transaction.run("SELECT no_such_column FROM head", Vec::new()).await;
            assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
            drop(transaction);
            // The next one begins at once and sees what was committed.
            let mut transaction = test.store.begin(StoreAccess::Write).await.unwrap();
            let seen = transaction.run("SELECT revision FROM head", Vec::new()).await.unwrap();
            assert_eq!(seen, [StoredRow(vec![StoreCell::Integer(1)])]);
            if commits {
                transaction.commit().await.unwrap();
            }
        });
    }
    // A future that is dropped while it waits for an answer.
    let edits = (0..50).map(|n| test.create(ObjectKind::Source, &format!("s{n}"), json!({}))).collect();
    let change = CatalogChange::by_program(PRODUCTION, edits, test.tick());
    for polls in 0..40 {
        test.wait(async {
            let mut commit = Box::pin(test.catalog.commit(&change));
            for _ in 0..polls {
                if futures_util::future::select(&mut commit, Box::pin(tokio::task::yield_now())).await.is_ready() {
                    break;
                }
            }
        });
        let seen = test.snapshot().objects.len();
        assert!([1, 51].contains(&seen), "{seen} objects after {polls} polls");
        if seen == 51 {
            break;
        }
    }
    test.verified().unwrap();
    test.made(ObjectKind::Source, "app", json!({}));
}

/// Whether the first of two futures was the one that ended.
trait EndedFirst {
    fn is_ready(&self) -> bool;
}

impl<A, B> EndedFirst for futures_util::future::Either<A, B> {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Left(_))
    }
}

pub fn what_a_folder_manages_is_read_only_until_forced_or_released(test: &CatalogTest) {
    let create = test.create(ObjectKind::Source, "web", json!({ "a": 1 }));
    let folder = |edits| CatalogChange {
        origin: ChangeOrigin::Folder,
        ..CatalogChange::by_program(PRODUCTION, edits, test.tick())
    };
    let id = test.commit_change(&folder(vec![create])).unwrap().objects[0].id.clone();
    assert_eq!(test.get(&id).managed_by, ManagedBy::Folder { applied_revision: 1, folder: ManagingFolder::Server });
    let edit = || test.respecified(&id, json!({ "a": 2 }));
    assert!(matches!(test.commit(vec![edit()]), Err(CatalogError::Managed { .. })));
    let delete = ObjectEdit::Delete { id: id.clone(), expected: None };
    assert!(matches!(test.commit(vec![delete]), Err(CatalogError::Managed { .. })));
    let forced = CatalogChange {
        origin: ChangeOrigin::Api { is_forced: true },
        ..CatalogChange::by_program(PRODUCTION, vec![edit()], test.tick())
    };
    test.commit_change(&forced).unwrap();
    assert!(test.get(&id).is_drifted());
    // What the folder says again settles it, even if that is what it is by now.
    test.commit_change(&folder(vec![edit()])).unwrap();
    assert!(!test.get(&id).is_drifted() && test.get(&id).is_managed());
    let release = || ObjectEdit::Release { id: id.clone(), expected: None };
    assert_eq!(test.commit(vec![release()]).unwrap().objects[0].done, EditDone::Updated);
    assert_eq!(test.commit(vec![release()]).unwrap().objects[0].done, EditDone::Unchanged);
    test.commit(vec![test.respecified(&id, json!({ "a": 3 }))]).unwrap();
    test.commit(vec![ObjectEdit::Adopt { id: id.clone(), expected: None }]).unwrap();
    assert!(test.get(&id).is_managed() && !test.get(&id).is_drifted());
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE action IN ('adopted', 'released')"), 2);
}

pub fn a_pause_is_in_no_file_and_makes_no_drift(test: &CatalogTest) {
    let create = test.create(ObjectKind::Source, "web", json!({ "a": 1 }));
    let folder = |edits| CatalogChange {
        origin: ChangeOrigin::Folder,
        ..CatalogChange::by_program(PRODUCTION, edits, test.tick())
    };
    let id = test.commit_change(&folder(vec![create])).unwrap().objects[0].id.clone();
    let pause = |is_paused| vec![ObjectEdit::Pause { id: id.clone(), expected: None, is_paused }];
    assert_eq!(test.commit(pause(true)).unwrap().objects[0].done, EditDone::Updated);
    let paused = test.get(&id);
    assert!(paused.is_paused && paused.is_managed() && !paused.is_drifted(), "{paused:?}");
    assert_eq!(test.commit(pause(true)).unwrap().objects[0].done, EditDone::Unchanged);
    assert!(test.snapshot().named(ObjectKind::Source, "web").unwrap().is_paused);
    // What the folder says anew leaves it as it is.
    test.commit_change(&folder(vec![test.respecified(&id, json!({ "a": 2 }))])).unwrap();
    assert!(test.get(&id).is_paused);
    test.commit(pause(false)).unwrap();
    assert!(!test.get(&id).is_paused && !test.get(&id).is_drifted());
    // One that has drifted stays so.
    let forced = CatalogChange {
        origin: ChangeOrigin::Api { is_forced: true },
        ..CatalogChange::by_program(PRODUCTION, vec![test.respecified(&id, json!({ "a": 3 }))], test.tick())
    };
    test.commit_change(&forced).unwrap();
    test.commit(pause(true)).unwrap();
    assert!(test.get(&id).is_paused && test.get(&id).is_drifted());
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE action IN ('paused', 'resumed')"), 3);
    let history = test.wait(test.catalog.history(PRODUCTION, &id, None, 10)).unwrap().versions;
    let paused: Vec<bool> = history.iter().map(|version| version.object.is_paused).collect();
    assert_eq!(paused, [true, false, false, true, true, false]);
    let other = test.made(ObjectKind::Function, "clean", json!({}));
    let refused = test.commit(vec![ObjectEdit::Pause { id: other, expected: None, is_paused: true }]);
    assert!(matches!(refused, Err(CatalogError::Content { .. })), "{refused:?}");
}

pub fn many_edits_at_once_are_one_revision(test: &CatalogTest) {
    let edits: Vec<ObjectEdit> = (0..2_000)
        .map(|n| test.create(ObjectKind::Source, &format!("source {n}"), json!({ "n": n })))
        .chain((0..2_000).map(|n| {
            let spec = json!({ "source": format!("source {n}"), "destination": "warehouse" });
            test.create(ObjectKind::Sync, &format!("sync {n}"), spec)
        }))
        .chain([test.create(ObjectKind::Destination, "warehouse", json!({}))])
        .collect();
    let made = test.commit(edits).unwrap();
    assert_eq!((made.revision, made.objects.len()), (1, 4_001));
    let snapshot = test.snapshot();
    assert_eq!(snapshot.objects.len(), 4_001);
    assert_eq!(snapshot.named(ObjectKind::Source, "source 1234").unwrap().content.spec, json!({ "n": 1234 }));
    assert_eq!(test.verified().unwrap().entries, 4_001);
}
