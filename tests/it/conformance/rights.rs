//! `tidegate check --connect`: what the router may do in a warehouse, and the statement that gives what is missing.

use serde_json::Value;
use tidegate_event::EventKind;

use super::clickhouse::ClickHouse;
use super::events::{batch, event, numbered};
use super::lake::Lake;
use super::postgres::Postgres;
use super::{Act, Rig, Subject, run};
use crate::support::{Workspace, run as tidegate};

/// The exit code, and what is said of the one destination.
fn asked(yaml: &str) -> (Option<i32>, Value) {
    let workspace = Workspace::new();
    workspace.write("destinations/warehouse.yaml", yaml);
    let output = tidegate(&["check", workspace.path().to_str().unwrap(), "--connect", "--json"]);
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), answer["destinations"][0].take())
}

/// What is missing: whether nothing can be loaded without it, and what to run.
fn missing(answer: &Value) -> Vec<(bool, String)> {
    let rights = answer["may"].as_array().unwrap().iter();
    let lacks = rights.filter(|right| right["can"] == Value::Bool(false));
    lacks.map(|right| (right["needed"] == true, right["fix"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn postgres_says_which_grants_a_role_lacks_and_they_are_all_that_it_lacks() {
    run::<Postgres>("rights", |rig| {
        let (code, answer) = asked(&rig.yaml());
        assert_eq!((code, missing(&answer)), (Some(0), Vec::new()), "{answer}");
        Subject::open(rig).deliver(batch(vec![event(
            EventKind::Identify,
            0,
            "m",
            serde_json::json!({ "userId": "u" }),
        )]));
        assert_eq!(rig.ask("SELECT count(*) FROM pg_class WHERE relname LIKE '%tidegate%' AND relkind = 'r'"), "1");
        // The tables and the schemas become somebody else's.
        rig.run(&format!(
            "ALTER DATABASE {} OWNER TO postgres; ALTER SCHEMA public OWNER TO postgres; \
             ALTER SCHEMA public_tidegate OWNER TO postgres; ALTER TABLE identifies OWNER TO postgres; \
             ALTER VIEW users OWNER TO postgres; ALTER TABLE public_tidegate._tidegate_ledger OWNER TO postgres; \
             REVOKE ALL ON SCHEMA public FROM PUBLIC, router",
            rig.ask("SELECT current_database()")
        ));
        let (code, answer) = asked(&rig.yaml());
        let lacks = missing(&answer);
        assert_eq!((code, &answer["ok"]), (Some(1), &Value::Bool(false)), "{answer}");
        for (is_needed, statement) in [
            (true, "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"router\""),
            (true, "GRANT USAGE, CREATE ON SCHEMA \"public_tidegate\" TO \"router\""),
            (true, "GRANT SELECT, INSERT, UPDATE ON \"public_tidegate\".\"_tidegate_ledger\" TO \"router\""),
            (true, "GRANT SELECT, INSERT ON \"public\".\"identifies\" TO \"router\""),
        ] {
            let is_said = lacks.iter().any(|(needed, fix)| *needed == is_needed && fix.contains(statement));
            assert!(is_said, "{statement}: {lacks:?}");
        }
        for (_, fix) in lacks.iter().filter(|(is_needed, _)| *is_needed) {
            rig.run(fix);
        }
        let (code, answer) = asked(&rig.yaml());
        let owner = "ALTER TABLE \"public\".\"identifies\" OWNER TO \"router\"".to_owned();
        assert_eq!((code, missing(&answer)), (Some(0), vec![(false, owner)]), "{answer}");
        Subject::open(rig).deliver(numbered(1..3));
    });
}

#[test]
fn clickhouse_says_which_grants_a_user_lacks() {
    run::<ClickHouse>("rights", |rig| {
        let (code, answer) = asked(&rig.yaml());
        assert_eq!((code, missing(&answer)), (Some(0), Vec::new()), "{answer}");
        rig.act(&Act::Forbid);
        let (code, answer) = asked(&rig.yaml());
        let lacks = missing(&answer);
        assert_eq!(code, Some(1), "{answer}");
        let is_said =
            |(needed, fix): &(bool, String)| *needed && fix.starts_with("GRANT INSERT ON `") && fix.contains(" TO `");
        assert!(lacks.iter().any(is_said), "{lacks:?}");
    });
}

#[test]
fn a_folder_says_whether_it_can_be_written_and_a_bucket_that_it_was_not_tried() {
    run::<Lake>("rights", |rig| {
        let (code, answer) = asked(&rig.yaml());
        assert_eq!((code, &answer["may"][0]["can"]), (Some(0), &Value::Bool(true)), "{answer}");
        let file = rig.folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (code, answer) = asked(&format!("kind: sqlite\npath: {}/warehouse.db\n", file.display()));
        assert_eq!((code, missing(&answer).len()), (Some(1), 1), "{answer}");
    });
}
