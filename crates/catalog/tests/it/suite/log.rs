//! The audit log: whole, or the first break is named.

use serde_json::{Value, json};
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{PRODUCTION, SECOND_US};

fn actor(address: &str) -> Actor {
    Actor {
        address: Some(address.into()),
        agent: Some("curl/8\n\0".into()),
        request: Some("r1".into()),
        ..Actor::default()
    }
}

/// Changes and a record, each with an address: entries 1 to `count`.
fn filled(test: &CatalogTest, count: u64) {
    for n in 1..count {
        let name = format!("s{}", test.tick());
        let edit = test.create(ObjectKind::Source, &name, json!({ "n": n }));
        let change = CatalogChange::by_program(PRODUCTION, vec![edit], test.tick());
        test.commit_change(&CatalogChange { actor: actor("203.0.113.9"), ..change }).unwrap();
    }
    let record = AuditRecord {
        workspace: SERVER_WORKSPACE.into(),
        action: "signed_in".into(),
        kind: Some(ObjectKind::User),
        object: None,
        name: Some("ann".into()),
        result: AuditResult::Denied,
        revision: None,
        detail: json!({ "with": "password" }),
    };
    test.wait(test.catalog.record(&actor("203.0.113.9"), test.tick(), record)).unwrap();
}

pub fn every_alteration_is_found(test: &CatalogTest) {
    filled(test, 6);
    assert_eq!(test.verified().unwrap().entries, 6);
    let alterations = [
        ("at_us = at_us + 1", "its hash"),
        ("workspace = 'staging'", "its hash"),
        ("principal = 'usr_x'", "its hash"),
        ("principal = ''", "its hash"),
        ("token = 'tok_x'", "its hash"),
        ("action = 'viewed'", "its hash"),
        ("kind = NULL", "its hash"),
        ("object = 'src_x'", "its hash"),
        ("name = 'x'", "its hash"),
        ("result = 'failed'", "its hash"),
        ("revision = 99", "its hash"),
        ("request = 'r2'", "its hash"),
        ("agent = NULL", "its hash"),
        ("detail = '{}'", "its hash"),
        ("address = '198.51.100.1'", "its address"),
        ("address_hash = NULL", "its hash"),
        ("hash = (SELECT hash FROM audit WHERE seq = 2)", "its hash"),
    ];
    let columns = "at_us, workspace, principal, token, action, kind, object, name, result, revision, request, agent, \
         detail, address, address_hash, hash";
    test.tamper("CREATE TABLE kept AS SELECT * FROM audit");
    for (alteration, what) in alterations {
        test.tamper(&format!("UPDATE audit SET {alteration} WHERE seq = 4"));
        let found = test.verified().unwrap_err();
        assert!(found.seq == 4 && found.what.starts_with(what), "{alteration}: {found}");
        for column in columns.split(", ") {
            test.tamper(&format!(
                "UPDATE audit SET {column} = (SELECT k.{column} FROM kept k WHERE k.seq = audit.seq)"
            ));
        }
        test.verified().unwrap();
    }
    // Two entries that change places, one that is taken out, one that is added.
    test.tamper("UPDATE audit SET seq = 100 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 100");
    assert_eq!(test.verified().unwrap_err().seq, 3);
    test.tamper("UPDATE audit SET seq = 100 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 100");
    test.verified().unwrap();
    test.tamper("DELETE FROM audit WHERE seq = 1");
    assert_eq!(test.verified().unwrap_err(), AuditBreak { seq: 1, what: "it is missing" });
    test.tamper("INSERT INTO audit SELECT * FROM kept WHERE seq = 1; DELETE FROM audit WHERE seq = 6");
    assert_eq!(test.verified().unwrap_err().what, "the head of the log names another last entry");
    test.tamper("INSERT INTO audit SELECT * FROM kept WHERE seq = 6");
    test.verified().unwrap();
}

pub fn a_cut_tail_shows_against_a_checkpoint(test: &CatalogTest) {
    filled(test, 5);
    let checkpoint = test.wait(test.catalog.audit_checkpoint(7)).unwrap();
    assert_eq!((checkpoint.seq, checkpoint.at_us), (5, 7));
    let verified = |checkpoints: &[AuditCheckpoint]| test.wait(test.catalog.verify_audit(0, checkpoints)).unwrap();
    filled(test, 1);
    assert_eq!(verified(std::slice::from_ref(&checkpoint)).unwrap().entries, 6);
    // Whoever cuts the tail and the head together leaves a log that is whole by itself.
    test.tamper(
        "DELETE FROM audit WHERE seq > 3; UPDATE head SET audit_seq = 3, audit_hash = (SELECT hash FROM audit WHERE seq = 3)",
    );
    verified(&[]).unwrap();
    let found = verified(std::slice::from_ref(&checkpoint)).unwrap_err();
    assert_eq!((found.seq, found.what), (4, "a checkpoint knows of it, and it is missing"));
    // And whoever then writes another end, with the key itself.
    filled(test, 1);
    filled(test, 1);
    let found = verified(&[checkpoint]).unwrap_err();
    assert_eq!((found.seq, found.what), (5, "a checkpoint has another hash for it"));
}

pub fn a_purge_is_an_entry_and_the_rest_verifies(test: &CatalogTest) {
    filled(test, 10);
    let ages: Vec<i64> =
        test.rows("SELECT at_us FROM audit ORDER BY seq").iter().map(|row| row.integer(0).unwrap()).collect();
    let purge = |before| test.wait(test.catalog.purge_audit(&actor("192.0.2.1"), test.tick(), before)).unwrap();
    assert_eq!(purge(ages[0]), 0);
    assert_eq!(purge(ages[4]), 4);
    assert_eq!(test.verified().unwrap().entries, 7, "six that are left and the one about the purge");
    assert_eq!(test.verified().unwrap().head.seq, 11);
    assert_eq!(purge(ages[7]), 3);
    test.verified().unwrap();
    // Nobody purges past the log.
    test.tamper("DELETE FROM audit WHERE seq = 8");
    assert_eq!(test.verified().unwrap_err(), AuditBreak { seq: 8, what: "it is missing" });
    assert_eq!(purge(i64::MAX), 4);
    assert_eq!(test.verified().unwrap().entries, 1);
    filled(test, 3);
    assert_eq!(test.verified().unwrap().entries, 4);
}

pub fn addresses_can_be_erased(test: &CatalogTest) {
    filled(test, 4);
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE address IS NOT NULL"), 4);
    let last = test.count("SELECT max(at_us) FROM audit");
    let by = actor("192.0.2.1");
    test.wait(test.catalog.erase_addresses(&by, test.tick(), last)).unwrap();
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE address IS NOT NULL"), 2, "the last one, and who erased");
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE action = 'addresses_erased'"), 1);
    test.verified().unwrap();
}

pub fn entries_are_filtered_paged_and_exported(test: &CatalogTest) {
    filled(test, 8);
    let id = test.made(ObjectKind::Lookup, "l", json!({}));
    let page = |filter: &AuditFilter, before, limit| test.wait(test.catalog.audit(filter, before, limit)).unwrap();
    let seqs = |page: &AuditPage| page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let all = AuditFilter::default();
    let first = page(&all, None, 5);
    assert_eq!((seqs(&first), first.next), (vec![9, 8, 7, 6, 5], Some(5)));
    let second = page(&all, first.next, 5);
    assert_eq!((seqs(&second), second.next), (vec![4, 3, 2, 1], None));
    let filters = [
        (AuditFilter { workspace: Some(SERVER_WORKSPACE.into()), ..all.clone() }, vec![8]),
        (AuditFilter { result: Some(AuditResult::Denied), ..all.clone() }, vec![8]),
        (AuditFilter { kind: Some(ObjectKind::Lookup), action: Some("created".into()), ..all.clone() }, vec![9]),
        (AuditFilter { object: Some(id.clone()), ..all.clone() }, vec![9]),
        (AuditFilter { principal: Some(id), ..all.clone() }, vec![]),
    ];
    for (filter, expected) in filters {
        assert_eq!(seqs(&page(&filter, None, 100)), expected, "{filter:?}");
    }
    let third = first.entries.iter().find(|entry| entry.seq == 5).unwrap().at_us;
    let since = AuditFilter { since_us: Some(third), until_us: Some(third + 2 * SECOND_US), ..all.clone() };
    assert_eq!(seqs(&page(&since, None, 100)).last(), Some(&5));
    let (lines, next) = test.wait(test.catalog.export_audit(&all, None, 6)).unwrap();
    let (rest, end) = test.wait(test.catalog.export_audit(&all, next, 6)).unwrap();
    let lines: Vec<Value> = (lines + &rest).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), end), (9, None));
    assert_eq!(lines[0]["agent"], "curl/8", "no control characters");
    assert_eq!(lines[0]["detail"]["fields"][1]["path"], "/name");
    assert_eq!(lines[7]["result"], "denied");
}

pub fn secrets_in_specs_are_masked(test: &CatalogTest) {
    let spec = |password: &str| json!({ "password": password, "headers": { "Authorization": password }, "host": "db" });
    let id = test.made(ObjectKind::Destination, "d", spec("hunter2-one"));
    test.commit(vec![test.respecified(&id, spec("hunter2-two"))]).unwrap();
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let change =
        CatalogChange::by(&editor, PRODUCTION, vec![test.respecified(&id, spec("hunter2-three"))], test.tick());
    let draft = test.wait(test.catalog.propose("t", &change)).unwrap();
    assert!(!serde_json::to_string(&draft.objects).unwrap().contains("hunter2"), "what is shown to who decides");
    let folder = exported(&test.snapshot());
    let planned = plan(&test.snapshot(), &folder, PlanOptions { prune: true, take_over: true, folder: None });
    for printed in [format!("{change:?}"), format!("{draft:?}"), format!("{folder:?}"), format!("{planned:?}")] {
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    let of_object = AuditFilter { object: Some(id), ..AuditFilter::default() };
    let page = test.wait(test.catalog.audit(&of_object, None, 10)).unwrap();
    assert_eq!(page.entries.len(), 2);
    for entry in &page.entries {
        assert!(!entry.to_json_line().contains("hunter2"), "{}", entry.to_json_line());
    }
    let fields = &page.entries[0].detail["fields"];
    assert_eq!(fields.as_array().unwrap().len(), 2);
    assert_ne!(fields[1]["before"], fields[1]["after"], "that it changed can be seen");
    test.verified().unwrap();
}
