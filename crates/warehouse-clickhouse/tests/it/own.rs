//! What only ClickHouse does: types of other people, instants beyond its reach, merges, refusals half-way.

use std::sync::Arc;

use super::open;
use serde_json::json;
use tidegate_event::EventKind;
use tidegate_event::destination::{Batch, Failure};
use tidegate_net::WebSettings;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse_clickhouse::{self as clickhouse, LookUp};
use tidegate_warehouse_suite::{OpenedWarehouse, Rig};

use super::{ClickHouse, engine, lines, post};
use tidegate_warehouse_suite::events::{batch, event, numbered, parsed, track};
use tidegate_warehouse_suite::{Subject, run, skipped};

/// A place with settings of its own.
struct Altered(ClickHouse, fn(clickhouse::ClickHouseSettings) -> clickhouse::ClickHouseSettings);

impl Rig for Altered {
    fn new() -> Result<Self, String> {
        Err("made by the test".to_owned())
    }

    fn open(&self, part: &SyncPart, limits: tidegate_warehouse::table::Limits) -> OpenedWarehouse {
        open(&self.1(clickhouse::ClickHouseSettings { limits, ..self.0.settings_of() }), part)
    }

    fn seen(&self, schema: Option<&str>) -> tidegate_warehouse_suite::TablesSeen {
        self.0.seen(schema)
    }

    fn act(&self, act: &tidegate_warehouse_suite::Act) -> bool {
        self.0.act(act)
    }
}

fn with(name: &str, alter: fn(clickhouse::ClickHouseSettings) -> clickhouse::ClickHouseSettings, case: fn(&Altered)) {
    match ClickHouse::new() {
        Ok(rig) => case(&Altered(rig, alter)),
        Err(lack) => skipped(name, &lack),
    }
}

impl ClickHouse {
    /// The types as declared, by column.
    fn declared(&self, table: &str, column: &str) -> String {
        let found = lines(&format!(
            "SELECT type FROM system.columns WHERE database = '{}' AND table = '{table}' AND name = '{column}' \
             FORMAT JSONCompactEachRow",
            self.database
        ));
        found[0][0].as_str().unwrap().to_owned()
    }
}

#[test]
fn types_of_somebody_else_become_ours_when_a_value_comes_and_keep_what_is_there() {
    run("types of somebody else", |rig: &ClickHouse| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..2));
        // Name, type, a value of it, our value; our type, and what is then there.
        let columns = [
            ("i32", "Int32", "7", json!(8), "Nullable(Int64)", ["7", "8"]),
            (
                "u64",
                "UInt64",
                "18446744073709551615",
                json!(8),
                "Nullable(Decimal(76, 38))",
                ["18446744073709551615", "8"],
            ),
            ("money", "Decimal(9, 2)", "1.5", parsed("0.125"), "Nullable(Decimal(76, 38))", ["1.5", "0.125"]),
            ("real", "Float64", "0.1", json!(8), "Nullable(String)", ["0.1", "8"]),
            ("word", "LowCardinality(String)", "'a'", json!("b"), "LowCardinality(Nullable(String))", ["a", "b"]),
            (
                "low",
                "LowCardinality(Nullable(String))",
                "'a'",
                json!("b"),
                "LowCardinality(Nullable(String))",
                ["a", "b"],
            ),
            (
                "day",
                "Date",
                "'2024-05-06'",
                json!("2024-05-07T00:00:00.000Z"),
                "Nullable(DateTime64(6, 'UTC'))",
                ["2024-05-06T00:00:00.000000Z", "2024-05-07T00:00:00.000000Z"],
            ),
            ("choice", "Enum8('a' = 1)", "'a'", json!("b"), "Nullable(String)", ["a", "b"]),
            ("truth", "Bool", "true", json!(false), "Nullable(Bool)", ["true", "false"]),
            ("bare", "String", "'x'", json!(8), "Nullable(String)", ["x", "8"]),
            ("mixed", "Int16", "-3", json!("text"), "Nullable(String)", ["-3", "text"]),
        ];
        let mut properties = serde_json::Map::new();
        for (name, kind, value, ours, ..) in &columns {
            rig.run(&format!("ALTER TABLE DB.e ADD COLUMN {name} {kind} DEFAULT {value}"));
            rig.run(&format!("ALTER TABLE DB.e MATERIALIZE COLUMN {name}"));
            properties.insert((*name).to_owned(), ours.clone());
        }
        subject.deliver(numbered(2..3));
        for (name, kind, ..) in &columns {
            assert_eq!(rig.declared("e", name), *kind, "{name}: nothing came for it yet");
        }
        let delivery = subject.deliver(batch(vec![track(3, "ours", "E", properties.into())]));
        assert_eq!((delivery.delivered, delivery.rejected.len()), (1, 0));
        let seen = rig.seen(None);
        for (name, _, _, _, declared, expected) in columns {
            assert_eq!(rig.declared("e", name), declared, "{name}");
            let found = ["m0", "ours"].map(|id| seen["e"].cell(id, name).unwrap());
            assert_eq!(found, expected, "{name}");
        }
        // What the database computes is not written to.
        rig.run("ALTER TABLE DB.e ADD COLUMN twice Int64 MATERIALIZED assumeNotNull(n) * 2");
        subject.deliver(batch(vec![track(4, "m4", "E", json!({ "n": 4, "twice": 5 }))]));
        assert_eq!(rig.seen(None)["e"].overflow("m4"), json!({ "properties": { "twice": 5 } }));
    });
}

#[test]
fn an_instant_beyond_the_columns_reach_is_its_rows_own_matter() {
    run("an instant beyond", |rig: &ClickHouse| {
        let at = |offset, id: &str, at: &str| {
            let mut event = (*track(offset, id, "E", json!({ "moment": "1900-01-01T00:00:00.000Z" }))).clone();
            event.body.insert("timestamp".to_owned(), at.into());
            Arc::new(event)
        };
        let stamps = ["9999-12-31T00:00:00.000Z", "no time at all", "2299-12-31T23:59:59.999999Z"];
        let mut subject = Subject::open(rig);
        let events = stamps.iter().zip(0..).map(|(stamp, n)| at(n, &format!("m{n}"), stamp)).collect();
        let delivery = subject.deliver(batch(events));
        assert!(delivery.notices.iter().any(|notice| notice.contains("column timestamp of table")), "{delivery:?}");
        subject.deliver(batch(vec![track(3, "m3", "E", json!({ "moment": "1899-12-31T23:59:59.999Z" }))]));
        let seen = rig.seen(None);
        for table in ["tracks", "e"] {
            assert_eq!(seen[table].columns["timestamp"], Type::Timestamp);
            for (id, expected) in [("m0", None), ("m1", None), ("m2", Some(stamps[2]))] {
                assert_eq!(seen[table].cell(id, "timestamp"), expected, "{id}");
            }
            assert_eq!(seen[table].overflow("m0"), json!({ "timestamp": stamps[0] }));
            assert_eq!(seen[table].overflow("m1"), json!({ "timestamp": stamps[1] }));
        }
        assert_eq!(seen["e"].columns["moment"], Type::Text);
        let found = ["m0", "m3"].map(|id| seen["e"].cell(id, "moment").unwrap());
        assert_eq!(found, ["1900-01-01T00:00:00.000Z", "1899-12-31T23:59:59.999Z"]);
    });
}

#[test]
fn decimals_are_exact_as_far_as_they_reach() {
    run("decimals", |rig: &ClickHouse| {
        let within = ["0.00012345678901234567", "-0.1", "99999999999999999999999999999999999999.5", "1.5e-37", "1e37"];
        let beyond = ["1e-39", "123456789012345678901234567890123456789.5"];
        let all = within.iter().map(|n| ("d", n)).chain(beyond.iter().map(|n| ("t", n)));
        let events =
            all.zip(0..).map(|((c, n), at)| track(at, &format!("m{at}"), "E", json!({ c: parsed(n), "d": parsed(n) })));
        let events: Vec<_> = events.collect();
        let mut subject = Subject::open(rig);
        subject.deliver(batch(events[..within.len()].to_vec()));
        let number = |text: &str| tidegate_warehouse::evolve::number_text(text).into_owned();
        let texts = || (0..within.len()).map(|at| rig.seen(None)["e"].cell(&format!("m{at}"), "d").unwrap().to_owned());
        let expected: Vec<_> = within.iter().map(|n| number(n)).collect();
        assert_eq!(
            (rig.declared("e", "d").as_str(), texts().collect::<Vec<_>>()),
            ("Nullable(Decimal(76, 38))", expected.clone())
        );
        subject.deliver(batch(events[within.len()..].to_vec()));
        assert_eq!((rig.declared("e", "d").as_str(), texts().collect::<Vec<_>>()), ("Nullable(String)", expected));
        assert_eq!(rig.seen(None)["e"].cell("m5", "t"), Some("0.000000000000000000000000000000000000001"));
    });
}

#[test]
fn merging_everything_changes_nothing() {
    run("merging", |rig: &ClickHouse| {
        for start in [0, 5, 3, 12] {
            Subject::open(rig).deliver(numbered(start..start + 10));
        }
        let before = rig.seen(None);
        for table in ["tracks", "e"] {
            rig.run(&format!("OPTIMIZE TABLE DB.{table} FINAL"));
        }
        assert_eq!(rig.seen(None), before);
        assert_eq!(before["tracks"].rows.len(), 22);
    });
}

/// A crash between the two steps of widening an instant.
#[test]
fn instants_on_their_way_to_text_are_finished_before_other_text_comes() {
    run("instants on their way", |rig: &ClickHouse| {
        let values = ["2024-05-06T07:08:09.120Z", "1900-01-01T00:00:00.000Z"];
        let events = values.iter().zip(0..).map(|(v, n)| track(n, &format!("m{n}"), "E", json!({ "v": v })));
        Subject::open(rig).deliver(batch(events.collect()));
        rig.run("ALTER TABLE DB.e MODIFY COLUMN v Nullable(String) COMMENT 'tidegate: instants on their way to text'");
        assert_eq!(rig.seen(None)["e"].cell("m0", "v"), Some("2024-05-06 07:08:09.120000"));
        let looks_alike = "2024-05-06 07:08:09.120000";
        Subject::open(rig).deliver(batch(vec![track(2, "m2", "E", json!({ "v": looks_alike }))]));
        Subject::open(rig).deliver(batch(vec![track(3, "m3", "E", json!({ "v": true }))]));
        let seen = rig.seen(None);
        let found = ["m0", "m1", "m2", "m3"].map(|id| seen["e"].cell(id, "v").unwrap());
        assert_eq!(found, [values[0], values[1], looks_alike, "true"]);
    });
}

/// What one kind's table took before another's refused is found again by the halves, and is no duplicate for that.
#[test]
fn what_a_refused_part_has_left_behind_is_no_duplicate() {
    run("no duplicate", |rig: &ClickHouse| {
        let page = |offset, id: &str| event(EventKind::Page, offset, id, json!({}));
        let mut subject = Subject::open(rig);
        subject.deliver(batch(vec![page(0, "p0"), track(1, "m1", "E", json!({}))]));
        rig.run("ALTER TABLE DB.tracks ADD CONSTRAINT odd CHECK id != 'm7'");
        let mut events: Vec<_> = (2..14).map(|n| page(n, &format!("p{n}"))).collect();
        events.extend((14..20).map(|n| track(n, &format!("m{}", n - 10), "E", json!({}))));
        events.extend([page(20, "p0"), page(21, "p3"), track(22, "m1", "E", json!({}))]);
        let (delivery, rejected) = subject.deliver_refusing(batch(events));
        assert_eq!((delivery.delivered, delivery.duplicates, rejected.len()), (20, 3, 1));
        assert_eq!((rig.seen(None)["pages"].rows.len(), rig.seen(None)["tracks"].rows.len()), (13, 6));
    });
}

/// The row in the event's own table is written before `tracks` refuses its own.
#[test]
fn an_event_that_only_tracks_refuses_leaves_no_row_behind() {
    run("only tracks refuses", |rig: &ClickHouse| {
        let mut subject = Subject::open(rig);
        subject.deliver(batch(vec![track(0, "m0", "E", json!({})), track(1, "m1", "F", json!({}))]));
        rig.run("ALTER TABLE DB.tracks ADD CONSTRAINT odd CHECK id NOT IN ('m7', 'm13')");
        let made = (2..20).map(|n| track(n, &format!("m{n}"), if n % 2 == 0 { "E" } else { "F" }, json!({ "n": n })));
        let mut events: Vec<_> = made.collect();
        // Comes again under another name: the first stays whole.
        events.push(track(20, "m1", "E", json!({})));
        let (delivery, rejected) = subject.deliver_refusing(batch(events));
        let refused: Vec<_> = rejected.iter().map(|rejected| (rejected.index, &*rejected.code)).collect();
        assert_eq!(refused, [(5, "row_refused"), (11, "row_refused")]);
        assert!(rejected[0].reason.contains("odd"), "{:?}", rejected[0]);
        assert_eq!((delivery.delivered, delivery.duplicates), (17, 1));
        let seen = rig.seen(None);
        assert!(!seen["f"].rows.contains_key("m7") && !seen["f"].rows.contains_key("m13"));
        assert!(seen["f"].rows.contains_key("m1") && seen["f"].rows.contains_key("m9"));
        assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len() + seen["f"].rows.len()), (18, 19));
    });
}

#[test]
fn an_id_that_reads_like_an_exception_is_only_an_id() {
    run("an id like an exception", |rig: &ClickHouse| {
        let ids = ["Code: 241. DB::Exception: Memory limit exceeded", "\r\n--\r\n", "\\' OR 1 = 1"];
        let events = || batch(ids.iter().zip(0..).map(|(id, n)| track(n, id, "E", json!({ "n": n }))).collect());
        Subject::open(rig).deliver(events());
        rig.run("TRUNCATE TABLE LEDGER");
        let delivery = Subject::open(rig).try_deliver(events()).unwrap();
        assert_eq!((delivery.delivered, delivery.duplicates), (3, 3));
        assert_eq!(rig.seen(None)["e"].rows.len(), 3);
    });
}

#[test]
fn a_wrong_password_stops_and_is_never_shown() {
    let alter = |settings| clickhouse::ClickHouseSettings { password: "hunter2".to_owned(), ..settings };
    with("a wrong password", alter, |rig| {
        let failure = Subject::open(rig).try_deliver(numbered(0..1)).unwrap_err();
        assert!(matches!(&failure, Failure::Stop { advice, .. } if advice.contains("password")), "{failure}");
        assert!(!format!("{failure:?} {:?}", rig.1(rig.0.settings_of())).contains("hunter2"), "{failure:?}");
    });
}

#[test]
fn a_line_is_encrypted_and_only_a_known_authority_is_trusted() {
    let alter = |settings: clickhouse::ClickHouseSettings| match &engine().unwrap().tls {
        Some((ca_file, port)) => {
            let url = format!("https://127.0.0.1:{port}");
            let web = WebSettings { ca_file: Some(ca_file.clone()), ..WebSettings::default() };
            clickhouse::ClickHouseSettings { url, web, ..settings }
        }
        None => settings,
    };
    with("an encrypted line", alter, |rig| {
        if engine().unwrap().tls.is_none() {
            return skipped("an encrypted line", "openssl is not installed");
        }
        Subject::open(rig).deliver(numbered(0..500));
        assert_eq!(rig.seen(None)["e"].rows.len(), 500);
        let newcomer = Altered(ClickHouse::new().unwrap(), |settings| {
            let port = engine().unwrap().tls.as_ref().unwrap().1;
            clickhouse::ClickHouseSettings { url: format!("https://127.0.0.1:{port}"), ..settings }
        });
        let failure = Subject::open(&newcomer).try_deliver(numbered(0..1)).unwrap_err();
        assert!(failure.to_string().to_lowercase().contains("certificate"), "{failure}");
        assert!(failure.to_string().contains("`ca_file`"), "{failure}");
    });
}

#[test]
fn rows_may_be_compressed_on_their_way() {
    with(
        "compression",
        |settings| clickhouse::ClickHouseSettings { compress: true, ..settings },
        |rig| {
            Subject::open(rig).deliver(numbered(0..500));
            assert_eq!(rig.seen(None)["e"].rows.len(), 500);
        },
    );
}

#[test]
fn without_looking_up_every_batch_each_event_is_still_there_once() {
    let alter = |settings| clickhouse::ClickHouseSettings { look_up: LookUp::AfterFailures, ..settings };
    with("without looking up", alter, |rig| {
        let mut subject = Subject::open(rig);
        for (start, end) in [(0, 10), (10, 20), (5, 25), (0, 3)] {
            subject.deliver(numbered(start..end));
        }
        // Broken off anywhere: whoever comes next cannot be certain.
        let (mut at, mut pauses) = (25, 0);
        while !subject.deliver_cut(numbered(at..at + 10), pauses) {
            let durable = subject.durable_to().unwrap();
            assert!(durable == at || durable == at + 10, "{durable} after {at}");
            subject.deliver(numbered(durable..at + 17));
            (at, pauses) = (at + 17, pauses + 1);
        }
        println!("came through after {pauses} pauses");
        at += 10;
        subject.deliver(numbered(at..at + 4));
        let seen = rig.seen(None);
        assert_eq!((seen["tracks"].rows.len() as u64, seen["e"].rows.len() as u64), (at + 4, at + 4));
    });
}

/// An insert of a predecessor that is dead, of which the server has not heard.
#[test]
fn an_insert_that_still_runs_is_waited_for_before_rows_are_looked_up() {
    run("an insert that still runs", |rig: &ClickHouse| {
        Subject::open(rig).deliver(numbered(0..3));
        let (port, database) = (rig.port, rig.database.clone());
        let slow = std::thread::spawn(move || {
            let insert = format!("INSERT INTO `{database}`.e (id, n) SELECT 'm3', 3 WHERE sleepEachRow(2) = 0");
            post(port, &format!("/?query_id=tidegate/{database}/e/sync"), &insert)
        });
        let running = format!(
            "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO `{}`.e (id%' FORMAT JSONCompactEachRow",
            rig.database
        );
        while lines(&running)[0][0] != "1" {
            assert!(!slow.is_finished(), "{:?}", slow.join());
        }
        Subject::open(rig).deliver(numbered(3..5));
        // A server would have cancelled it, if it could.
        let _ = slow.join().unwrap();
        let seen = rig.seen(None);
        assert_eq!((seen["e"].rows.len(), seen["tracks"].rows.len()), (5, 5));
    });
}

/// While the router has the database open.
#[test]
fn a_view_that_takes_the_name_of_an_event_is_left_alone() {
    run("a view", |rig: &ClickHouse| {
        let mut subject = Subject::open(rig);
        subject.deliver(numbered(0..3));
        rig.run("CREATE VIEW DB.f AS SELECT id FROM DB.e");
        let delivery = subject.deliver(batch(vec![track(3, "m3", "F", json!({ "n": 3 }))]));
        assert_eq!(delivery.notices, ["f exists and is not the router's: its events go to table _overflow"]);
        assert_eq!(rig.seen(None)["_overflow"].cell("m3", "event_text"), Some("F"));
    });
}

#[test]
fn what_exists_is_found_without_changing_anything() {
    run("what exists", |rig: &ClickHouse| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let find = || {
            runtime.block_on(async {
                rig.settings_of().check(&SyncPart { sync: "s".into(), ..SyncPart::default() })?.find().await
            })
        };
        assert_eq!(find().unwrap().tables.len(), 0);
        assert_eq!(Subject::open(rig).durable_to(), None);
        assert_eq!(
            lines(&format!(
                "SELECT name FROM system.databases WHERE name = '{}' FORMAT JSONCompactEachRow",
                rig.database
            ))
            .len(),
            0
        );
        Subject::open(rig).deliver(Batch { range: 0..1, ..numbered(0..1) });
        rig.run("CREATE VIEW DB.v AS SELECT 1 AS one");
        let found = find().unwrap();
        assert_eq!((found.tables["e"].is_table, &*found.tables["e"].key[0]), (true, "id"));
        assert!(!found.tables["v"].is_table);
    });
}

#[test]
fn settings_that_cannot_be_used_are_refused_at_once() {
    let part = SyncPart { sync: "s".into(), ..SyncPart::default() };
    let of = |url: &str| clickhouse::ClickHouseSettings::new(url);
    let bad = [
        of("clickhouse:8123"),
        of("http://user:secret@host:8123"),
        of("http://host/?password=x"),
        clickhouse::ClickHouseSettings { password: "a\nb".to_owned(), ..of("http://host") },
        clickhouse::ClickHouseSettings { database: "System".to_owned(), ..of("http://host") },
        clickhouse::ClickHouseSettings { database: "a`b".to_owned(), ..of("http://host") },
    ];
    for settings in bad {
        let failure = open(&settings.clone(), &part).map(drop).unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }), "{settings:?}");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
    let missing = clickhouse::ClickHouseSettings {
        web: WebSettings { ca_file: Some("/none.pem".into()), ..WebSettings::default() },
        ..of("https://host")
    };
    let failure = open(&missing, &part).map(drop).unwrap_err();
    assert!(failure.to_string().contains("/none.pem"), "{failure}");
    assert!(open(&of("https://host:8443"), &part).is_ok(), "nothing need be reachable");
}
