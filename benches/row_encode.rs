//! What one event costs on its way into a warehouse: planning and encoding its rows, and loading them into a file.
//!
//! Tracks of 25 properties with a context of 20 fields, in batches of 1,000; each becomes two rows.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use tidegate_event::destination::Batch;
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::row::Planner;
use tidegate_warehouse::table::{Family, Limits, RowTarget, Table, Tables};
use tidegate_warehouse_sqlite::SqliteSettings;
use tidegate_warehouse_sqlite::encode::{FIT, encode};

const EVENTS: u64 = 1000;

/// Spreads like a random id, and is the same in every run.
fn id(n: u64) -> String {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{n:012x}", mixed >> 32, (mixed >> 16) & 0xffff, mixed & 0xfff, mixed >> 52)
}

fn event(n: u64) -> Arc<Event> {
    let mut properties = Map::new();
    for at in 0..12 {
        properties.insert(format!("text_{at}"), Value::from(format!("value number {}", n % 1000 + at)));
    }
    for at in 0..6 {
        properties.insert(format!("count{at}Total"), Value::from(n * 31 + at));
    }
    for at in 0..3 {
        properties.insert(format!("price {at}"), Value::from((n % 977) as f64 / 4.0 + 0.125));
    }
    properties.insert("isGift".into(), n.is_multiple_of(2).into());
    properties.insert("placedAt".into(), "2024-05-06T07:08:09.123Z".into());
    properties.insert("items".into(), json!([{"sku": "a-1", "quantity": 2}, {"sku": "b-2", "quantity": 1}]));
    properties.insert("shipping".into(), json!({"zip": "00501"}));
    let body = json!({
        "type": "track", "event": "Order Completed", "messageId": id(n), "userId": format!("user-{}", n % 5000),
        "anonymousId": id(n % 5000), "timestamp": "2024-05-06T07:08:09.123456Z",
        "receivedAt": "2024-05-06T07:08:09.200000Z", "sentAt": "2024-05-06T07:08:09.190Z",
        "originalTimestamp": "2024-05-06T07:08:09.113Z", "properties": properties,
        "context": {
            "ip": "203.0.113.9", "locale": "en-GB", "timezone": "Europe/London", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
            "library": {"name": "analytics.js", "version": "1.2.3"}, "screen": {"width": 1920, "height": 1080, "density": 2},
            "page": {"url": "https://example.com/cart?x=1", "path": "/cart", "title": "Cart", "referrer": "", "search": "?x=1"},
            "campaign": {"source": "mail", "medium": "email", "name": "spring"}, "os": {"name": "Linux", "version": "6"},
            "device": {"type": "desktop"}, "sessionId": 1_714_979_289_123_i64,
        },
    });
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, n), 0),
        kind: EventKind::Track,
        received_at_us: 0,
        body: body.as_object().expect("an object").clone().into(),
    })
}

fn batch(start: u64) -> Batch {
    let range = start..start + EVENTS;
    Batch { events: range.clone().map(event).collect(), range, violations: Vec::new() }
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("row_encode");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);

    let made = batch(0);
    let limits = Limits::default();
    let mut tables = Tables::default();
    let kind = tables.insert(Table::new("tracks", Family::Tracks, None, &limits, None));
    let place = tables.insert(Table::new("order_completed", Family::Event, None, &limits, None));
    let target = RowTarget { kind, event: Some((place, "order_completed".into())) };
    group.bench_function("encode", |b| {
        b.iter(|| {
            let mut planner = Planner::new(&mut tables, FIT);
            for (index, event) in (0_u32..).zip(&made.events) {
                planner.event(index, event, &target);
            }
            let groups = planner.finish();
            for group in &groups {
                for cell in &group.cells {
                    black_box(encode(&cell.scalar, tables.list[group.table].columns[cell.column as usize].kind()));
                }
            }
        });
    });

    let folder = tempfile::tempdir().expect("a folder");
    let mut client = SqliteSettings { limits, ..SqliteSettings::new(folder.path().join("w.db")) }
        .check(&SyncPart { sync: "bench".to_owned(), ..SyncPart::default() })
        .and_then(|checked| checked.open())
        .expect("a warehouse");
    let mut next = 0;
    group.bench_function("load", |b| {
        b.iter_batched(
            || {
                next += EVENTS;
                batch(next - EVENTS)
            },
            |made| {
                let delivery = client.deliver(&made).expect("a delivery");
                assert_eq!(delivery.duplicates, 0);
                made
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
