//! Other people with the same file: readers, operators who alter tables, wrong permissions.

use tidegate_warehouse::SyncPart;
use tidegate_warehouse_sqlite::CheckedSqlite;

use super::*;

fn sync() -> SyncPart {
    SyncPart { sync: "sync".to_owned(), ..SyncPart::default() }
}

#[test]
fn an_operator_may_add_columns_between_batches() {
    let file = File::new();
    let mut client = file.client();
    client.deliver(&batch(vec![track(0, "a", "E", json!({ "v": 1 }))])).unwrap();
    file.reader()
        .execute_batch(
            "ALTER TABLE e ADD COLUMN \"Plan\" VARCHAR(9); ALTER TABLE e ADD COLUMN ratio REAL; \
             ALTER TABLE e ADD COLUMN bare; ALTER TABLE e ADD COLUMN twice AS (v * 2); ALTER TABLE e ADD COLUMN n INT DEFAULT 7",
        )
        .unwrap();
    let big = 9_007_199_254_740_993_i64;
    let properties = json!({ "plan": 12, "ratio": 0.5, "bare": 3, "twice": "mine", "v": 2, "n": 1.5 });
    client.deliver(&batch(vec![track(1, "b", "E", properties)])).unwrap();
    client.deliver(&batch(vec![track(2, "c", "E", json!({ "ratio": big, "n": "x" }))])).unwrap();
    for (column, id, expected) in [
        ("Plan", "b", text("12")),
        ("ratio", "b", Stored::Real(0.5)),
        ("ratio", "c", Stored::Integer(big)),
        ("bare", "b", text("3")),
        ("twice", "b", Stored::Integer(4)),
        ("n", "a", text("7")),
        ("n", "b", text("1.5")),
        ("n", "c", text("x")),
    ] {
        assert_eq!(file.cell("e", column, id), expected, "{column} of {id}");
    }
    assert_eq!(file.overflow("e", "b"), json!({"properties": {"twice": "mine"}}));
    file.assert_sound();
}

#[test]
fn an_operator_may_retype_columns_between_batches() {
    let file = File::new();
    let mut client = file.client();
    client.deliver(&batch(vec![track(0, "a", "E", json!({ "v": "1", "w": 1 }))])).unwrap();
    file.reader()
        .execute_batch(
            "ALTER TABLE e RENAME COLUMN v TO old; ALTER TABLE e ADD COLUMN v INTEGER; UPDATE e SET v = old;
             ALTER TABLE e DROP COLUMN old; ALTER TABLE e DROP COLUMN w; ALTER TABLE e DROP COLUMN sent_at;",
        )
        .unwrap();
    client.deliver(&batch(vec![track(1, "b", "E", json!({ "v": 2, "w": 2 }))])).unwrap();
    assert_eq!(file.cell("e", "v", "b"), Stored::Integer(2));
    client.deliver(&batch(vec![track(2, "c", "E", json!({ "v": "003" }))])).unwrap();
    let found = ["a", "b", "c"].map(|id| file.cell("e", "v", id));
    assert_eq!(found, [text("1"), text("2"), text("003")]);
    assert!(file.columns("e").contains_key("sent_at"));
    file.assert_sound();
}

#[test]
fn an_event_named_like_somebody_elses_table_or_view_harms_neither() {
    let file = File::new();
    let reader = file.reader();
    reader
        .execute_batch("CREATE TABLE users (id INTEGER PRIMARY KEY, name); CREATE VIEW daily AS SELECT 1; CREATE INDEX fast ON users (name)")
        .unwrap();
    let mut client = file.client();
    let names = ["Users", "Daily", "fast"];
    let events = names.iter().enumerate().map(|(at, name)| track(at as u64, name, name, json!({ "n": at }))).collect();
    let delivery = client.deliver(&batch(events)).unwrap();
    assert_eq!(delivery.notices.len(), 3, "{:?}", delivery.notices);
    assert_eq!((file.count("users"), file.count("_overflow")), (0, 3));
    reader.execute_batch("CREATE VIEW pages AS SELECT 1 AS id").unwrap();
    let failure = client.deliver(&batch(vec![event(EventKind::Page, 3, "p", json!({}))])).unwrap_err();
    assert!(failure.to_string().contains("rename pages"), "{failure}");
}

#[test]
fn a_row_that_somebodys_constraint_forbids_is_quarantined_whole() {
    let file = File::new();
    let mut client = file.client();
    client.deliver(&batch(vec![track(0, "a", "E", json!({ "v": 1 }))])).unwrap();
    file.reader().execute_batch("CREATE UNIQUE INDEX only ON e (v)").unwrap();
    let events = vec![
        track(1, "b", "E", json!({ "v": 2 })),
        track(2, "c", "E", json!({ "v": 1 })),
        track(3, "d", "E", json!({ "v": 3 })),
        track(4, "a", "E", json!({ "v": 4 })),
    ];
    let events = batch(events);
    let Err(Failure::Refused { rejected }) = client.deliver(&events) else { panic!("nothing is refused") };
    assert_eq!(
        rejected.iter().map(|rejected| (rejected.index, rejected.code.as_ref())).collect::<Vec<_>>(),
        [(1, "row_refused")]
    );
    assert_eq!(
        (file.count("tracks"), client.durable_to().unwrap()),
        (1, Some(1)),
        "the others wait until it is quarantined"
    );
    let delivery = client.deliver(&events.without(&rejected)).unwrap();
    assert_eq!((delivery.delivered, delivery.duplicates), (3, 1));
    assert_eq!((file.count("tracks"), file.count("e")), (3, 3), "neither of its rows is there");
}

#[test]
fn a_reader_that_never_leaves_is_waited_for_once_the_log_is_long() {
    let file = File::new();
    let settings = SqliteSettings {
        log_bytes_max: 1 << 20,
        busy_timeout: std::time::Duration::from_millis(20),
        ..SqliteSettings::new(&file.path)
    };
    let mut client = settings.check(&sync()).unwrap().open().unwrap();
    let mut offset = 0;
    let mut send = |client: &mut Client| {
        let made =
            (0..100).map(|n| track(offset + n, &format!("m{}", offset + n), "E", json!({ "v": "x".repeat(1000) })));
        let sent = client.deliver(&batch(made.collect()));
        offset += if sent.is_ok() { 100 } else { 0 };
        sent.map(|_| offset)
    };
    send(&mut client).unwrap();
    let reader = file.reader();
    reader.execute_batch("BEGIN; SELECT count(*) FROM e").unwrap();
    let failure = (0..1000).find_map(|_| send(&mut client).err()).expect("the bound is reached");
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    let log = || std::fs::metadata(file.path.with_extension("db-wal")).map_or(0, |log| log.len());
    assert!(log() < 4 << 20);
    reader.execute_batch("COMMIT").unwrap();
    let sent = send(&mut client).unwrap();
    assert_eq!(file.count("e"), i64::try_from(sent).unwrap());
    assert!(log() < 1 << 20);
}

#[test]
fn another_writer_is_waited_for_and_then_reported() {
    let file = File::new();
    let settings =
        SqliteSettings { busy_timeout: std::time::Duration::from_millis(10), ..SqliteSettings::new(&file.path) };
    let mut client = settings.check(&sync()).unwrap().open().unwrap();
    let writer = file.reader();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let made = || batch(vec![track(0, "a", "E", json!({}))]);
    assert!(matches!(client.deliver(&made()).unwrap_err(), Failure::Retry { .. }));
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(client.deliver(&made()).unwrap().delivered, 1);
}

#[test]
fn syncs_that_write_into_one_file_wait_for_one_another() {
    const BATCHES: u64 = 25;
    let file = File::new();
    let clients = ["one", "two", "three", "four"].map(|sync| {
        let settings =
            SqliteSettings { busy_timeout: std::time::Duration::from_millis(1), ..SqliteSettings::new(&file.path) };
        let part = SyncPart { sync: sync.to_owned(), ..SyncPart::default() };
        (sync, settings.check(&part).unwrap().open().unwrap())
    });
    std::thread::scope(|scope| {
        for (sync, mut client) in clients {
            scope.spawn(move || {
                for n in 0..BATCHES {
                    let events = vec![track(n, &format!("{sync}-{n}"), "E", json!({}))];
                    client.deliver(&batch(events)).unwrap_or_else(|failure| panic!("{sync}, batch {n}: {failure}"));
                }
                assert_eq!(client.durable_to().unwrap(), Some(BATCHES));
            });
        }
    });
    assert_eq!(file.count("e"), i64::try_from(BATCHES).unwrap() * 4);
}

#[test]
fn files_that_cannot_be_written_stop_the_sync_with_advice() {
    let file = File::new();
    let stopped = |path: &Path| match SqliteSettings::new(path).check(&sync()).and_then(CheckedSqlite::open) {
        Err(Failure::Stop { advice, .. }) => advice,
        other => panic!("{other:?}"),
    };
    assert!(stopped(&file.path.join("nowhere/w.db")).contains("directory"));
    let other = file.path.with_extension("txt");
    std::fs::write(&other, "this is no database, and long enough to be read as one".repeat(50)).unwrap();
    assert!(stopped(&other).contains("no SQLite file"));
    drop(file.client());
    let mut permissions = std::fs::metadata(&file.path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file.path, permissions).unwrap();
    // A privileged user may write it all the same.
    match std::fs::OpenOptions::new().write(true).open(&file.path) {
        Ok(_) => drop(file.client()),
        Err(_) => assert!(stopped(&file.path).contains("write")),
    }
    for bad in ["", ":memory:"] {
        assert!(SqliteSettings::new(bad).check(&sync()).is_err());
    }
    assert!(SqliteSettings::new("w.db").check(&SyncPart::default()).is_err());
    for schema in ["a__b", "A", "1a", "a_", "a;b", "sqlite_x", ""] {
        let part = SyncPart { schema: Some(schema.to_owned()), ..sync() };
        assert!(SqliteSettings::new("w.db").check(&part).is_err(), "{schema}");
    }
}
