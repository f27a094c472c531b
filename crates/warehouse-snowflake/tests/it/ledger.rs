//! Where the ledger is: out of the analyst's sight.

use serde_json::json;
use tidegate_warehouse::table::Limits;

use super::Snowflake;
use super::recorded::refusing_of;
use tidegate_warehouse_suite::events::numbered;
use tidegate_warehouse_suite::exactly_once::a_move_of_the_ledger_is_cut_off;
use tidegate_warehouse_suite::{Rig, Subject, run};

const WITHIN: &str = "PUBLIC._TIDEGATE_LEDGER";
const BESIDE: &str = "PUBLIC_TIDEGATE._TIDEGATE_LEDGER";

/// What the router has for itself, by schema.
fn places(rig: &Snowflake) -> String {
    let sql = "SELECT TABLE_SCHEMA || '.' || TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE STARTSWITH(TABLE_NAME, '_TIDEGATE') \
               ORDER BY 1";
    let rows = rig.bridge.ask(&json!({ "op": "read", "database": rig.database, "sql": sql }));
    rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// As an earlier build has left it.
fn begun(rig: &Snowflake) {
    Subject::open(rig).deliver(numbered(0..3));
    rig.run(&[
        format!("CREATE TABLE {WITHIN} AS SELECT * FROM {BESIDE}"),
        format!("DROP TABLE {BESIDE}"),
        "DROP SCHEMA PUBLIC_TIDEGATE CASCADE".to_owned(),
    ]);
    assert_eq!(places(rig), WITHIN);
}

#[test]
fn a_ledger_among_the_tables_is_moved_beside_them_and_whoever_knew_the_old_place_finds_it() {
    run("moved", |rig: &Snowflake| {
        begun(rig);
        let mut subject = Subject::open(rig);
        assert_eq!((subject.durable_to(), &*places(rig)), (Some(3), WITHIN), "asking changes nothing");
        let mut other = Subject::of(rig, "other", None);
        other.deliver(numbered(0..1));
        assert_eq!(places(rig), BESIDE);
        assert_eq!(subject.deliver(numbered(0..5)).duplicates, 3);
        assert_eq!((subject.durable_to(), other.durable_to()), (Some(5), Some(1)));
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 5);
    });
}

#[test]
fn cut_off_at_any_pause_of_the_move_nothing_is_lost_and_nothing_doubled() {
    run("cut move", |_: &Snowflake| {
        // Each statement has some pauses that are alike.
        let pauses = std::iter::successors(Some(0), |pauses| Some(pauses + 3 + pauses / 4));
        a_move_of_the_ledger_is_cut_off(|| Snowflake::new().unwrap(), pauses, begun, (places, BESIDE));
    });
}

#[test]
fn an_earlier_build_that_comes_back_doubles_nothing_and_the_later_offset_counts() {
    run("comes back", |rig: &Snowflake| {
        Subject::open(rig).deliver(numbered(0..3));
        let later = format!("INSERT INTO {WITHIN} SELECT 'sync', 6, CURRENT_TIMESTAMP()");
        rig.run(&[format!("CREATE TABLE {WITHIN} AS SELECT * FROM {BESIDE}"), later]);
        let mut subject = Subject::open(rig);
        assert_eq!(subject.durable_to(), Some(6));
        subject.deliver(numbered(6..7));
        assert_eq!((subject.durable_to(), Subject::open(rig).durable_to()), (Some(7), Some(7)));
    });
}

#[test]
fn tables_that_are_gone_take_the_ledgers_word_with_them() {
    run("gone", |rig: &Snowflake| {
        let mut subject = Subject::of(rig, "sync", Some("shop"));
        subject.deliver(numbered(0..3));
        drop(subject);
        rig.run(&["DROP SCHEMA SHOP CASCADE".to_owned()]);
        let mut subject = Subject::of(rig, "sync", Some("shop"));
        assert_eq!(subject.durable_to(), None);
        assert_eq!(subject.deliver(numbered(0..4)).duplicates, 0);
        assert_eq!(rig.seen(Some("shop"))["tracks"].rows.len(), 4);
    });
}

/// Who may not make the schema goes on among the tables, is told once, and moves it at a later start.
#[test]
fn a_ledger_that_cannot_be_beside_the_tables_stays_among_them_and_is_moved_later() {
    let forbidden = ("003001", "Insufficient privileges to operate on database");
    let Some(rig) = refusing_of("CREATE SCHEMA", "PUBLIC_TIDEGATE", forbidden) else { return };
    let mut subject = Subject::open(&rig);
    let notices = subject.deliver(numbered(0..3)).notices;
    let told =
        notices.iter().filter(|notice| notice.contains("GRANT USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA")).count();
    assert_eq!((told, &*places(&rig.inner)), (1, WITHIN), "{notices:?}");
    assert_eq!(subject.deliver(numbered(3..4)).notices, [""; 0]);
    drop(subject);
    let mut subject = Subject::open(&rig.inner);
    subject.deliver(numbered(2..6));
    assert_eq!((subject.durable_to(), &*places(&rig.inner)), (Some(6), BESIDE));
    assert_eq!(rig.seen(None)["tracks"].rows.len(), 6);
}

#[test]
fn a_schema_of_a_sync_is_none_that_ledgers_are_in() {
    run("name", |rig: &Snowflake| {
        let part = tidegate_warehouse::SyncPart {
            sync: "s".to_owned(),
            schema: Some("shop_tidegate".to_owned()),
            ..Default::default()
        };
        let failure = rig.open(&part, Limits::default()).err().unwrap();
        assert!(failure.to_string().contains("ends in _tidegate"), "{failure}");
    });
}
