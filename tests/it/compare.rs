//! `tidegate compare`: what is planted is found and nothing else, whatever warehouses the two are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::clickhouse::{self, ClickHouse};
use crate::conformance::postgres::Postgres;
use crate::conformance::sqlite::Sqlite;
use crate::conformance::{Rig as _, skipped};
use crate::support::{Workspace, run};

/// By column, as SQL spells it.
type MadeRow = BTreeMap<&'static str, String>;

/// A table, for any warehouse.
#[derive(Clone)]
struct MadeTable {
    name: &'static str,
    /// With `text`, `integer`, `decimal`, `boolean`, `instant` or `json`.
    columns: Vec<(&'static str, &'static str)>,
    rows: Vec<MadeRow>,
}

/// A warehouse whose tables are made by statements.
enum MadeWarehouse {
    Sqlite(Sqlite),
    Postgres(Postgres),
    ClickHouse(ClickHouse),
}

impl MadeWarehouse {
    fn declared(&self, column: &str, kind: &str) -> &'static str {
        let (sqlite, postgres, clickhouse) = match kind {
            "integer" => ("INTEGER", "bigint", "Nullable(Int64)"),
            "decimal" => ("DECIMAL", "numeric", "Nullable(Decimal(76, 38))"),
            "boolean" => ("BOOLEAN", "boolean", "Nullable(Bool)"),
            "instant" => ("TIMESTAMP TEXT", "timestamp with time zone", "Nullable(DateTime64(6, 'UTC'))"),
            "json" => ("JSON TEXT", "json", "Nullable(String) COMMENT 'JSON'"),
            "text" if column == "id" => ("TEXT PRIMARY KEY NOT NULL", "text PRIMARY KEY", "String"),
            _ => ("TEXT", "text", "Nullable(String)"),
        };
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
            Self::ClickHouse(_) => clickhouse,
        }
    }

    fn make(&self, tables: &[MadeTable]) {
        let mut statements = Vec::new();
        if let Self::ClickHouse(it) = self {
            clickhouse::sql(&format!("CREATE DATABASE `{}`", it.database));
        }
        let (place, engine) = match self {
            Self::ClickHouse(_) => ("DB.", " ENGINE = MergeTree ORDER BY id"),
            _ => ("", ""),
        };
        for table in tables {
            let columns: Vec<String> =
                table.columns.iter().map(|(name, kind)| format!("{name} {}", self.declared(name, kind))).collect();
            statements.push(format!("CREATE TABLE {place}{} ({}){engine}", table.name, columns.join(", ")));
            for row in &table.rows {
                let values: Vec<String> =
                    table.columns.iter().map(|(name, kind)| self.value(row, name, kind)).collect();
                statements.push(format!("INSERT INTO {place}{} VALUES ({})", table.name, values.join(", ")));
            }
        }
        match self {
            Self::Sqlite(it) => it.run(&statements.join(";\n")),
            Self::Postgres(it) => {
                it.run(&format!("{};\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO router;", statements.join(";\n")))
            }
            Self::ClickHouse(it) => statements.iter().all(|statement| it.run(statement)),
        };
    }

    fn value(&self, row: &MadeRow, column: &str, kind: &str) -> String {
        let value = row.get(column).map_or("NULL", String::as_str);
        match self {
            Self::ClickHouse(_) if kind == "instant" && value != "NULL" => {
                format!("parseDateTime64BestEffort({value}, 6, 'UTC')")
            }
            _ => value.to_owned(),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::Sqlite(it) => it.yaml(),
            Self::Postgres(it) => it.yaml(),
            Self::ClickHouse(it) => it.yaml(),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn columns() -> Vec<(&'static str, &'static str)> {
    vec![
        ("id", "text"),
        ("received_at", "instant"),
        ("original_timestamp", "instant"),
        ("event_text", "text"),
        ("note", "text"),
        ("city", "text"),
        ("serial", "integer"),
        ("total", "decimal"),
        ("gift", "boolean"),
        ("placed_at", "instant"),
        ("items", "json"),
        ("quantity", "integer"),
        ("coupon", "text"),
    ]
}

fn row(n: u32) -> MadeRow {
    MadeRow::from([
        ("id", quoted(&format!("e-{n:03}"))),
        ("received_at", quoted(&format!("2026-11-0{}T10:{n:02}:00.250000Z", n % 3 + 1))),
        ("original_timestamp", quoted(&format!("2026-11-0{}T10:{n:02}:00.000000Z", n % 3 + 1))),
        ("event_text", quoted("Order Completed")),
        ("note", quoted(&format!("note {n}"))),
        ("city", quoted("Köln")),
        ("serial", (12_345_678_901_234_560_u64 + u64::from(n)).to_string()),
        ("total", format!("{n}.50")),
        ("gift", if n.is_multiple_of(2) { "true" } else { "false" }.to_owned()),
        ("placed_at", quoted(&format!("2026-10-31T08:{n:02}:00.120Z"))),
        ("items", quoted(r#"[{"sku":"S-1","price":1.50}]"#)),
        ("quantity", n.to_string()),
        ("coupon", quoted("TEN")),
    ])
}

const ROWS: u32 = 30;

fn tables() -> Vec<MadeTable> {
    let table = |name| MadeTable { name, columns: columns(), rows: (1..=ROWS).map(row).collect() };
    vec![table("order_completed"), table("product_viewed"), table("tracks")]
}

/// The same values, spelled in another way.
fn respelled() -> Vec<MadeTable> {
    let mut tables = tables();
    for row in tables.iter_mut().flat_map(|table| &mut table.rows) {
        row.insert("items", quoted(r#"[ {"price": 1.5, "sku": "S-1"} ]"#));
        let (total, placed_at) =
            (row["total"].trim_end_matches('0').to_owned(), row["placed_at"].replace(".120Z", ".120000Z"));
        row.insert("total", total);
        row.insert("placed_at", placed_at);
    }
    tables
}

/// Ten differences.
fn planted() -> Vec<MadeTable> {
    let mut tables = respelled();
    tables.retain(|table| table.name != "product_viewed");
    let orders = tables.iter_mut().find(|table| table.name == "order_completed").unwrap();
    let at =
        |orders: &MadeTable, n: usize| orders.rows.iter().position(|row| row["id"] == format!("'e-{n:03}'")).unwrap();
    for (n, column, value) in [
        (5, "note", "'another note'"),
        (7, "serial", "12345678901234568"),
        (9, "placed_at", "'2026-10-31T08:09:00.121Z'"),
        (11, "city", "NULL"),
        (13, "received_at", "'2026-11-03T10:13:00.250Z'"),
    ] {
        let place = at(orders, n);
        orders.rows[place].insert(column, value.to_owned());
    }
    let missing = at(orders, 3);
    orders.rows.remove(missing);
    let mut extra = row(1);
    extra.insert("id", quoted("e-900"));
    orders.rows.push(extra);
    orders.columns.retain(|(name, _)| *name != "coupon");
    for row in &mut orders.rows {
        let text = quoted(&row["quantity"]);
        row.insert("quantity", text);
    }
    for column in &mut orders.columns {
        if column.0 == "quantity" {
            column.1 = "text";
        }
    }
    tables
}

/// Two warehouses in files that name them.
struct Compared {
    folder: TempDir,
    /// Kept while they are compared.
    _sides: [MadeWarehouse; 2],
}

impl Compared {
    fn new(sides: [MadeWarehouse; 2], tables: [Vec<MadeTable>; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for ((side, tables), name) in sides.iter().zip(&tables).zip(["ours.yaml", "theirs.yaml"]) {
            side.make(tables);
            std::fs::write(folder.path().join(name), side.yaml()).unwrap();
        }
        Self { folder, _sides: sides }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, more: &[&str]) -> Output {
        compare(&self.path("ours.yaml"), &self.path("theirs.yaml"), more)
    }

    fn answered(&self, more: &[&str]) -> (Option<i32>, Value) {
        answered(&self.run(&[more, &["--json"]].concat()))
    }
}

fn compare(ours: &Path, theirs: &Path, more: &[&str]) -> Output {
    let mut args = vec!["compare", ours.to_str().unwrap(), theirs.to_str().unwrap()];
    args.extend(["--from", "2026-11-01", "--to", "2026-11-05"]);
    args.extend_from_slice(more);
    run(&args)
}

fn answered(output: &Output) -> (Option<i32>, Value) {
    let answer = serde_json::from_slice(&output.stdout);
    (output.status.code(), answer.unwrap_or_else(|_| panic!("{}", text(output))))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn sqlite() -> MadeWarehouse {
    MadeWarehouse::Sqlite(Sqlite::new().unwrap())
}

/// The report on a table.
fn of<'a>(answer: &'a Value, table: &str) -> &'a Value {
    answer["tables"].as_array().unwrap().iter().find(|it| it["table"] == table).unwrap_or_else(|| panic!("{answer:#}"))
}

#[track_caller]
fn finds_what_is_planted_and_nothing_else(theirs: MadeWarehouse) {
    let compared = Compared::new([sqlite(), theirs], [tables(), planted()]);
    let (code, answer) = compared.answered(&[]);
    assert_eq!((code, &answer["equal"]), (Some(1), &json!(false)), "{answer:#}");
    assert_eq!(answer["missing_tables"], json!([{"table": "product_viewed", "rows": ROWS}]));
    assert_eq!((&answer["extra_tables"], &answer["not_compared"]), (&json!([]), &json!([])));
    assert_eq!(answer["tables"].as_array().unwrap().len(), 2, "{answer:#}");
    let tracks = of(&answer, "tracks");
    assert_eq!((&tracks["equal"], &tracks["same"]), (&json!(true), &json!(ROWS)), "{tracks:#}");

    let orders = of(&answer, "order_completed");
    assert_eq!(orders["missing"], json!({"count": 1, "keys": ["e-003"]}));
    assert_eq!(orders["extra"], json!({"count": 1, "keys": ["e-900"]}));
    let moved = json!({"key": "e-013", "ours": "2026-11-02T10:13:00.250000Z", "theirs": "2026-11-03T10:13:00.250000Z"});
    assert_eq!(orders["moved"], json!({"count": 1, "rows": [moved]}));
    assert_eq!(orders["columns"]["missing"], json!([{"column": "coupon", "values": ROWS}]));
    assert_eq!((&orders["columns"]["extra"], &orders["columns"]["renamed"]), (&json!([]), &json!([])));
    let types = orders["columns"]["types"].as_array().unwrap();
    assert_eq!((types.len(), &types[0]["column"], &types[0]["ours"]), (1, &json!("quantity"), &json!("INTEGER")));
    let [digits, time] = ["a number of 17 digits", "a time"];
    let value = |column: &str, key: &str, ours: &str, theirs: &str| json!({"column": column, "count": 1, "rows": [{"key": key, "ours": ours, "theirs": theirs}]});
    assert_eq!(
        orders["values"],
        json!([
            value("city", "e-011", "text of 4 characters", "null"),
            value("note", "e-005", "text of 6 characters", "text of 12 characters"),
            value("placed_at", "e-009", time, time),
            value("serial", "e-007", digits, digits),
        ])
    );
    // One is missing, one is moved, and four differ in a value.
    assert_eq!(orders["same"], json!(ROWS - 6));
    assert_eq!(
        (&orders["repeated"], &orders["without_key"]),
        (&json!({"ours": 0, "theirs": 0}), &json!({"ours": 0, "theirs": 0}))
    );
    assert_eq!(
        orders["days"],
        json!([
            {"day": "2026-11-01", "ours": 10, "theirs": 9},
            {"day": "2026-11-02", "ours": 10, "theirs": 10},
            {"day": "2026-11-03", "ours": 10, "theirs": 11},
        ])
    );

    let (code, answer) = compared.answered(&["--values", "--event", "Order Completed"]);
    assert_eq!((code, answer["tables"].as_array().unwrap().len()), (Some(1), 1));
    let serial = &of(&answer, "order_completed")["values"][3]["rows"][0];
    assert_eq!((&serial["ours"], &serial["theirs"]), (&json!("12345678901234567"), &json!("12345678901234568")));
}

#[test]
fn ten_differences_between_two_files_are_found_and_nothing_else() {
    finds_what_is_planted_and_nothing_else(sqlite());
}

#[test]
fn ten_differences_between_a_file_and_postgresql_are_found_and_nothing_else() {
    match Postgres::new() {
        Ok(postgres) => finds_what_is_planted_and_nothing_else(MadeWarehouse::Postgres(postgres)),
        Err(lack) => skipped("compare: PostgreSQL", &lack),
    }
}

#[test]
fn ten_differences_between_a_file_and_clickhouse_are_found_and_nothing_else() {
    match ClickHouse::new() {
        Ok(it) => finds_what_is_planted_and_nothing_else(MadeWarehouse::ClickHouse(it)),
        Err(lack) => skipped("compare: ClickHouse", &lack),
    }
}

#[test]
fn values_that_are_spelled_in_another_way_are_the_same() {
    let compared = Compared::new([sqlite(), sqlite()], [tables(), respelled()]);
    let (code, answer) = compared.answered(&[]);
    assert_eq!((code, &answer["equal"]), (Some(0), &json!(true)), "{answer:#}");
    let output = compared.run(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains("nothing is different"), "{}", text(&output));
}

#[test]
fn values_are_not_shown_unless_they_are_asked_for() {
    let compared = Compared::new([sqlite(), sqlite()], [tables(), planted()]);
    let (masked, shown) = (text(&compared.run(&[])), text(&compared.run(&["--values"])));
    for value in ["another note", "12345678901234568", "Köln"] {
        assert!(!masked.contains(value) && shown.contains(value), "{masked}\n{shown}");
    }
    for said in ["only OURS has the table product_viewed", "column coupon is only in OURS", "e-013"] {
        assert!(masked.contains(said), "{said}: {masked}");
    }
    let few = compared.answered(&["--rows", "0"]).1;
    assert_eq!(of(&few, "order_completed")["missing"], json!({"count": 1, "keys": []}));
}

#[test]
fn a_tolerance_is_for_the_clocks_of_servers_and_for_nothing_else() {
    let mut theirs = tables();
    for row in theirs.iter_mut().flat_map(|table| &mut table.rows) {
        let later = row["received_at"].replace(".250000Z", ".900000Z");
        row.insert("received_at", later);
    }
    theirs[0].rows[0].insert("placed_at", quoted("2026-10-31T08:01:00.121Z"));
    let compared = Compared::new([sqlite(), sqlite()], [tables(), theirs]);
    let (code, answer) = compared.answered(&["--tolerance", "1s"]);
    assert_eq!(code, Some(1), "{answer:#}");
    let columns = |answer: &Value| -> Vec<Value> {
        let values = answer["tables"].as_array().unwrap().iter().flat_map(|table| table["values"].as_array().unwrap());
        values.map(|value| value["column"].clone()).collect()
    };
    assert_eq!(columns(&answer), ["placed_at"]);
    assert_eq!(compared.answered(&["--tolerance", "1s", "--ignore", "placed_at"]).0, Some(0));
    assert_eq!(columns(&compared.answered(&["--event", "Product Viewed"]).1), ["received_at"]);
}

/// A file of a case, as a SQLite file and the document that names it.
fn case(folder: &Path, name: &str, sql: &str) -> PathBuf {
    let (file, path) = (folder.join(format!("{name}.db")), folder.join(format!("{name}.yaml")));
    rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    std::fs::write(&path, format!("kind: sqlite\npath: {name}.db\n")).unwrap();
    path
}

#[test]
fn tables_of_segment_that_differ_in_names_alone_are_equal_in_its_dialect() {
    let folder = tempfile::tempdir().unwrap();
    let ours = case(folder.path(), "ours", include_str!("cases/compare/ours.sql"));
    let theirs = case(folder.path(), "theirs", include_str!("cases/compare/segment.sql"));
    let (code, answer) = answered(&compare(&ours, &theirs, &["--dialect", "segment", "--json"]));
    assert_eq!((code, &answer["equal"]), (Some(0), &json!(true)), "{answer:#}");
    let checkout = of(&answer, "checkout_2_started");
    assert_eq!((&checkout["their_table"], &checkout["same"]), (&json!("checkout2_started"), &json!(2)));
    assert_eq!(
        checkout["columns"]["renamed"],
        json!([{"ours": "_order", "theirs": "order"}, {"ours": "address_1", "theirs": "address1"}])
    );
    assert_eq!(answer["not_compared"], json!(["loads"]));
    // As the router's own they would differ.
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    assert_eq!(code, Some(1));
    let extra: Vec<&Value> = answer["extra_tables"].as_array().unwrap().iter().map(|table| &table["table"]).collect();
    assert_eq!(extra, ["checkout2_started", "users"]);
}

#[test]
fn a_destination_of_the_workspace_is_compared_by_its_name() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let event = |n: u32| json!({"type": "track", "event": "Order Completed", "messageId": format!("m-{n}"), "userId": "u", "properties": {"n": n}});
    assert_eq!(server.batch(&(0..20).map(event).collect::<Vec<_>>()).status, 200);
    server.stop();
    let copy = workspace.path().join("copy.yaml");
    rusqlite::Connection::open(workspace.data().join("warehouse.db"))
        .unwrap()
        .execute("VACUUM INTO ?1", [workspace.path().join("copy.db").to_str().unwrap()])
        .unwrap();
    std::fs::write(&copy, "kind: sqlite\npath: copy.db\n").unwrap();
    let days = workspace
        .warehouse()
        .rows("SELECT substr(min(received_at), 1, 10), substr(max(received_at), 1, 10) FROM tracks");
    let (from, to) = days[0].split_once('|').unwrap();
    let folder = workspace.path();
    let to = format!("{to}T23:59:59.999999Z");
    let compare = || {
        let sides = ["compare", "warehouse", copy.to_str().unwrap(), "--workspace", folder.to_str().unwrap()];
        run(&[&sides[..], &["--from", from, "--to", &to, "--json"][..]].concat())
    };
    let (code, answer) = answered(&compare());
    assert_eq!((code, &of(&answer, "order_completed")["same"]), (Some(0), &json!(20)), "{answer:#}");
    rusqlite::Connection::open(workspace.path().join("copy.db"))
        .unwrap()
        .execute_batch("DELETE FROM order_completed WHERE n >= 12")
        .unwrap();
    let (code, answer) = answered(&compare());
    assert_eq!((code, &of(&answer, "order_completed")["missing"]["count"]), (Some(1), &json!(8)));
    workspace.write("syncs/more.yaml", "source: web\ndestination: warehouse\nschema: more\n");
    let (code, answer) = answered(&compare());
    assert_eq!(code, Some(2));
    assert!(answer["error"].as_str().unwrap().contains("--schema"), "{answer:#}");
}

#[test]
fn what_cannot_be_compared_is_told_with_a_code_of_its_own_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let ours = case(folder.path(), "ours", include_str!("cases/compare/ours.sql"));
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let lost = written("lost.yaml", "kind: sqlite\npath: lost.db\n");
    let lake = written("lake.yaml", "kind: lake\nurl: lake\n");
    let secret = "kind: postgres\nhost: 127.0.0.1\nport: 1\nuser: u\npassword: hunter2-hunter2\ndbname: d\n";
    let away = written("away.yaml", secret);
    let wrong = written("wrong.yaml", "kind: postgres\npasword: hunter2-hunter2\n");
    let none = folder.path().join("none.yaml");
    let cases: [(&PathBuf, &[&str], &str); 10] = [
        (&lost, &[], "no such file"),
        (&lake, &[], "only SQLite, PostgreSQL and ClickHouse"),
        (&away, &[], "THEIRS cannot be read"),
        (&wrong, &[], "`password`"),
        (&none, &[], "cannot be read"),
        (&ours, &["--event", "Nobody Sends This"], "nobody_sends_this"),
        (&ours, &["--to", "2026-10-01"], "--from is not before --to"),
        (&ours, &["--time", "event_text"], "--time"),
        (&ours, &["--key", "ids"], "there was nothing to compare"),
        (&ours, &["--from", "yesterday"], "2026-11-01"),
    ];
    for (theirs, more, word) in cases {
        // An option that is given twice is wrong usage.
        let mut args = vec!["compare", ours.to_str().unwrap(), theirs.to_str().unwrap()];
        for pair in ["--from", "2026-11-01", "--to", "2026-11-05"].chunks(2).filter(|pair| !more.contains(&pair[0])) {
            args.extend(pair);
        }
        args.extend_from_slice(more);
        let output = run(&args);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{theirs:?} {more:?}: {said}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{theirs:?} {more:?}: {said}");
    }
}

#[test]
fn a_time_without_rows_on_either_side_is_not_taken_for_one_without_differences() {
    let folder = tempfile::tempdir().unwrap();
    let table = "CREATE TABLE tracks (id TEXT, received_at TIMESTAMP TEXT, note TEXT); \
        INSERT INTO tracks VALUES ('1', '2026-12-24T10:00:00.000000Z', 'later')";
    let ours = case(folder.path(), "ours", table);
    let theirs = case(folder.path(), "theirs", table);
    let output = compare(&ours, &theirs, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("nothing was compared: neither side has a row"), "{}", text(&output));
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    assert_eq!((code, answer.get("equal")), (Some(2), None), "{answer:#}");
    // Rows without a key are not compared either.
    let no_key = "INSERT INTO tracks VALUES (NULL, '2026-11-02T10:00:00.000000Z', NULL)";
    for side in ["ours.db", "theirs.db"] {
        rusqlite::Connection::open(folder.path().join(side)).unwrap().execute_batch(no_key).unwrap();
    }
    assert_eq!(compare(&ours, &theirs, &[]).status.code(), Some(2));
    // A row on one side is a difference.
    let one = "INSERT INTO tracks VALUES ('2', '2026-11-02T10:00:00.000000Z', NULL)";
    rusqlite::Connection::open(folder.path().join("ours.db")).unwrap().execute_batch(one).unwrap();
    assert_eq!(compare(&ours, &theirs, &[]).status.code(), Some(1));
}

#[test]
fn rows_of_two_sdks_are_told_apart_by_an_id_that_both_were_given() {
    let columns = vec![("id", "text"), ("received_at", "instant"), ("context_migration_id", "text"), ("note", "text")];
    let table = |prefix: &str, count: u32| {
        let rows = (0..count).map(|n| {
            let migration_id = if n == 0 { "NULL".to_owned() } else { quoted(&format!("m-{n}")) };
            MadeRow::from([
                ("id", quoted(&format!("{prefix}-{n}"))),
                ("received_at", quoted(&format!("2026-11-02T10:{n:02}:00.000000Z"))),
                ("context_migration_id", migration_id),
                ("note", quoted("same")),
            ])
        });
        vec![MadeTable { name: "tracks", columns: columns.clone(), rows: rows.collect() }]
    };
    let compared = Compared::new([sqlite(), sqlite()], [table("a", 8), table("b", 8)]);
    assert_eq!(compared.answered(&[]).0, Some(1));
    let (code, answer) = compared.answered(&["--key", "context_migration_id"]);
    let tracks = of(&answer, "tracks");
    assert_eq!((code, &tracks["same"]), (Some(0), &json!(7)), "{answer:#}");
    assert_eq!(tracks["without_key"], json!({"ours": 1, "theirs": 1}));
}

#[test]
fn keys_that_a_side_has_twice_are_told_as_repeated_on_whatever_day_they_are() {
    let mut theirs = tables();
    for table in &mut theirs {
        // Those of others have no primary key.
        for column in table.columns.iter_mut().filter(|(name, _)| *name == "id") {
            column.1 = "repeatable";
        }
    }
    let mut same_day = row(4);
    same_day.insert("received_at", quoted("2026-11-02T11:00:00.000000Z"));
    let mut other_day = row(5);
    other_day.insert("received_at", quoted("2026-11-04T11:00:00.000000Z"));
    theirs[0].rows.extend([same_day, other_day]);
    let compared = Compared::new([sqlite(), sqlite()], [tables(), theirs]);
    let (code, answer) = compared.answered(&["--tolerance", "2h"]);
    let orders = of(&answer, "order_completed");
    assert_eq!((code, &orders["repeated"]), (Some(1), &json!({"ours": 0, "theirs": 2})), "{answer:#}");
    assert_eq!((&orders["same"], &orders["values"]), (&json!(ROWS), &json!([])));
    assert_eq!((&orders["extra"]["count"], &orders["moved"]["count"]), (&json!(0), &json!(0)));
}

#[test]
fn keys_of_other_types_come_in_order_and_rows_without_one_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let ours = "CREATE TABLE tracks (id TEXT PRIMARY KEY NOT NULL, received_at TIMESTAMP TEXT); \
        INSERT INTO tracks VALUES ('9', '2026-11-02T10:00:00.000000Z'), ('10', '2026-11-02T10:00:00.000000Z'), \
        ('b', '2026-11-03T10:00:00.000000Z')";
    // What has no type keeps numbers as numbers, which are in another order than their texts.
    let theirs = "CREATE TABLE tracks (id, received_at DATETIME); \
        INSERT INTO tracks VALUES (9, '2026-11-02 10:00:00'), (10, '2026-11-02 10:00:00'), ('b', '2026-11-03 10:00:00'), \
        (NULL, '2026-11-02 11:00:00')";
    let (ours, theirs) = (case(folder.path(), "ours", ours), case(folder.path(), "theirs", theirs));
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    let tracks = of(&answer, "tracks");
    assert_eq!((code, &tracks["same"]), (Some(1), &json!(3)), "{answer:#}");
    assert_eq!(tracks["without_key"], json!({"ours": 0, "theirs": 1}));
    assert_eq!(tracks["columns"]["types"], json!([]));
}

#[test]
fn a_partitioned_table_is_one_table_lists_are_json_and_names_are_quoted() {
    let postgres = match Postgres::new() {
        Ok(it) => it,
        Err(lack) => return skipped("compare: PostgreSQL", &lack),
    };
    let folder = tempfile::tempdir().unwrap();
    // In the order of a language they would come otherwise than in that of bytes.
    let rows = "('a', '2026-11-02T10:00:00.000000Z', 'x'), ('B', '2026-11-02T10:00:00.000000Z', 'x '), \
        ('\u{e4}', '2026-11-02T10:00:00.000000Z', ''), ('Z-1', '2026-11-02T10:00:00.000000Z', NULL), \
        ('z_1', '2026-11-02T10:00:00.000000Z', 'it''s')";
    let sql = format!(
        "CREATE TABLE tracks (id TEXT PRIMARY KEY NOT NULL, received_at TIMESTAMP TEXT, \"odd \"\"name\" TEXT, \
         tags JSON TEXT DEFAULT '[\"x\",\"y z\"]'); \
         INSERT INTO tracks (id, received_at, \"odd \"\"name\") VALUES {rows}"
    );
    let ours = case(folder.path(), "ours", &sql);
    postgres.run(&format!(
        "CREATE TABLE tracks (id text, received_at timestamptz, \"odd \"\"name\" text, \
         tags text[] DEFAULT ARRAY['x', 'y z']) PARTITION BY RANGE (received_at); \
         CREATE TABLE tracks_november PARTITION OF tracks FOR VALUES FROM ('2026-11-01') TO ('2026-12-01'); \
         INSERT INTO tracks (id, received_at, \"odd \"\"name\") VALUES {rows}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO router;"
    ));
    let theirs = folder.path().join("theirs.yaml");
    std::fs::write(&theirs, postgres.yaml()).unwrap();
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    assert_eq!((code, &answer["extra_tables"]), (Some(0), &json!([])), "{answer:#}");
    assert_eq!(of(&answer, "tracks")["same"], json!(5));
    // Of a table that may not be read it is said what reading takes, and one of another sort stops nothing.
    postgres
        .run("CREATE TABLE loads (id text, received_at text); CREATE TABLE held (id text, received_at timestamptz);");
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    let error = answer["error"].as_str().unwrap_or_default();
    assert_eq!(code, Some(2), "{answer:#}");
    assert!(error.contains("GRANT SELECT ON ALL TABLES") && !error.contains("INSERT"), "{error}");
    postgres.run("DROP TABLE held");
    let (code, answer) = answered(&compare(&ours, &theirs, &["--json"]));
    assert_eq!((code, &answer["not_compared"]), (Some(0), &json!(["loads"])), "{answer:#}");
}
