//! What loading into ClickHouse costs beside a bare insert of the same rows.
//!
//! Tracks of 40 columns (27 text of which a third is null, 6 decimals, 3 integers, id and times, a boolean), 200,000 of
//! them in batches of 50,000, through `deliver`: two tables, ids looked up, ledger. The bare insert sends rows of one such
//! table that were encoded beforehand, in the same batches. Without an engine (`tests/warehouses/setup clickhouse`) it says so and ends.
//!
//! `TIDEGATE_BENCH_CLICKHOUSE=http://user:password@host:8123` names a server to use instead of the tests' engine; the
//! databases `tidegate_bench` and `tidegate_bare` are dropped and made there.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Number, Value, json};
use tidegate_event::destination::{Batch, Destination as _};
use tidegate_event::value::JsonObject;
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::{Scalar, Type};
use tidegate_warehouse_clickhouse::encode::FIT;
use tidegate_warehouse_clickhouse::encode::{put, type_name};
use tidegate_warehouse_clickhouse::{ClickHouseSettings, LookUp};

const BATCH: u64 = 50_000;
const BATCHES: u64 = 4;

/// Spreads like a random id, and is the same in every run.
fn id(n: u64) -> String {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{n:012x}", mixed >> 32, (mixed >> 16) & 0xffff, mixed & 0xfff, mixed >> 52)
}

/// The properties of event `n`: 24 texts, 6 decimals, 3 integers, a boolean.
fn properties(n: u64) -> Map<String, Value> {
    let mut properties = Map::new();
    for at in 0..24_u64 {
        let text = Value::from(format!("value number {}", n % 1000 + at));
        properties.insert(format!("text_{at:02}"), if (n + at).is_multiple_of(3) { Value::Null } else { text });
    }
    for at in 0..6_u64 {
        let number: Number = format!("{}.{}", n % 977 + at, n % 89 + 11).parse().expect("a number");
        properties.insert(format!("price_{at}"), number.into());
    }
    for at in 0..3_u64 {
        properties.insert(format!("count_{at}"), Value::from(n * 31 + at));
    }
    properties.insert("is_gift".to_owned(), n.is_multiple_of(2).into());
    properties
}

fn event(n: u64) -> Arc<Event> {
    let body = json!({
        "type": "track", "event": "Order Completed", "messageId": id(n), "userId": format!("user-{}", n % 5000),
        "timestamp": "2024-05-06T07:08:09.123456Z", "receivedAt": "2024-05-06T07:08:09.200000Z",
        "properties": properties(n),
    });
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, n), 0),
        kind: EventKind::Track,
        received_at_us: 0,
        body: body.as_object().expect("an object").clone().into(),
    })
}

fn batch(at: u64) -> Arc<Batch> {
    let range = at * BATCH..(at + 1) * BATCH;
    Arc::new(Batch { events: range.clone().map(event).collect(), range, violations: Vec::new() })
}

/// The rows of the event's own table as RowBinary, made beforehand.
fn bare(at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for n in at * BATCH..(at + 1) * BATCH {
        put(&mut out, &Scalar::Given(&id(n)), Type::Text, false);
        for text in [&format!("user-{}", n % 5000), "order_completed", "Order Completed"] {
            put(&mut out, &Scalar::Given(text), Type::Text, true);
        }
        for instant in ["2024-05-06T07:08:09.123456Z", "2024-05-06T07:08:09.200000Z"] {
            put(&mut out, &Scalar::Timestamp(instant), Type::Timestamp, true);
        }
        for (name, value) in &JsonObject::from(properties(n)) {
            match Scalar::of(value, &FIT) {
                Some(scalar) => put(&mut out, &scalar, kind_of(name), true),
                None => out.push(1),
            }
        }
    }
    out
}

fn kind_of(column: &str) -> Type {
    match column.split('_').next() {
        Some("text") => Type::Text,
        Some("price") => Type::Decimal,
        Some("count") => Type::Integer,
        _ => Type::Boolean,
    }
}

fn columns() -> String {
    let mut columns = vec!["id String".to_owned()];
    columns.extend(["user_id", "event", "event_text"].map(|name| format!("{name} Nullable(String)")));
    columns.extend(["timestamp", "received_at"].map(|name| format!("{name} {}", type_name(Type::Timestamp))));
    columns.extend(properties(0).keys().map(|name| format!("{name} {}", type_name(kind_of(name)))));
    columns.join(", ")
}

/// CPU time of this process, user and system.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.unsigned_abs(), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

struct Server {
    settings: ClickHouseSettings,
    _child: Option<(Child, tempfile::TempDir)>,
}

#[expect(clippy::disallowed_methods, reason = "where the engine is")]
fn server() -> Option<Server> {
    if let Ok(url) = std::env::var("TIDEGATE_BENCH_CLICKHOUSE") {
        let mut url: url::Url = url.parse().expect("a url");
        let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        url.set_username("").and_then(|()| url.set_password(None)).expect("a url with a host");
        return Some(Server {
            settings: ClickHouseSettings { user, password, ..ClickHouseSettings::new(url) },
            _child: None,
        });
    }
    let cache = std::env::var("TIDEGATE_WAREHOUSE_CACHE")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cache/tidegate/warehouses")))
        .ok()?;
    let python = format!("{cache}/clickhouse/bin/python");
    if !std::path::Path::new(&python).exists() {
        return None;
    }
    let data = tempfile::tempdir_in(std::env::current_exe().ok()?.parent()?).ok()?;
    let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/warehouses/clickhouse/serve.py");
    let mut child = Command::new(python)
        .args([serve, "--user", "bench", "--password", "bench", "--data"])
        .arg(data.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut port = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut port).ok()?;
    let settings = ClickHouseSettings {
        user: "bench".to_owned(),
        password: "bench".to_owned(),
        ..ClickHouseSettings::new(format!("http://127.0.0.1:{}", port.trim()))
    };
    Some(Server { settings, _child: Some((child, data)) })
}

/// A client that knows nothing but HTTP.
struct Plain(reqwest::Client, ClickHouseSettings);

impl Plain {
    async fn post(&self, query: &str, body: Vec<u8>) {
        let mut url: url::Url = self.1.url.parse().expect("a url");
        if !query.is_empty() {
            url.query_pairs_mut().append_pair("query", query);
        }
        let request =
            self.0.post(url).header("x-clickhouse-user", &self.1.user).header("x-clickhouse-key", &self.1.password);
        let answer = request.body(body).send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert!(status.is_success(), "{query}: {text}");
    }

    async fn run(&self, sql: String) {
        self.post("", sql.into_bytes()).await;
    }
}

fn report(what: &str, wall: Duration, client: Duration) -> f64 {
    let rows = (BATCH * BATCHES) as f64;
    let rate = rows / wall.as_secs_f64();
    let million = client.as_secs_f64() / rows * 1e6;
    println!("{what:<44} {rate:>9.0} events/s   client {million:>6.2} CPU-s per million events");
    rate
}

async fn deliver(settings: ClickHouseSettings, what: &str) -> f64 {
    let part = SyncPart { sync: "bench".to_owned(), ..SyncPart::default() };
    let mut warehouse = settings.check(&part).and_then(|checked| checked.open()).expect("a warehouse");
    let (mut wall, mut client) = (Duration::ZERO, Duration::ZERO);
    for at in 0..BATCHES {
        let made = batch(at);
        let (start, before) = (Instant::now(), cpu());
        let delivery = warehouse.deliver(made).await.expect("a delivery");
        (wall, client) = (wall + start.elapsed(), client + (cpu() - before));
        assert_eq!((delivery.delivered, delivery.duplicates), (BATCH, 0));
    }
    report(what, wall, client)
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see whether they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(server) = server() else {
        println!("skipped: there is no engine; run tests/warehouses/setup clickhouse");
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = Plain(reqwest::Client::builder().no_proxy().build().expect("a client"), server.settings.clone());
    for _ in 0..2 {
        for database in ["tidegate_bench", "tidegate_bare"] {
            plain.run(format!("DROP DATABASE IF EXISTS {database} SYNC")).await;
        }
        plain.run("CREATE DATABASE tidegate_bare".to_owned()).await;
        let engine = "ENGINE = ReplacingMergeTree ORDER BY id";
        plain.run(format!("CREATE TABLE tidegate_bare.e ({}) {engine}", columns())).await;
        let (mut wall, mut client, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for at in 0..BATCHES {
            let rows = bare(at);
            bytes += rows.len();
            let (start, before) = (Instant::now(), cpu());
            plain.post("INSERT INTO tidegate_bare.e FORMAT RowBinary", rows).await;
            (wall, client) = (wall + start.elapsed(), client + (cpu() - before));
        }
        println!("{} bytes for each row", bytes as u64 / (BATCH * BATCHES));
        let floor = report("bare insert, one table", wall, client);
        let of = |database: &str| ClickHouseSettings { database: database.to_owned(), ..server.settings.clone() };
        for (what, settings) in [
            ("deliver, two tables", of("tidegate_bench")),
            (
                "deliver, look_up: after_failures",
                ClickHouseSettings { look_up: LookUp::AfterFailures, ..of("tidegate_bench") },
            ),
            ("deliver, compression: gzip", ClickHouseSettings { compress: true, ..of("tidegate_bench") }),
        ] {
            plain.run("DROP DATABASE IF EXISTS tidegate_bench SYNC".to_owned()).await;
            let rate = deliver(settings, what).await;
            println!("{what:<44} {:>9.2} of the bare insert", rate / floor);
        }
    }
}
