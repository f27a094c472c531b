//! How fast batches reach PostgreSQL, against bare COPY of the same rows in the same run.
//!
//! Tracks of 40 columns (27 texts of which a third is null, 6 decimals, 3 integers, an id, an instant, ...), each of which
//! becomes two rows. The rows that were loaded are read back as COPY spells them, and copied into tables of the same
//! columns without and with a primary key, by the same client library, in the same number of transactions. Starts a
//! server of its own with the settings that a server has by default.
//!
//! `cargo bench --bench postgres_load -- [events] [events of a batch]`

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, pin_mut};
use serde_json::{Map, Value, json};
use tidegate_event::destination::Batch;
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_postgres::{Address, Environment, PostgresSettings};
use tokio_postgres::{Client, NoTls};

use tidegate::warehouses::WarehouseSettings as Warehouse;

const KEEPER: &str = r#"
set -e
"$1/initdb" -D "$2/data" -U postgres -A trust --encoding UTF8 --locale C.UTF-8 --no-sync >/dev/null
"$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "-k $2 -c listen_addresses='' -c max_wal_size=4GB" start >/dev/null
echo ready
read -r _ || true
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null
cd / && rm -rf "$2"
"#;

fn id(n: u64) -> String {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{n:012x}", mixed >> 32, (mixed >> 16) & 0xffff, mixed & 0xfff, mixed >> 52)
}

fn event(n: u64) -> Arc<Event> {
    let mut properties = Map::new();
    for at in 0..22 {
        if !(n + at).is_multiple_of(3) {
            properties.insert(format!("text_{at}"), Value::from(format!("value number {}", n % 1000 + at)));
        }
    }
    for at in 0..6 {
        properties.insert(format!("price_{at}"), json!((n % 977) as f64 / 4.0 + 0.125 + at as f64));
    }
    for at in 0..3 {
        properties.insert(format!("count_{at}"), Value::from(n * 31 + at));
    }
    properties.insert("is_gift".into(), n.is_multiple_of(2).into());
    let body = json!({
        "type": "track", "event": "Order Completed", "messageId": id(n), "userId": format!("user-{}", n % 5000),
        "anonymousId": id(n % 5000), "timestamp": "2024-05-06T07:08:09.123456Z",
        "receivedAt": "2024-05-06T07:08:09.200000Z", "properties": properties,
    });
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, n), 0),
        kind: EventKind::Track,
        received_at_us: 0,
        body: body.as_object().expect("an object").clone().into(),
    })
}

/// CPU seconds of a process so far.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

struct Measured {
    wall: Duration,
    client: f64,
    backend: f64,
}

impl Measured {
    fn print(&self, what: &str, rows: u64) -> f64 {
        let per_second = rows as f64 / self.wall.as_secs_f64();
        let per_million = |cpu: f64| cpu * 1e6 / rows as f64;
        println!(
            "{what:<44} {per_second:>9.0} rows/s   CPU-s per million rows: client {:>5.2}, backend {:>5.2}",
            per_million(self.client),
            per_million(self.backend)
        );
        per_second
    }
}

async fn connect(folder: &Path) -> (Client, u32) {
    let (client, connection) =
        tokio_postgres::connect(&format!("host={} user=postgres dbname=bench", folder.display()), NoTls).await.unwrap();
    tokio::spawn(connection);
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    (client, pid as u32)
}

async fn deliver(folder: &Path, events: u64, batch: u64, repeat: bool) -> Measured {
    let (admin, _) = connect(folder).await;
    let text = format!("host={} user=postgres dbname=bench", folder.display());
    let settings = PostgresSettings::new(Address::parse(Some(&text), [], &Environment::default()).unwrap());
    let sync = if repeat { "again" } else { "bench" };
    let part = SyncPart { sync: sync.to_owned(), ..SyncPart::default() };
    let mut destination = Warehouse::Postgres(Box::new(settings)).open(&part).unwrap();
    let mut measured = Measured { wall: Duration::ZERO, client: 0.0, backend: 0.0 };
    destination.durable_to().await.unwrap();
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidegate' ORDER BY backend_start DESC LIMIT 1";
    for start in (0..events).step_by(usize::try_from(batch).unwrap()) {
        let range = start..(start + batch).min(events);
        let made = Arc::new(Batch { events: range.clone().map(event).collect(), range, violations: Vec::new() });
        let backend = admin.query_one(sql, &[]).await.unwrap().get::<_, i32>(0) as u32;
        let before = (Instant::now(), cpu(std::process::id()), cpu(backend));
        let delivery = destination.deliver(Arc::clone(&made)).await.unwrap();
        measured.wall += before.0.elapsed();
        measured.client += cpu(std::process::id()) - before.1;
        measured.backend += (cpu(backend) - before.2).max(0.0);
        assert_eq!(delivery.duplicates, if repeat { made.events.len() as u64 } else { 0 });
    }
    measured
}

/// What was loaded, table by table, as COPY spells it, in as many pieces as there were batches.
async fn read_back(client: &Client, table: &str, pieces: usize) -> Vec<Vec<Bytes>> {
    let stream = client.copy_out(&format!("COPY (SELECT * FROM {table} ORDER BY ctid) TO STDOUT")).await.unwrap();
    pin_mut!(stream);
    let mut text = Vec::new();
    while let Some(row) = stream.next().await {
        text.extend_from_slice(&row.unwrap());
    }
    let text = Bytes::from(text);
    let mut cuts = vec![0];
    for piece in 1..pieces {
        let at = text.len() * piece / pieces;
        cuts.push(at + text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len() - at, |end| end + 1));
    }
    cuts.push(text.len());
    let frames = |piece: Bytes| {
        (0..piece.len()).step_by(128 << 10).map(move |at| piece.slice(at..piece.len().min(at + (128 << 10))))
    };
    cuts.windows(2).map(|cut| frames(text.slice(cut[0]..cut[1])).collect()).collect()
}

async fn bare(folder: &Path, tables: &[(&str, Vec<Vec<Bytes>>)], suffix: &str, key: bool) -> Measured {
    let (client, pid) = connect(folder).await;
    for (table, _) in tables {
        let key = if key { ", PRIMARY KEY (id)" } else { "" };
        client.batch_execute(&format!("CREATE TABLE {table}{suffix} (LIKE {table}{key})")).await.unwrap();
    }
    client.batch_execute("CHECKPOINT").await.unwrap();
    let before = (Instant::now(), cpu(std::process::id()), cpu(pid));
    for piece in 0..tables[0].1.len() {
        client.batch_execute("BEGIN").await.unwrap();
        for (table, pieces) in tables {
            let sink = client.copy_in::<_, Bytes>(&format!("COPY {table}{suffix} FROM STDIN")).await.unwrap();
            pin_mut!(sink);
            for frame in &pieces[piece] {
                sink.feed(frame.clone()).await.unwrap();
            }
            sink.finish().await.unwrap();
        }
        client.batch_execute("COMMIT").await.unwrap();
    }
    let (client, backend) = (cpu(std::process::id()) - before.1, cpu(pid) - before.2);
    Measured { wall: before.0.elapsed(), client, backend }
}

async fn measure(folder: &Path, events: u64, batch: u64) {
    println!("{events} events, two rows each, batches of {batch}");
    let loaded = deliver(folder, events, batch, false).await;
    let (client, _) = connect(folder).await;
    let count: i64 = client.query_one("SELECT count(*) FROM order_completed", &[]).await.unwrap().get(0);
    assert_eq!(count as u64, events);
    let pieces = usize::try_from(events.div_ceil(batch)).unwrap();
    let mut tables = Vec::new();
    for table in ["tracks", "order_completed"] {
        tables.push((table, read_back(&client, table, pieces).await));
    }
    let plain = bare(folder, &tables, "_plain", false).await;
    let keyed = bare(folder, &tables, "_keyed", true).await;
    let again = deliver(folder, events, batch, true).await;
    let rows = events * 2;
    let plain = plain.print("bare COPY, no key", rows);
    let keyed = keyed.print("bare COPY, primary key", rows);
    let loaded = loaded.print("warehouse, exactly once", rows);
    again.print("warehouse, every event there already", rows);
    println!("ratio to bare COPY: {:.2}; to bare COPY with a key: {:.2}", loaded / plain, loaded / keyed);
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (events, batch) = (numbers.first().copied().unwrap_or(300_000), numbers.get(1).copied().unwrap_or(50_000));
    let programs: Option<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .find(|folder| folder.join("initdb").is_file());
    let Some(programs) = programs else {
        println!("skipped: there is no PostgreSQL server");
        return;
    };
    let folder = tempfile::Builder::new().prefix("tidegate-pg-").tempdir().unwrap().keep();
    let mut keeper = if rustix::process::geteuid().is_root() {
        Command::new("chown").arg("postgres").arg(&folder).status().unwrap();
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    keeper.args(["-c", KEEPER, "keeper"]).arg(&programs).arg(&folder).current_dir("/");
    let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let text = format!("host={} user=postgres dbname=postgres", folder.display());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("CREATE DATABASE bench").await.unwrap();
        // As in a server, a batch is delivered by a task.
        let place = folder.clone();
        tokio::spawn(async move { measure(&place, events, batch).await }).await.unwrap();
    });
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
}
