//! Where the ledger is: out of the analyst's sight, or where it was.

use serde_json::json;

use super::Postgres;
use tidegate_warehouse_suite::events::batch;
use tidegate_warehouse_suite::events::{numbered, track};
use tidegate_warehouse_suite::exactly_once::a_move_of_the_ledger_is_cut_off;
use tidegate_warehouse_suite::{Rig, Subject, run};

const OLD: &str = "SET ROLE router; CREATE TABLE _tidegate_ledger (sync text COLLATE \"C\" PRIMARY KEY, \
    log_offset bigint NOT NULL, updated_at timestamp with time zone NOT NULL); ";

/// The schemas that have a ledger, with the offset of the sync in each.
fn ledgers(rig: &Postgres) -> String {
    let schemas = rig.ask(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname = '_tidegate_ledger' ORDER BY 1",
    );
    let of = |schema: &str| {
        let sql =
            format!("SELECT coalesce(max(log_offset)::text, '-') FROM {schema}._tidegate_ledger WHERE sync = 'sync'");
        format!("{schema}={}", rig.ask(&sql))
    };
    schemas.lines().map(of).collect::<Vec<_>>().join(" ")
}

/// An earlier build has loaded the first events, and made the ledger among the tables.
fn begun(rig: &Postgres) {
    Subject::open(rig).deliver(numbered(0..3));
    rig.run("ALTER TABLE public_tidegate._tidegate_ledger SET SCHEMA public; DROP SCHEMA public_tidegate");
    assert_eq!(ledgers(rig), "public=3");
}

/// The role may make nothing but tables in the schema.
fn forbid(rig: &Postgres) {
    rig.run(&format!(
        "ALTER DATABASE {} OWNER TO postgres; ALTER SCHEMA public OWNER TO postgres; GRANT USAGE, CREATE ON SCHEMA public TO router",
        rig.database
    ));
}

#[test]
fn the_ledger_is_beside_the_tables_and_not_among_them() {
    run::<Postgres>("beside", |rig| {
        Subject::open(rig).deliver(numbered(0..3));
        Subject::of(rig, "sync", Some("shop")).deliver(numbered(0..2));
        assert_eq!(ledgers(rig), "public_tidegate=3 shop_tidegate=2");
        assert_eq!(Subject::open(rig).durable_to(), Some(3));
    });
}

#[test]
fn a_ledger_among_the_tables_is_moved_with_what_it_says_and_who_may_read_it() {
    run::<Postgres>("moved", |rig| {
        begun(rig);
        rig.run("GRANT SELECT ON _tidegate_ledger TO reader");
        let mut subject = Subject::open(rig);
        assert_eq!((subject.durable_to(), &*ledgers(rig)), (Some(3), "public=3"), "asking changes nothing");
        let delivery = subject.deliver(numbered(0..5));
        assert_eq!((delivery.duplicates, &*ledgers(rig)), (3, "public_tidegate=5"));
        let may = "SELECT has_schema_privilege('reader', 'public_tidegate', 'USAGE')";
        assert_eq!(rig.ask(may), "t");
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 5);
    });
}

#[test]
fn cut_off_at_any_pause_of_the_move_nothing_is_lost_and_nothing_doubled() {
    run::<Postgres>("cut move", |_| {
        a_move_of_the_ledger_is_cut_off(|| Postgres::new().unwrap(), 0.., begun, (ledgers, "public_tidegate=8"));
    });
}

#[test]
fn who_may_not_make_a_schema_keeps_the_ledger_where_it_is_and_is_told_once() {
    run::<Postgres>("stays", |rig| {
        forbid(rig);
        let mut subject = Subject::open(rig);
        let notices = subject.deliver(numbered(0..3)).notices;
        let [notice] = &notices[..] else { panic!("{notices:?}") };
        let statement = "CREATE SCHEMA IF NOT EXISTS \"public_tidegate\" AUTHORIZATION \"router\"";
        assert!(notice.contains("42501") && notice.ends_with(statement), "{notice}");
        assert_eq!(subject.deliver(numbered(3..5)).notices, [""; 0]);
        assert_eq!(ledgers(rig), "public=5");
        // Two who know the old place; the one that comes anew moves it, and the other finds it.
        let mut other = Subject::of(rig, "other", None);
        other.deliver(numbered(0..1));
        rig.run(statement);
        assert_eq!(Subject::of(rig, "third", None).deliver(numbered(0..2)).notices, [""; 0]);
        assert_eq!(subject.deliver(numbered(5..7)).notices, [""; 0]);
        other.deliver(numbered(1..2));
        assert_eq!((&*ledgers(rig), other.durable_to()), ("public_tidegate=7", Some(2)));
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 7);
    });
}

#[test]
fn who_drops_the_schema_of_the_tables_begins_anew() {
    run::<Postgres>("dropped", |rig| {
        Subject::of(rig, "sync", Some("shop")).deliver(numbered(0..3));
        rig.run("DROP SCHEMA shop CASCADE");
        let mut subject = Subject::of(rig, "sync", Some("shop"));
        assert_eq!(subject.durable_to(), None);
        assert_eq!(subject.deliver(numbered(0..2)).duplicates, 0);
        assert_eq!((subject.durable_to(), rig.seen(Some("shop"))["tracks"].rows.len()), (Some(2), 2));
    });
}

#[test]
fn an_earlier_build_that_comes_back_doubles_nothing_and_the_later_offset_counts() {
    run::<Postgres>("comes back", |rig| {
        Subject::open(rig).deliver(numbered(0..3));
        rig.run(OLD);
        rig.run("INSERT INTO _tidegate_ledger VALUES ('sync', 2, now())");
        assert_eq!(Subject::open(rig).durable_to(), Some(3));
        rig.run("UPDATE _tidegate_ledger SET log_offset = 6");
        let mut subject = Subject::open(rig);
        assert_eq!(subject.durable_to(), Some(6));
        subject.deliver(batch(vec![track(6, "m6", "E", json!({ "n": 6 }))]));
        assert_eq!(ledgers(rig), "public=6 public_tidegate=7");
        assert_eq!(Subject::open(rig).durable_to(), Some(7));
    });
}
