//! Plans: what they must hold for any two folders, and what a server makes of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_catalog::*;

use crate::rig::{CatalogRig, CatalogTest, KEY, PRODUCTION, SeededEntropy, SqliteRig, content};

const ALL: PlanOptions = PlanOptions { prune: true, take_over: true, folder: None };

/// Few names, so that two folders have many in common.
fn folder() -> impl Strategy<Value = Vec<WantedObject>> {
    let kinds =
        [ObjectKind::Source, ObjectKind::Destination, ObjectKind::Sync, ObjectKind::Function, ObjectKind::Lookup];
    let object = (prop::sample::select(kinds.to_vec()), 0..6_u8, 0..3_u8, prop::option::of(0..6_u8), any::<bool>());
    prop::collection::vec(object, 0..14).prop_map(|objects| {
        let mut folder: BTreeMap<(ObjectKind, String), WantedObject> = BTreeMap::new();
        for (kind, name, value, named, labelled) in objects {
            let name = format!("n{name}");
            let mut spec = json!({ "value": value, "list": vec![value; usize::from(value)] });
            if let Some(named) = named {
                spec["source"] = json!(format!("n{named}"));
                spec["functions"] = json!([format!("n{named}")]);
                spec["lookups"] = json!([{ "lookup": format!("n{named}") }]);
            }
            let labels = if labelled { crate::rig::labels(&[("team", "web")]) } else { Labels::new() };
            folder.insert((kind, name.clone()), WantedObject { kind, name, was: None, labels, owner: None, spec });
        }
        folder.into_values().collect()
    })
}

/// What a folder is on a server, with some objects that nobody manages.
fn snapshot(folder: &[WantedObject], unmanaged: impl Fn(usize) -> bool) -> CatalogSnapshot {
    let mut snapshot = CatalogSnapshot { workspace: PRODUCTION.into(), revision: 0, objects: Vec::new() };
    let made = plan(&snapshot, folder, ALL);
    carry_out(&mut snapshot, &made);
    for (at, object) in snapshot.objects.iter_mut().enumerate() {
        if unmanaged(at) {
            object.managed_by = ManagedBy::Nobody;
        }
    }
    snapshot
}

/// A plan, carried out without a store.
fn carry_out(snapshot: &mut CatalogSnapshot, plan: &CatalogPlan) {
    assert_eq!(plan.problems, []);
    let entropy = SeededEntropy::new(snapshot.revision << 20);
    snapshot.revision += 1;
    let revision = snapshot.revision;
    for change in plan.changes.clone() {
        match change {
            PlannedChange::Create { content } => snapshot.objects.push(CatalogObject {
                id: ObjectId::new(content.kind, entropy.as_ref()),
                workspace: PRODUCTION.into(),
                content,
                created_at_us: 0,
                updated_at_us: 0,
                revision,
                managed_by: ManagedBy::Folder { applied_revision: revision, folder: ManagingFolder::Server },
                is_paused: false,
            }),
            PlannedChange::Update { id, content, .. } => {
                let object = snapshot.objects.iter_mut().find(|object| object.id == id).unwrap();
                object.content = content;
                object.revision = revision;
                object.managed_by = ManagedBy::Folder { applied_revision: revision, folder: ManagingFolder::Server };
            }
            PlannedChange::Delete { id, .. } => snapshot.objects.retain(|object| object.id != id),
        }
    }
    snapshot.objects.sort_by(|a, b| a.key().cmp(&b.key()));
    let keys: Vec<_> = snapshot.objects.iter().map(CatalogObject::key).collect();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

type Said = BTreeMap<(ObjectKind, String), (Labels, Value)>;

fn managed(snapshot: &CatalogSnapshot) -> Said {
    let managed = snapshot.objects.iter().filter(|object| object.is_managed());
    let said = |object: &CatalogObject| {
        let ObjectContent { kind, name, labels, spec, .. } = object.content.clone();
        ((kind, name), (labels, spec))
    };
    managed.map(said).collect()
}

fn said(folder: &[WantedObject]) -> Said {
    let said = |want: &WantedObject| ((want.kind, want.name.clone()), (want.labels.clone(), want.spec.clone()));
    folder.iter().map(said).collect()
}

fn names(plan: &CatalogPlan) -> Vec<(ObjectKind, String, bool)> {
    let name = |change: &PlannedChange| match change {
        PlannedChange::Create { content } | PlannedChange::Update { content, .. } => {
            (content.kind, content.name.clone(), false)
        }
        PlannedChange::Delete { kind, name, .. } => (*kind, name.clone(), true),
    };
    plan.changes.iter().map(name).collect()
}

/// Whether what is named names the other one, directly or through others.
fn reaches(contents: &[ObjectContent], from: &ObjectReference, to: &ObjectContent) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(reference) = open.pop() {
        if (reference.kind, &reference.name) == (to.kind, &to.name) {
            return true;
        }
        if seen.insert(reference.clone()) {
            let found = contents.iter().filter(|it| (it.kind, &it.name) == (reference.kind, &reference.name));
            open.extend(found.flat_map(references));
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_is_carried_out_gives_what_is_wanted_and_a_second_one_is_empty(a in folder(), b in folder(), mask in any::<u64>()) {
        let mut there = snapshot(&a, |at| mask >> (at % 64) & 1 == 1);
        let unmanaged: Vec<CatalogObject> = there.objects.iter().filter(|object| !object.is_managed()).cloned().collect();
        let made = plan(&there, &b, ALL);
        prop_assert_eq!(made.base_revision, there.revision);
        carry_out(&mut there, &made);
        prop_assert_eq!(managed(&there), said(&b));
        prop_assert!(plan(&there, &b, ALL).is_empty());
        prop_assert!(plan(&there, &b, PlanOptions::default()).is_empty());
        for object in unmanaged {
            prop_assert!(there.objects.iter().any(|it| it.id == object.id), "unmanaged and gone: {:?}", object);
        }
    }

    #[test]
    fn the_order_of_the_files_does_not_matter(a in folder(), b in folder().prop_flat_map(|b| (Just(b.clone()), Just(b).prop_shuffle()))) {
        let there = snapshot(&a, |at| at % 3 == 0);
        for options in [ALL, PlanOptions::default()] {
            prop_assert_eq!(plan(&there, &b.0, options), plan(&there, &b.1, options));
        }
    }

    #[test]
    fn without_prune_nothing_is_deleted_and_without_takeover_nothing_of_others_changes(a in folder(), b in folder()) {
        let there = snapshot(&a, |at| at % 2 == 0);
        let careful = plan(&there, &b, PlanOptions::default());
        prop_assert_eq!(careful.counts().2, 0);
        let unmanaged: Vec<&ObjectId> = there.objects.iter().filter(|it| !it.is_managed()).map(|it| &it.id).collect();
        for change in &careful.changes {
            let of_others = matches!(change, PlannedChange::Update { id, .. } if unmanaged.contains(&id));
            prop_assert!(!of_others, "{:?}", change);
        }
        let deleted: usize = plan(&there, &b, PlanOptions { prune: true, take_over: false, folder: None }).counts().2;
        prop_assert_eq!(deleted, careful.left.len());
    }

    #[test]
    fn what_is_named_comes_first_and_deletions_come_last(a in folder(), b in folder()) {
        let there = snapshot(&a, |_| false);
        let made = plan(&there, &b, ALL);
        let order = names(&made);
        let first_deletion = order.iter().position(|it| it.2).unwrap_or(order.len());
        prop_assert!(order[first_deletion..].iter().all(|it| it.2));
        let place = |kind: ObjectKind, name: &str, deleted: bool| {
            order.iter().position(|it| it.0 == kind && it.1 == name && it.2 == deleted)
        };
        let contents = |deleted: bool| -> Vec<ObjectContent> {
            if deleted {
                there.objects.iter().map(|object| object.content.clone()).collect()
            } else {
                b.iter().map(|want| content(want.kind, &want.name, want.spec.clone())).collect()
            }
        };
        for deleted in [false, true] {
            let contents = contents(deleted);
            for user in &contents {
                for named in references(user) {
                    if reaches(&contents, &named, user) {
                        // They name one another: no order is right.
                        continue;
                    }
                    let places = (place(user.kind, &user.name, deleted), place(named.kind, &named.name, deleted));
                    if let (Some(user), Some(named)) = places && user != named {
                        prop_assert_eq!(named < user, !deleted, "{:?}", order);
                    }
                }
            }
        }
    }
}

fn want(kind: ObjectKind, name: &str, was: Option<&str>, spec: Value) -> WantedObject {
    let was = was.map(str::to_owned);
    WantedObject { kind, name: name.into(), was, labels: Labels::new(), owner: None, spec }
}

#[test]
fn a_chain_of_renames_is_one_plan_and_done_once() {
    let source = |name, was, n: u8| want(ObjectKind::Source, name, was, json!({ "n": n }));
    let mut there = snapshot(&[source("a", None, 1), source("b", None, 2)], |_| false);
    let ids: Vec<ObjectId> = there.objects.iter().map(|object| object.id.clone()).collect();
    let wanted = [source("b", Some("a"), 1), source("c", Some("b"), 2)];
    let made = plan(&there, &wanted, ALL);
    assert_eq!(made.counts(), (0, 2, 0), "{made:?}");
    let PlannedChange::Update { fields, .. } = &made.changes[0] else { panic!("{made:?}") };
    assert_eq!((fields.len(), fields[0].path.as_str()), (1, "/name"));
    carry_out(&mut there, &made);
    let now: Vec<(&ObjectId, &str)> = there.objects.iter().map(|object| (&object.id, &*object.content.name)).collect();
    assert_eq!(now, [(&ids[0], "b"), (&ids[1], "c")]);
    assert!(plan(&there, &wanted, ALL).is_empty());
    // Somebody makes another `a`: it is theirs.
    let mut others = there.clone();
    others.objects.insert(
        0,
        CatalogObject {
            id: ObjectId::new(ObjectKind::Source, SeededEntropy::new(9).as_ref()),
            ..there.objects[0].clone()
        },
    );
    others.objects[0].content.name = "a".into();
    others.objects[0].managed_by = ManagedBy::Nobody;
    assert!(plan(&others, &wanted, ALL).is_empty());
    // Who is wanted as it is, is not renamed: the other one is new.
    let there = snapshot(&[source("b", None, 1)], |_| false);
    let copied = plan(&there, &[source("b", None, 1), source("c", Some("b"), 1)], ALL);
    assert_eq!(copied.counts(), (1, 0, 0), "{copied:?}");
    let circle = [source("a", Some("b"), 1), source("b", Some("a"), 2)];
    let there = snapshot(&[source("a", None, 1), source("b", None, 2)], |_| false);
    assert!(matches!(plan(&there, &circle, ALL).problems[..], [PlanProblem::Cycle(_)]));
    let twice = [source("a", None, 1), source("a", None, 2)];
    assert!(matches!(plan(&there, &twice, ALL).problems[..], [PlanProblem::Twice { .. }]));
}

#[test]
fn what_is_exported_plans_empty_and_secrets_are_in_no_folder() {
    let test = CatalogTest::open(SqliteRig::new().unwrap().store(), InstanceKey::new(KEY).into()).unwrap();
    test.made(ObjectKind::Secret, "s", json!({}));
    for n in 0..200 {
        let labelled = ObjectContent {
            labels: crate::rig::labels(&[("n", &n.to_string())]),
            ..content(ObjectKind::Source, &format!("s{n}"), json!({ "key": "secret:s", "n": [n, null, 0.1] }))
        };
        test.made_in(PRODUCTION, labelled);
    }
    let folder = exported(&test.snapshot());
    assert_eq!(folder.len(), 200);
    let text = serde_json::to_string(&folder).unwrap();
    let read: Vec<WantedObject> = serde_json::from_str(&text).unwrap();
    let taken = plan(&test.snapshot(), &read, ALL);
    let only_managed = |change: &PlannedChange| matches!(change, PlannedChange::Update { takes_over: true, fields, .. } if fields.is_empty());
    assert!(taken.problems.is_empty() && taken.changes.iter().all(only_managed), "{taken:?}");
    let entropy = SeededEntropy::new(1);
    let change = taken.change(Authority::Program, Actor::default(), test.tick(), entropy.as_ref()).unwrap();
    test.commit_change(&change).unwrap();
    assert!(plan(&test.snapshot(), &exported(&test.snapshot()), ALL).is_empty());
    for kind in [ObjectKind::Secret, ObjectKind::Token, ObjectKind::WriteKey] {
        let made = plan(&test.snapshot(), &[want(kind, "x", None, json!({}))], PlanOptions::default());
        assert!(matches!(&made.problems[..], [PlanProblem::NotOfFolder { .. }]), "{made:?}");
    }
}

#[test]
fn a_plan_is_applied_on_its_revision_or_not_at_all() {
    let test = CatalogTest::open(SqliteRig::new().unwrap().store(), InstanceKey::new(KEY).into()).unwrap();
    let source = |name, was, n: u8| want(ObjectKind::Source, name, was, json!({ "n": n }));
    let sync = |source: &str| {
        let spec = json!({ "source": source, "destination": "d", "functions": ["f"], "key": "secret:s" });
        want(ObjectKind::Sync, "s", None, spec)
    };
    let write = SecretWrite {
        workspace: PRODUCTION.into(),
        name: "s".into(),
        value: "v".to_owned().into(),
        authority: Authority::Program,
        actor: Actor::default(),
        at_us: test.tick(),
    };
    test.wait(test.catalog.set_secret(&write)).unwrap();
    let ends =
        || vec![want(ObjectKind::Destination, "d", None, json!({})), want(ObjectKind::Function, "f", None, json!({}))];
    let apply = |plan: &CatalogPlan| {
        let entropy = SeededEntropy::new(test.tick() as u64);
        let change = plan.change(Authority::Program, Actor::default(), test.tick(), entropy.as_ref());
        test.commit_change(&change.unwrap())
    };
    let first = [ends(), vec![source("a", None, 1), source("b", None, 2), sync("a")]].concat();
    let made = plan(&test.snapshot(), &first, PlanOptions::default());
    let (one, two) = (apply(&made), apply(&made));
    assert_eq!(one.unwrap().revision, 2);
    assert!(
        matches!(two, Err(CatalogError::Moved { expected: 1, found: 2 })),
        "of two applies at once one wins: {two:?}"
    );
    assert!(plan(&test.snapshot(), &first, PlanOptions::default()).is_empty());
    // A chain of renames with what names them, in one change.
    let second = [ends(), vec![source("b", Some("a"), 1), source("c", Some("b"), 2), sync("b")]].concat();
    apply(&plan(&test.snapshot(), &second, ALL)).unwrap();
    assert!(plan(&test.snapshot(), &second, ALL).is_empty());
    // Drift: seen, told, and undone.
    let id = test.snapshot().named(ObjectKind::Source, "b").unwrap().id.clone();
    let change = CatalogChange {
        origin: ChangeOrigin::Api { is_forced: true },
        ..CatalogChange::by_program(PRODUCTION, vec![test.respecified(&id, json!({ "n": 9 }))], test.tick())
    };
    test.commit_change(&change).unwrap();
    let made = plan(&test.snapshot(), &second, ALL);
    assert!(
        matches!(&made.changes[..], [PlannedChange::Update { had_drifted: true, takes_over: false, .. }]),
        "{made:?}"
    );
    apply(&made).unwrap();
    assert_eq!(test.get(&id).content.spec, json!({ "n": 1 }));
    // What a person made stands in the way until it is taken over, and is never deleted.
    test.made(ObjectKind::Source, "mine", json!({}));
    let third = [second.clone(), vec![source("mine", None, 1)]].concat();
    let made = plan(&test.snapshot(), &third, PlanOptions { prune: true, take_over: false, folder: None });
    assert!(matches!(&made.problems[..], [PlanProblem::NotManaged { name, .. }] if name == "mine"), "{made:?}");
    assert!(made.change(Authority::Program, Actor::default(), 0, SeededEntropy::new(0).as_ref()).is_none());
    let same = [second.clone(), vec![WantedObject { spec: json!({}), ..source("mine", None, 1) }]].concat();
    let made = plan(&test.snapshot(), &same, PlanOptions { prune: true, take_over: false, folder: None });
    assert!(made.is_empty(), "it says what is there already: {made:?}");
    assert!(plan(&test.snapshot(), &second, ALL).is_empty());
    apply(&plan(&test.snapshot(), &third, ALL)).unwrap();
    let made = plan(&test.snapshot(), &[], ALL);
    assert_eq!(made.counts(), (0, 0, 6));
    apply(&made).unwrap();
    assert_eq!(test.snapshot().objects.len(), 1, "the secret is nobody's");
    test.verified().unwrap();
}

#[test]
fn a_folder_neither_deletes_nor_changes_what_another_folder_made_unless_it_takes_it_over() {
    let object = |name: &str, folder: ManagingFolder| CatalogObject {
        id: ObjectId::parse(&format!("lkp_{name:0>20}")).unwrap(),
        workspace: PRODUCTION.to_owned(),
        content: content(ObjectKind::Lookup, name, json!({ "n": 1 })),
        created_at_us: 0,
        updated_at_us: 0,
        revision: 1,
        managed_by: ManagedBy::Folder { applied_revision: 1, folder },
        is_paused: false,
    };
    let objects = vec![object("a", ManagingFolder::Applied), object("s", ManagingFolder::Server)];
    let there = CatalogSnapshot { workspace: PRODUCTION.to_owned(), revision: 1, objects };
    let want = |name: &str, n: u64| WantedObject {
        kind: ObjectKind::Lookup,
        name: name.to_owned(),
        was: None,
        labels: Labels::new(),
        owner: None,
        spec: json!({ "n": n }),
    };
    let options = |take_over| PlanOptions { prune: true, take_over, folder: Some(ManagingFolder::Applied) };
    let pruned = plan(&there, &[], options(false));
    assert_eq!((pruned.counts(), pruned.problems.len()), ((0, 0, 1), 0));
    let same = plan(&there, &[want("a", 1), want("s", 1)], options(false));
    assert!(same.is_empty(), "the other folder says the same");
    let other = plan(&there, &[want("a", 1), want("s", 2)], options(false));
    assert!(matches!(&other.problems[..], [PlanProblem::OfOtherFolder { name, .. }] if name == "s"));
    let taken = plan(&there, &[want("a", 1), want("s", 2)], options(true));
    assert!(matches!(&taken.changes[..], [PlannedChange::Update { takes_over: true, .. }]), "{:?}", taken.changes);
    let change = taken.change(Authority::Program, Actor::default(), 1, SeededEntropy::new(1).as_ref());
    assert_eq!(change.map(|change| change.origin), Some(ChangeOrigin::Applied));
}
