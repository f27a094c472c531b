//! Secrets: sealed in the store, revealed to whom it is granted.

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{KEY, PRODUCTION};

fn write(test: &CatalogTest, name: &str, value: &str) -> SecretWrite {
    SecretWrite {
        workspace: PRODUCTION.into(),
        name: name.into(),
        value: value.to_owned().into(),
        authority: Authority::Program,
        actor: Actor::default(),
        at_us: test.tick(),
    }
}

fn set(test: &CatalogTest, name: &str, value: &str) -> Committed {
    test.wait(test.catalog.set_secret(&write(test, name, value))).unwrap()
}

fn read(test: &CatalogTest, name: &str) -> String {
    test.wait(test.catalog.secret(PRODUCTION, name)).unwrap().expose_text().unwrap().to_owned()
}

pub fn a_secret_is_sealed_and_read_by_reference(test: &CatalogTest) {
    let first = set(test, "db", "hunter2-one");
    let id = first.objects[0].id.clone();
    assert_eq!(read(test, "db"), "hunter2-one");
    let print = |spec: &serde_json::Value| spec["fingerprint"].as_str().unwrap().to_owned();
    let one = test.get(&id);
    assert_eq!(one.content.spec["version"], 1);
    assert_eq!(set(test, "db", "hunter2-one").objects[0].done, EditDone::Unchanged);
    set(test, "db", "hunter2-two");
    let two = test.get(&id);
    assert_eq!(two.content.spec["version"], 2);
    assert_ne!(print(&one.content.spec), print(&two.content.spec));
    set(test, "other", "hunter2-one");
    let other = test.wait(test.catalog.find(PRODUCTION, ObjectKind::Secret, "other")).unwrap().unwrap();
    assert_eq!(print(&one.content.spec), print(&other.content.spec), "the same value is told by its fingerprint");
    assert_eq!(read(test, "db"), "hunter2-two");
    for table in ["version", "audit", "secret"] {
        for row in test.rows(&format!("SELECT * FROM {table}")) {
            assert!(!format!("{row:?}").contains("hunter2"), "{table}: {row:?}");
            let holds = |cell: &StoreCell| matches!(cell, StoreCell::Bytes(bytes) if bytes.windows(7).any(|it| it == b"hunter2"));
            assert!(!row.0.iter().any(holds), "{table}");
        }
    }
    assert!(!format!("{:?}", write(test, "db", "hunter2")).contains("hunter2"));
    let mut renamed = two.content.clone();
    renamed.name = "database".into();
    let rename = test.commit(vec![ObjectEdit::Update { id: id.clone(), expected: None, content: renamed }]);
    assert!(matches!(rename, Err(CatalogError::Content { .. })), "{rename:?}");
    test.commit(vec![ObjectEdit::Delete { id, expected: None }]).unwrap();
    assert!(matches!(test.wait(test.catalog.secret(PRODUCTION, "db")), Err(CatalogError::Nothing { .. })));
    assert_eq!(test.count("SELECT count(*) FROM secret"), 1);
}

pub fn revealing_needs_its_grant_and_is_in_the_log(test: &CatalogTest) {
    set(test, "db", "hunter2");
    let spec = json!({
        "access": [{ "level": "view", "on": { "kind": "secret" } }],
        "reveal": [{ "kind": "secret" }],
    });
    test.made(ObjectKind::Role, "keeper", spec);
    let keeper = test.person("kim", &[(PRODUCTION, "keeper")]);
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let reveal =
        |by: &ObjectId| test.wait(test.catalog.reveal_secret(by, &Actor::default(), test.tick(), (PRODUCTION, "db")));
    assert_eq!(reveal(&keeper).unwrap().expose(), b"hunter2");
    let denied = reveal(&editor);
    assert!(matches!(&denied, Err(CatalogError::Denied(denial)) if denial.status() == 403), "{denied:?}");
    let told = test.rows("SELECT result FROM audit WHERE action = 'revealed' ORDER BY seq");
    assert_eq!(told.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), ["done", "denied"]);
}

pub fn another_instance_key_seals_anew_and_a_wrong_one_opens_nothing(test: &CatalogTest) {
    for n in 0..20 {
        set(test, &format!("s{n}"), &format!("value {n}"));
    }
    test.made(ObjectKind::Source, "web", json!({}));
    let open = |keys: InstanceKeys| CatalogTest::open(std::sync::Arc::clone(&test.store), keys);
    let (old, new) = (InstanceKey::new(KEY), InstanceKey::new([7; 32]));
    let refused = open(new.clone().into()).err().unwrap();
    assert!(matches!(refused, CatalogError::Seal(SealError::UnknownKey { .. })), "{refused:?}");
    let both = open(InstanceKeys { current: new.clone(), earlier: vec![old.clone()] }).unwrap();
    assert_eq!(read(&both, "s3"), "value 3");
    assert_eq!(both.wait(both.catalog.reseal(&Actor::default(), both.tick())).unwrap(), 20);
    assert_eq!(both.wait(both.catalog.reseal(&Actor::default(), both.tick())).unwrap(), 0);
    let alone = open(new.into()).unwrap();
    for n in 0..20 {
        assert_eq!(read(&alone, &format!("s{n}")), format!("value {n}"));
    }
    // What was hashed under the catalog's own key counts as before.
    alone.verified().unwrap();
    assert_eq!(set(&alone, "s1", "value 1").objects[0].done, EditDone::Unchanged);
    assert!(matches!(open(old.into()).err().unwrap(), CatalogError::Seal(SealError::UnknownKey { .. })));
}

pub fn a_row_that_is_moved_does_not_open(test: &CatalogTest) {
    set(test, "a", "of a");
    set(test, "b", "of b");
    test.tamper("UPDATE secret SET sealed = (SELECT s.sealed FROM secret s WHERE s.name = 'a') WHERE name = 'b'");
    let refused = test.wait(test.catalog.secret(PRODUCTION, "b"));
    assert!(matches!(refused, Err(CatalogError::Seal(SealError::Changed { .. }))), "{refused:?}");
    assert_eq!(read(test, "a"), "of a");
    set(test, "b", "anew");
    assert_eq!(read(test, "b"), "anew");
    test.tamper("UPDATE secret SET workspace = 'staging' WHERE name = 'a'");
    assert!(test.wait(test.catalog.secret("staging", "a")).is_err());
}

pub fn where_a_secret_is_used_is_told(test: &CatalogTest) {
    set(test, "db", "hunter2");
    test.made(ObjectKind::Destination, "warehouse", json!({ "password": "secret:db" }));
    let lookup = test.made(ObjectKind::Lookup, "plans", json!({ "from": [{ "key": "secret:db" }] }));
    let users = || {
        let users = test.wait(test.catalog.used_by(PRODUCTION, ObjectKind::Secret, "db")).unwrap();
        users.into_iter().map(|object| object.content.name).collect::<Vec<_>>()
    };
    assert_eq!(users(), ["plans", "warehouse"]);
    let id = test.wait(test.catalog.find(PRODUCTION, ObjectKind::Secret, "db")).unwrap().unwrap().id;
    let delete = || vec![ObjectEdit::Delete { id: id.clone(), expected: None }];
    assert!(matches!(test.commit(delete()), Err(CatalogError::InUse { .. })));
    test.commit(vec![test.respecified(&lookup, json!({}))]).unwrap();
    assert_eq!(users(), ["warehouse"]);
}
