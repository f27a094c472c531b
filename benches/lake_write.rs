//! What a batch costs on its way into a lake on a local disk: planned, encoded, written, synced and committed.
//!
//! Tracks whose own table has 40 columns: 27 text of which a third is null, 6 decimals, 3 integers, a boolean, and id and
//! times. 200,000 events in batches of 50,000. Each becomes a row of `tracks` as well, so both tables' rows count.
//! Beside it, where the engines of the tests are installed, pyarrow writes the same columns from memory, in one thread
//! and with the same compression: what encoding and writing alone cost a library that is good at it.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use tidegate_event::destination::{Batch, Destination as _};
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_lake::{LakeSettings, ObjectPlace};

const EVENTS: u64 = 200_000;
const BATCH: u64 = 50_000;

fn mixed(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn event(n: u64) -> Arc<Event> {
    let mut properties = Map::new();
    let mixed = mixed(n);
    for at in 0..23 {
        if !(n + at).is_multiple_of(3) {
            // Some repeat often, some never.
            let range = [5, 100, 10_000, u64::MAX][at as usize % 4];
            properties.insert(format!("text_{at:02}"), format!("value {:x}", (mixed >> at) % range).into());
        }
    }
    for at in 0..6 {
        let cents = mixed % 1_000_000 + at;
        let price: Value =
            serde_json::from_str(&format!("{}.{:02}", cents / 100, (cents % 100) | 1)).expect("a number");
        properties.insert(format!("price_{at}"), price);
    }
    for at in 0..3 {
        properties.insert(format!("count_{at}"), (mixed % 1_000 + at).into());
    }
    properties.insert("gift".into(), n.is_multiple_of(2).into());
    let mut body = Map::new();
    for (key, value) in [
        ("type", "track".to_owned()),
        ("event", "Order Completed".to_owned()),
        ("messageId", format!("{mixed:016x}-{n:012x}")),
        ("userId", format!("user-{}", mixed % 5_000)),
        ("anonymousId", format!("{:016x}", mixed % 5_000)),
        ("timestamp", format!("2024-05-06T07:{:02}:{:02}.{:06}Z", n / 60 % 60, n % 60, mixed % 1_000_000)),
        ("receivedAt", format!("2024-05-06T07:{:02}:{:02}.{:06}Z", n / 60 % 60, n % 60, n % 1_000_000)),
    ] {
        body.insert(key.to_owned(), value.into());
    }
    body.insert("properties".to_owned(), properties.into());
    let received_at_us = 1_714_979_290_000_000;
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, n), 0),
        kind: EventKind::Track,
        received_at_us,
        body: body.into(),
    })
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let part = SyncPart { sync: "bench".to_owned(), ..SyncPart::default() };
    let settings =
        LakeSettings { merge_files_min: 0, ..LakeSettings::new(ObjectPlace::Folder(folder.path().to_owned())) };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut lake = settings.check(&part).expect("settings").open();
    let (mut wall, mut cpu) = (0.0, 0.0);
    for start in (0..EVENTS).step_by(usize::try_from(BATCH).expect("small")) {
        let range = start..start + BATCH;
        let batch = Arc::new(Batch { events: range.clone().map(event).collect(), range, violations: Vec::new() });
        let (began, before) = (Instant::now(), cpu_seconds());
        let delivery = runtime.block_on(lake.deliver(Arc::clone(&batch))).expect("a delivery");
        (wall, cpu) = (wall + began.elapsed().as_secs_f64(), cpu + cpu_seconds() - before);
        assert_eq!((delivery.delivered, delivery.duplicates), (BATCH, 0));
    }
    let root = std::fs::read(folder.path().join("_tidegate/latest.json")).expect("a root");
    let root: tidegate_warehouse_lake::manifest::Root = serde_json::from_slice(&root).expect("a root");
    let rows: u64 = root.tables.iter().map(|table| table.rows).sum();
    println!("events per second: {:.0}", EVENTS as f64 / wall);
    println!("rows per second, both tables: {:.0}", rows as f64 / wall);
    println!("CPU seconds per million events: {:.1}", cpu * 1e6 / EVENTS as f64);
    for table in &root.tables {
        println!("{}: {} rows, {:.0} bytes each", table.name, table.rows, table.bytes as f64 / table.rows as f64);
    }
    beside(folder.path());
}

/// The same table written by pyarrow, from memory.
#[expect(clippy::disallowed_methods, reason = "where the engines are is said from outside")]
fn beside(folder: &std::path::Path) {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("TIDEGATE_WAREHOUSE_CACHE").unwrap_or(format!("{home}/.cache/tidegate/warehouses"));
    let script = "import sys, time, glob, os, pyarrow as pa, pyarrow.parquet as pq\n\
        pa.set_cpu_count(1)\n\
        files = sorted(glob.glob(sys.argv[1] + '/events/order_completed/**/*.parquet', recursive=True))\n\
        tables = [pq.ParquetFile(f).read() for f in files]\n\
        rows, wall, cpu, size = sum(t.num_rows for t in tables), time.time(), time.process_time(), 0\n\
        for t in tables:\n\
        \x20 pq.write_table(t, sys.argv[1] + '/copy.parquet', compression='snappy')\n\
        \x20 with open(sys.argv[1] + '/copy.parquet', 'rb') as f: os.fsync(f.fileno())\n\
        \x20 size += os.path.getsize(sys.argv[1] + '/copy.parquet')\n\
        wall, cpu = time.time() - wall, time.process_time() - cpu\n\
        print(f'pyarrow, order_completed alone, from memory: {rows / wall:.0f} rows per second, {cpu * 1e6 / rows:.1f} CPU seconds per million rows, {size / rows:.0f} bytes each')";
    match Command::new(format!("{cache}/lake/bin/python")).args(["-c", script]).arg(folder).status() {
        Ok(status) if status.success() => {}
        _ => println!("pyarrow is not installed: run tests/warehouses/setup lake"),
    }
}
