//! Operators and their own things: types, views, triggers, permissions, search paths.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_event::EventKind;
use tidegate_event::destination::Failure;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Limits;

use super::Postgres;
use tidegate_warehouse_suite::events::{batch, event, numbered, parsed, track, violation};
use tidegate_warehouse_suite::{Rig, Subject, run};

fn stop(failure: &Failure, says: &[&str]) {
    assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
    for part in says {
        assert!(failure.to_string().contains(part), "{failure} does not say {part:?}");
    }
}

/// Types that would round, cut, pad or refuse values are declared anew at the first value, and keep what they hold.
#[test]
fn types_that_somebody_made_alter_no_value() {
    run::<Postgres>("types", |rig| {
        let mut subject = Subject::open(rig);
        subject.deliver(batch(vec![track(0, "m0", "E", json!({}))]));
        rig.run(
            "ALTER TABLE e ADD i2 smallint DEFAULT 7, ADD i4 int DEFAULT 7, ADD n numeric(6,2) DEFAULT 1.5, \
             ADD f float8 DEFAULT 0.1, ADD f4 float4, ADD v varchar(5) DEFAULT 'ab ', ADD c char(3) DEFAULT 'x', ADD d date \
             DEFAULT '2024-02-29', ADD ts timestamp DEFAULT '2024-05-06 07:08:09.5', ADD tz timestamptz(0), ADD u uuid, \
             ADD j jsonb DEFAULT '{\"b\":1}', ADD a int[] DEFAULT '{1,2}', ADD w varchar DEFAULT 'w'; \
             ALTER TABLE e ALTER event TYPE varchar(2) USING 'e'",
        );
        let values = json!({
            "i2": 40000, "i4": 3_000_000_000_u64, "n": parsed("12345.678"), "f": parsed("0.1000000000000000055"),
            "f4": parsed("16777217"), "v": "longer than five", "c": "y", "d": "2024-05-06T07:08:09.120Z",
            "ts": "2024-05-06T07:08:09.123Z", "tz": "2024-05-06T07:08:09.123Z", "u": "no uuid", "j": {}, "a": [3], "w": "W ",
        });
        let delivery =
            subject.deliver(batch(vec![track(1, "m1", "Longer", values.clone()), track(2, "m2", "E", values)]));
        assert_eq!(delivery.rejected, []);
        let seen = rig.seen(None);
        for (column, kind, first, second) in [
            ("i2", Type::Integer, "7", "40000"),
            ("i4", Type::Integer, "7", "3000000000"),
            ("n", Type::Decimal, "1.5", "12345.678"),
            ("f", Type::Decimal, "0.1", "0.1000000000000000055"),
            ("f4", Type::Decimal, "", "16777217"),
            ("v", Type::Text, "ab ", "longer than five"),
            ("c", Type::Text, "x", "y"),
            ("d", Type::Text, "2024-02-29", "2024-05-06T07:08:09.120Z"),
            ("ts", Type::Timestamp, "2024-05-06T07:08:09.500000Z", "2024-05-06T07:08:09.123000Z"),
            ("tz", Type::Timestamp, "", "2024-05-06T07:08:09.123000Z"),
            ("u", Type::Text, "", "no uuid"),
            ("j", Type::Json, "{\"b\":1}", "{}"),
            ("a", Type::Text, "{1,2}", "[3]"),
            ("w", Type::Text, "w", "W "),
            ("event", Type::Text, "e", "e"),
        ] {
            assert_eq!(seen["e"].columns[column], kind, "{column}");
            let found = [seen["e"].cell("m0", column).unwrap_or(""), seen["e"].cell("m2", column).unwrap_or("")];
            assert_eq!(found, [first, second], "{column}");
        }
        assert_eq!(
            rig.ask("SELECT data_type FROM information_schema.columns WHERE table_name = 'e' AND column_name = 'j'"),
            "jsonb"
        );
    });
}

/// What a column holds when it becomes text is what it would have held as text.
#[test]
fn instants_that_become_text_read_as_they_came() {
    run::<Postgres>("instants", |rig| {
        let mut subject = Subject::open(rig);
        let instants = ["2024-05-06T07:08:09.000Z", "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"];
        let made = instants.iter().zip(0..).map(|(at, n)| track(n, &format!("m{n}"), "E", json!({ "at": at })));
        subject.deliver(batch(made.collect()));
        let declared = "SELECT data_type FROM information_schema.columns WHERE table_name = 'e' AND column_name = 'at'";
        assert_eq!(rig.ask(declared), "timestamp with time zone");
        subject.deliver(batch(vec![track(3, "m3", "E", json!({ "at": "soon" }))]));
        let odd = json!({ "event": "E", "properties": {}, "timestamp": "yesterday" });
        subject.deliver(batch(vec![tidegate_warehouse_suite::events::event(
            tidegate_event::EventKind::Track,
            4,
            "m4",
            odd,
        )]));
        let short = json!({ "event": "E", "properties": {}, "timestamp": "2024-05-06T07:08:09.120Z" });
        subject.deliver(batch(vec![tidegate_warehouse_suite::events::event(
            tidegate_event::EventKind::Track,
            5,
            "m5",
            short,
        )]));
        let seen = rig.seen(None);
        for (n, at) in instants.iter().enumerate() {
            assert_eq!(seen["e"].cell(&format!("m{n}"), "at"), Some(*at));
        }
        assert_eq!(seen["e"].cell("m0", "timestamp"), Some("2024-05-06T07:08:09.000001Z"));
        assert_eq!(seen["e"].cell("m5", "timestamp"), Some("2024-05-06T07:08:09.120000Z"), "always six digits");
    });
}

#[test]
fn a_view_in_the_way_of_a_wider_type_is_told_with_the_statement_that_waits() {
    run::<Postgres>("view", |rig| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..3));
        rig.run("CREATE VIEW per_number AS SELECT n, count(*) FROM e GROUP BY n");
        subject.deliver(numbered(3..5));
        let delivery = subject.deliver(batch(vec![track(5, "m5", "E", json!({ "n": "text" }))]));
        let [notice] = &delivery.notices[..] else { panic!("{:?}", delivery.notices) };
        for word in ["per_number", "column n of table e", "ALTER TABLE \"public\".\"e\" ALTER COLUMN \"n\" TYPE text"] {
            assert!(notice.contains(word), "{notice}");
        }
    });
}

#[test]
fn a_view_upon_the_views_of_the_latest_traits_makes_what_widens_wait() {
    run::<Postgres>("upon", |rig| {
        let open = || Subject::open(rig);
        let identify = |at: u64, age: Value| {
            let fields = json!({ "userId": format!("u{at}"), "traits": { "age": age } });
            batch(vec![event(EventKind::Identify, at, &format!("m{at}"), fields)])
        };
        let mut subject = open();
        subject.deliver(identify(0, json!(7)));
        rig.run("CREATE VIEW mine AS SELECT age FROM users");
        let notices = subject.deliver(identify(1, json!("old"))).notices;
        assert!(notices.len() == 1 && notices[0].contains("view mine depends on"), "{notices:?}");
        assert_eq!(rig.read("users", &["user_id", "age"]).unwrap(), ["u0|7", "u1|-"]);
        let more = json!({ "userId": "u3", "traits": { "city": "Kyiv" } });
        subject.deliver(batch(vec![event(EventKind::Identify, 2, "m2", more)]));
        assert_eq!(
            rig.read("users", &["user_id", "city"]).unwrap(),
            ["u0|-", "u1|-", "u3|Kyiv"],
            "a new column waits for nobody"
        );
        rig.run("DROP VIEW mine; GRANT SELECT ON users TO PUBLIC");
        drop(subject);
        open().deliver(identify(4, json!("older")));
        assert_eq!(rig.read("users", &["user_id", "age"]).unwrap(), ["u0|7", "u1|-", "u3|-", "u4|older"]);
        let grants = rig.ask("SELECT relacl::text FROM pg_class WHERE relname = 'users'");
        assert!(grants.contains("=r/router"), "a view that is made anew keeps its grants: {grants}");
    });
}

/// One such row would make every query with an operator of JSON fail.
#[test]
fn json_with_the_character_nul_can_be_read_by_the_operators_of_json_and_nothing_is_lost() {
    run::<Postgres>("nul", |rig| {
        let mut subject = Subject::open(rig);
        let nul =
            json!({ "x": "a\0b", "k\0": 1, "own": "\\u0000", "both": ["\\\0", "\\\\u0000", "\0u0000"], "n": "é" });
        let mut events = vec![
            track(0, "m0", "E", json!({ "list": [{ "x": "plain \\ \\u12" }], "z": "a" })),
            track(1, "m1", "E", json!({ "list": [nul.clone()], "z": "b\0" })),
        ];
        events.push(event(EventKind::Identify, 2, "m2", json!({ "traits": { "x": "c\0", "k\0": "d\0" } })));
        let mut batch = batch(events);
        batch.violations = vec![Arc::new(violation(1, &json!({ "x": "a\0" }), &["one \0", "two"]))];
        subject.deliver(batch);
        assert_eq!(rig.ask("SELECT list->0->>'x' FROM e ORDER BY id"), "plain \\ \\u12\na\\u0000b");
        assert_eq!(rig.ask("SELECT list->0->>'own', list->0->>'k\\u0000' FROM e WHERE id = 'm1'"), "\\\\u0000|1");
        assert_eq!(rig.ask("SELECT _overflow->'properties'->>'z' FROM e ORDER BY id"), "\nb\\u0000");
        assert_eq!(rig.ask("SELECT _overflow->'traits'->>'x' FROM identifies"), "c\\u0000");
        assert_eq!(rig.ask("SELECT count(list::jsonb) FROM e"), "2");
        assert_eq!(rig.ask("SELECT payload->>'x' FROM event_violations"), "a\\u0000");
        let groups = "SELECT violations, count(*) FROM event_violations GROUP BY violations";
        assert_eq!(rig.ask(groups), r#"["one \\u0000", "two"]|1"#);
        let seen = rig.seen(None);
        assert_eq!(seen["e"].cell("m1", "list"), Some(&*json!([nul]).to_string()));
        assert_eq!(seen["e"].overflow("m1"), json!({ "properties": { "z": "b\0" } }));
        assert_eq!(seen["identifies"].overflow("m2"), json!({ "traits": { "x": "c\0", "k\0": "d\0" } }));
    });
}

/// As tables that an earlier build has made are mended, by the words of `docs/warehouses.md`.
#[test]
fn what_was_written_before_is_mended_by_the_statements_of_the_documentation() {
    run::<Postgres>("mended", |rig| {
        Subject::open(rig).deliver(batch(vec![track(0, "m0", "E", json!({ "n": 1 }))]));
        rig.run(
            "CREATE TABLE event_violations (id text COLLATE \"C\" PRIMARY KEY, received_at timestamptz, violations json); \
             INSERT INTO event_violations VALUES ('v', now(), '[\"a\"]'); ALTER TABLE event_violations OWNER TO router; \
             UPDATE e SET _overflow = '{\"x\": \"a\\u0000\", \"y\": \"\\\\u0000\"}'",
        );
        let documented = include_str!("../../../../docs/warehouses.md");
        for statement in
            ["UPDATE order_completed SET _overflow = ", "ALTER TABLE event_violations ALTER COLUMN violations "]
        {
            let from = documented.find(statement).unwrap_or_else(|| panic!("{statement} is documented"));
            let statement = documented[from..].split_once(';').unwrap().0;
            rig.run(&statement.replace("order_completed", "e"));
        }
        assert_eq!(rig.ask("SELECT _overflow->>'x', _overflow->>'y' FROM e"), "a\\u0000|\\u0000");
        let mut batch = batch(vec![track(1, "m1", "E", json!({}))]);
        batch.violations = vec![Arc::new(violation(1, &json!({}), &["a"]))];
        Subject::open(rig).deliver(batch);
        let groups = "SELECT violations, count(*) FROM event_violations GROUP BY violations";
        assert_eq!(rig.ask(groups), r#"["a"]|2"#);
    });
}

#[test]
fn rows_that_no_page_holds_keep_their_fields_in_the_overflow() {
    run::<Postgres>("wide", |rig| {
        let limits = Limits { columns_max: 1500, ..Limits::default() };
        let mut subject = Subject::with(rig, "sync", None, limits, Declared::default());
        let wide = |n: u64, text: &str| {
            let fields = (0..1400).map(|at| (format!("p{at:04}"), Value::from(format!("{text} {at}"))));
            track(n, &format!("m{n}"), "E", Value::Object(fields.collect()))
        };
        let narrow = |n: u64| track(n, &format!("m{n}"), "E", json!({ "p0001": "short" }));
        let numbers = (0..1400).map(|at| (format!("p{at:04}"), Value::from(at))).collect();
        let events =
            vec![narrow(0), wide(1, "a text of twenty bytes"), narrow(2), track(3, "m3", "E", numbers), narrow(4)];
        let delivery = subject.deliver(batch(events));
        assert_eq!((delivery.delivered, delivery.rejected.len()), (5, 0), "{:?}", delivery.rejected);
        // Refused alone too, and by its width alone.
        subject.deliver(batch(vec![wide(5, "a text of twenty bytes")]));
        let seen = rig.seen(None);
        assert_eq!(seen["e"].cell("m0", "p0001"), Some("short"));
        for id in ["m1", "m5"] {
            assert_eq!(seen["e"].overflow(id)["properties"]["p1399"], "a text of twenty bytes 1399");
        }
        assert_eq!((seen["e"].rows.len(), seen["tracks"].rows.len()), (6, 6));
        // Decimals take more of a page than their digits: such a row is found by halving.
        let decimals = (0..1400).map(|at| (format!("p{at:04}"), parsed("1.5"))).collect();
        let small = |n: u64| track(n, &format!("m{n}"), "D", json!({ "p0001": 2.5 }));
        let delivery = subject.deliver(batch(vec![small(6), track(7, "m7", "D", Value::Object(decimals)), small(8)]));
        assert_eq!(delivery.rejected, []);
        let seen = rig.seen(None);
        assert_eq!(seen["d"].overflow("m7")["properties"]["p1399"], parsed("1.5"));
        assert_eq!((seen["d"].cell("m8", "p0001"), seen["d"].rows.len()), (Some("2.5"), 3));
    });
}

#[test]
fn a_trigger_that_refuses_whole_statements_stops_with_its_words() {
    run::<Postgres>("trigger", |rig| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..3));
        rig.run(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$; \
             CREATE TRIGGER no BEFORE INSERT ON e FOR EACH STATEMENT EXECUTE FUNCTION no()",
        );
        stop(&subject.try_deliver(numbered(3..6)).unwrap_err(), &["not today"]);
        rig.run("DROP TRIGGER no ON e");
        subject.deliver(numbered(3..6));
        assert_eq!(rig.seen(None)["e"].rows.len(), 6);
    });
}

#[test]
fn a_role_that_may_not_make_tables_is_told_what_to_grant() {
    run::<Postgres>("grants", |rig| {
        rig.run("REVOKE CREATE ON SCHEMA public FROM pg_database_owner");
        let mut subject = Subject::open(rig);
        stop(
            &subject.try_deliver(numbered(0..3)).unwrap_err(),
            &["42501", "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"router\""],
        );
        rig.run("GRANT CREATE ON SCHEMA public TO router");
        subject.deliver(numbered(0..3));
        // Nothing is asked of the database that is there: no schema, no ledger.
        rig.run("REVOKE CREATE ON SCHEMA public FROM router");
        drop(subject);
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(3..6));
        rig.run("ALTER TABLE e OWNER TO postgres; GRANT ALL ON e TO router");
        subject.deliver(numbered(6..9));
        let fresh =
            |at: u64| batch(vec![track(at, &format!("m{at}"), "E", json!({ "n": at, "fresh": 1, "new": "x" }))]);
        let delivery = subject.deliver(fresh(9));
        let [notice] = &delivery.notices[..] else { panic!("{:?}", delivery.notices) };
        assert!(notice.contains("must be owner") && notice.contains("ADD COLUMN \"fresh\" bigint"), "{notice}");
        let seen = rig.seen(None);
        assert_eq!(seen["e"].overflow("m9"), json!({"properties": {"fresh": 1, "new": "x"}}));
        assert_eq!(seen["e"].cell("m9", "n"), Some("9"));
        rig.run("ALTER TABLE e OWNER TO router");
        drop(subject);
        Subject::open(rig).deliver(fresh(10));
        assert_eq!(rig.seen(None)["e"].cell("m10", "fresh"), Some("1"));
    });
}

#[test]
fn a_server_that_only_reads_stops_with_advice() {
    run::<Postgres>("reads", |rig| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..3));
        rig.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", rig.database));
        drop(subject);
        let mut subject = Subject::open(rig);
        assert_eq!(subject.durable_to(), Some(3));
        stop(&subject.try_deliver(numbered(3..6)).unwrap_err(), &["25006", "default_transaction_read_only"]);
    });
}

/// Settings of the role or the database that would lead a careless client astray.
#[test]
fn settings_of_the_database_change_nothing() {
    run::<Postgres>("settings", |rig| {
        let database = &rig.database;
        rig.run(&format!(
            "CREATE SCHEMA evil; CREATE TABLE evil.tracks (id text); CREATE TABLE evil._tidegate_ledger (sync text); \
             CREATE FUNCTION evil.hashtextextended(text, int) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0'; \
             GRANT ALL ON SCHEMA evil TO router; ALTER DATABASE {database} SET search_path = evil, pg_catalog; \
             ALTER DATABASE {database} SET synchronous_commit = off; ALTER DATABASE {database} SET extra_float_digits = -10; \
             ALTER DATABASE {database} SET timezone = 'Asia/Kathmandu'; ALTER DATABASE {database} SET datestyle = 'German'; \
             ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'; \
             ALTER DATABASE {database} SET standard_conforming_strings = off; \
             ALTER DATABASE {database} SET session_replication_role = 'origin'"
        ));
        let mut subject = Subject::open(rig);
        subject.deliver(batch(vec![track(0, "m0", "E", json!({ "at": "2024-05-06T07:08:09.120Z", "s": "\\'" }))]));
        subject.deliver(batch(vec![track(1, "m1", "E", json!({ "at": "soon" }))]));
        subject.deliver(batch(vec![track(2, "m1", "E", json!({ "at": "again" }))]));
        let seen = rig.seen(None);
        assert_eq!(seen["e"].cell("m0", "at"), Some("2024-05-06T07:08:09.120Z"));
        assert_eq!((seen["e"].cell("m0", "s"), seen["e"].cell("m1", "at")), (Some("\\'"), Some("soon")));
        assert_eq!(rig.ask("SELECT count(*) FROM evil.tracks"), "0");
    });
}

/// Names that are taken by what is no table: an index, a type, a view.
#[test]
fn names_that_are_taken_by_other_things_go_to_the_overflow() {
    run::<Postgres>("names", |rig| {
        rig.run(
            "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE theirs (a int); CREATE INDEX an_index ON theirs (a); \
             CREATE VIEW a_view AS SELECT 1; CREATE SEQUENCE a_sequence; CREATE TABLE \"Clients\" (name text)",
        );
        let names = ["Mood", "An Index", "A View", "A Sequence", "Clients", "E Pkey", "_e", "E"];
        let events = names.iter().zip(0..).map(|(name, n)| track(n, &format!("m{n}"), name, json!({ "n": n })));
        let delivery = Subject::open(rig).deliver(batch(events.collect()));
        assert_eq!((delivery.delivered, delivery.notices.len()), (8, 4), "{:?}", delivery.notices);
        let seen = rig.seen(None);
        assert_eq!(seen["_overflow"].rows.len(), 4);
        for table in ["clients", "e_pkey", "_e", "e"] {
            assert_eq!(seen[table].rows.len(), 1, "{table}");
        }
        assert_eq!(seen["Clients"].columns.keys().collect::<Vec<_>>(), ["name"]);
    });
}

/// The key is dropped by an operator: nothing would keep events from being there twice.
#[test]
fn a_table_without_its_key_is_not_the_routers_any_more() {
    run::<Postgres>("key", |rig| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..3));
        rig.run("ALTER TABLE tracks DROP CONSTRAINT \"tracks id\"");
        stop(
            &subject.try_deliver(numbered(3..6)).unwrap_err(),
            &["tracks exists but is not a table of this warehouse"],
        );
        rig.run("ALTER TABLE tracks ADD PRIMARY KEY (id)");
        subject.deliver(numbered(3..6));
    });
}
