//! Where the ledger is: out of the analyst's sight.

use super::{ClickHouse, sql};
use tidegate_warehouse_suite::events::numbered;
use tidegate_warehouse_suite::exactly_once::a_move_of_the_ledger_is_cut_off;
use tidegate_warehouse_suite::{Rig, Subject, run};

/// Whether there is a ledger among the tables, and beside them.
fn places(rig: &ClickHouse) -> String {
    let database = &rig.database;
    sql(&format!(
        "SELECT countIf(database = '{database}'), countIf(database = '{database}_tidegate') FROM system.tables \
         WHERE name = '_tidegate_ledger' FORMAT CSV"
    ))
}

fn begun(rig: &ClickHouse) {
    Subject::open(rig).deliver(numbered(0..3));
    rig.run("RENAME TABLE LEDGER TO DB._tidegate_ledger");
    assert_eq!(places(rig), "1,0\n");
}

#[test]
fn a_ledger_among_the_tables_is_moved_beside_them_and_whoever_knew_the_old_place_finds_it() {
    run("moved", |rig: &ClickHouse| {
        begun(rig);
        let mut subject = Subject::open(rig);
        assert_eq!((subject.durable_to(), &*places(rig)), (Some(3), "1,0\n"), "asking changes nothing");
        let mut other = Subject::of(rig, "other", None);
        other.deliver(numbered(0..1));
        assert_eq!(places(rig), "0,1\n");
        assert_eq!(subject.deliver(numbered(0..5)).duplicates, 3);
        assert_eq!((subject.durable_to(), other.durable_to()), (Some(5), Some(1)));
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 5);
    });
}

#[test]
fn cut_off_at_any_pause_of_the_move_nothing_is_lost_and_nothing_doubled() {
    run("cut move", |_: &ClickHouse| {
        a_move_of_the_ledger_is_cut_off(|| ClickHouse::new().unwrap(), 0.., begun, (places, "0,1\n"));
    });
}

#[test]
fn an_earlier_build_that_comes_back_doubles_nothing_and_the_later_offset_counts() {
    run("comes back", |rig: &ClickHouse| {
        Subject::open(rig).deliver(numbered(0..3));
        rig.run("CREATE TABLE DB._tidegate_ledger AS LEDGER");
        rig.run("INSERT INTO DB._tidegate_ledger VALUES ('sync', 6, now64(3))");
        let mut subject = Subject::open(rig);
        assert_eq!(subject.durable_to(), Some(6));
        subject.deliver(numbered(6..7));
        assert_eq!((subject.durable_to(), Subject::open(rig).durable_to()), (Some(7), Some(7)));
    });
}
