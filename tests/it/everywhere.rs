//! The same events into every warehouse at once, through one running server: real SDKs, and a hundred thousand events in
//! shuffled order. The tables are equal everywhere, as each warehouse's own reader tells them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_warehouse::evolve::Type;

use crate::conformance::clickhouse::ClickHouse;
use crate::conformance::lake::Lake;
use crate::conformance::postgres::Postgres;
use crate::conformance::snowflake::Snowflake;
use crate::conformance::sqlite::Sqlite;
use crate::conformance::{self, Rig, TablesSeen};
use crate::sdk;
use crate::support::http::{basic, request};
use crate::support::waiting::within;
use crate::support::{Server, Workspace};

/// One warehouse, ready to be written and read.
struct Stand {
    name: &'static str,
    yaml: String,
    seen: Box<dyn Fn() -> TablesSeen>,
}

fn stand<R: Rig + 'static>(name: &'static str, stands: &mut Vec<Stand>) {
    match R::new() {
        Ok(rig) => stands.push(Stand { name, yaml: rig.yaml(), seen: Box::new(move || rig.seen(None)) }),
        Err(lack) => conformance::skipped(&format!("everywhere: {name}"), &lack),
    }
}

/// `EVERYWHERE_EVENTS` asks for more or fewer.
#[expect(clippy::disallowed_methods, reason = "a longer or shorter run is asked for from outside")]
fn events_wanted() -> u64 {
    std::env::var("EVERYWHERE_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(100_000)
}

/// The event with this number: columns that come late, that are rare, that change their type.
fn made(n: u64) -> Value {
    let city = ["Köln", "東京", "O'Fallon", "Rock \\ Roll", ""][usize::try_from(n % 5).unwrap()];
    let mut properties = json!({
        "order_id": format!("A-{n}"), "n": n, "total": json!(format!("{}.{:02}", n % 5000, n % 100).parse::<f64>().unwrap()),
        "gift": n.is_multiple_of(7), "items": [{"sku": format!("S-{}", n % 97), "quantity": n % 3 + 1}],
        "placedAt": format!("2026-{:02}-{:02}T{:02}:{:02}:00.{:03}Z", n % 12 + 1, n % 28 + 1, n % 24, n % 60, n % 1000),
        "address": {"city": city, "zip": format!("{:05}", n % 99_999)},
    });
    if n % 1000 == 17 {
        properties["n"] = json!(format!("no. {n}"));
    }
    if n % 500 == 3 {
        properties["rare"] = json!(n.is_multiple_of(2));
    }
    if n % 501 == 3 {
        properties["rare"] = json!(n as f64 / 4.0);
    }
    if n % 300 == 5 {
        properties[format!("late {}", n % 13)] = json!(n);
    }
    let (id, user) = (format!("e-{n}"), format!("u-{}", n % 1000));
    match n % 10 {
        0 => json!({"type": "identify", "messageId": id, "userId": user, "traits": properties}),
        1 => json!({"type": "page", "messageId": id, "userId": user, "name": "Shop", "properties": properties}),
        2 => {
            json!({"type": "track", "event": "Product Viewed", "messageId": id, "userId": user, "properties": properties})
        }
        _ => {
            json!({"type": "track", "event": "Order Completed", "messageId": id, "userId": user, "properties": properties})
        }
    }
}

/// All numbers below `len`, each once, in an order that is always the same and never theirs.
fn shuffled(len: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..len).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for at in (1..numbers.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        numbers.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
    numbers
}

/// Sends the events in shuffled order; every one is answered.
pub fn send(server: &Server, events: u64) {
    let numbers = Arc::new(shuffled(events));
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, key) = (server.address.clone(), basic(&server.key));
            let (numbers, next) = (Arc::clone(&numbers), Arc::clone(&next));
            std::thread::spawn(move || {
                loop {
                    let from = usize::try_from(next.fetch_add(200, Ordering::Relaxed)).unwrap();
                    let Some(part) = numbers.get(from..(from + 200).min(numbers.len())).filter(|part| !part.is_empty())
                    else {
                        return;
                    };
                    let batch: Vec<Value> = part.iter().map(|n| made(*n)).collect();
                    let body = json!({ "batch": batch }).to_string();
                    let reply = request(&address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes());
                    assert_eq!(reply.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

/// A hundred thousand events take minutes, and more may be asked for.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Waits until every sync has delivered everything.
pub fn wait(workspace: &Workspace, syncs: usize) {
    within(LONGEST, "everything is delivered", || {
        let status = workspace.status();
        let reports: Vec<&Value> = status["syncs"].as_object().unwrap().values().collect();
        for report in &reports {
            assert!(report["quarantined"].as_u64() == Some(0), "{report}");
        }
        let delivered = reports.len() == syncs && reports.iter().all(|report| report["lag"] == 0);
        if delivered { Ok(()) } else { Err(status["syncs"].to_string()) }
    });
}

/// The first thing in which two warehouses differ.
fn difference(one: &TablesSeen, other: &TablesSeen) -> Option<String> {
    let names = |tables: &TablesSeen| tables.keys().cloned().collect::<Vec<_>>();
    if names(one) != names(other) {
        return Some(format!("tables {:?} and {:?}", names(one), names(other)));
    }
    for (name, table) in one {
        let counterpart = &other[name];
        if table.columns != counterpart.columns {
            let only = |a: &BTreeMap<String, Type>, b: &BTreeMap<String, Type>| {
                a.iter()
                    .filter(|(column, kind)| b.get(*column) != Some(kind))
                    .map(|(c, k)| format!("{c} {k}"))
                    .collect::<Vec<_>>()
            };
            let (a, b) = (only(&table.columns, &counterpart.columns), only(&counterpart.columns, &table.columns));
            return Some(format!("columns of {name}: {a:?} and {b:?}"));
        }
        if table.rows.len() != counterpart.rows.len() {
            return Some(format!("{name} has {} rows and {}", table.rows.len(), counterpart.rows.len()));
        }
        if let Some((id, row)) = table.rows.iter().find(|(id, row)| counterpart.rows.get(*id) != Some(row)) {
            let Some(other) = counterpart.rows.get(id) else { return Some(format!("{name} lacks {id}")) };
            let differs = |column: &&String| row.get(*column) != other.get(*column);
            let columns: std::collections::BTreeSet<&String> = row.keys().chain(other.keys()).filter(differs).collect();
            let cells: Vec<_> = columns.iter().map(|column| (column, row.get(*column), other.get(*column))).collect();
            return Some(format!("row {id} of {name}: {cells:?}"));
        }
    }
    None
}

#[test]
fn the_same_events_make_equal_tables_everywhere() {
    let mut stands = Vec::new();
    stand::<Sqlite>("sqlite", &mut stands);
    stand::<Postgres>("postgres", &mut stands);
    stand::<ClickHouse>("clickhouse", &mut stands);
    stand::<Snowflake>("snowflake", &mut stands);
    stand::<Lake>("lake", &mut stands);
    let workspace = Workspace::new();
    for old in ["destinations/warehouse.yaml", "syncs/web-to-warehouse.yaml"] {
        std::fs::remove_file(workspace.path().join(old)).unwrap();
    }
    for stand in &stands {
        workspace.write(&format!("destinations/{}.yaml", stand.name), &stand.yaml);
        let sync = format!("source: web\ndestination: {}\nbatch: {{age_max: 1 s}}\n", stand.name);
        workspace.write(&format!("syncs/to-{}.yaml", stand.name), &sync);
    }
    let server = workspace.serve();
    let sdks = sdk::send_all(&server);
    send(&server, events_wanted());
    wait(&workspace, stands.len());
    server.stop();
    let reference = (stands[0].seen)();
    let rows: usize = reference.values().map(|table| table.rows.len()).sum();
    println!("{} SDKs and {} events made {} tables of {rows} rows", sdks.len(), events_wanted(), reference.len());
    let of_orders = reference["order_completed"].rows.len() as u64;
    assert!(of_orders >= events_wanted() * 7 / 10, "{of_orders} orders");
    for other in &stands[1..] {
        let differs = difference(&reference, &(other.seen)());
        assert_eq!(differs, None, "{} and {}", stands[0].name, other.name);
        println!("{} and {} are equal", stands[0].name, other.name);
    }
}
