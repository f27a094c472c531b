//! What a function costs: calls on fresh instances, batches of 1 to 1,000 events of a kilobyte.
//!
//! `native` is the very source that the guest `rewrite` runs, so the two are comparable; `noop` is the boundary alone.
//! The native build keeps keys in a sorted map and the guest in the order of arrival, which is a small difference.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use tidegate::function::{Function, Limits, Outcome, RunContext};
use tidegate::project;
use tidegate::wasm::{Engine, Module, World};

#[path = "../functions/bench/rewrite/src/edit.rs"]
mod edit;

/// A track event of 1,024 bytes.
fn event() -> String {
    let mut event = json!({
        "type": "track",
        "messageId": "2f1c7a34-6a0e-4a0e-9e0e-6f9d1f0c2b11",
        "anonymousId": "7d0c1a52-5c1f-4a75-8d0b-1f2f3f4f5f6f",
        "userId": "user-1001",
        "event": "Order Completed",
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "receivedAt": "2026-01-01T00:00:00.100000Z",
        "context": {
            "ip": "203.0.113.77", "locale": "en-GB", "library": { "name": "analytics.js", "version": "2.11.1" },
            "page": { "url": "https://shop.example.com/checkout", "path": "/checkout", "title": "Checkout", "referrer": "" },
        },
        "properties": {
            "order_id": "A-1001", "currency": "EUR", "revenue": 19.90, "shipping": 4.99, "coupon": null,
            "products": [{ "sku": "MUG-1", "name": "Mug", "price": 9.95, "quantity": 2 }], "note": "",
        },
    });
    let missing = 1_024 - event.to_string().len();
    event["properties"]["note"] = "x".repeat(missing).into();
    event.to_string()
}

fn function(engine: &Engine, guest: &str) -> Function {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/bench").join(guest);
    // Beside the target folder of the outer cargo, which may hold the lock of its own.
    let target_dir = std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(3)?.join("guests")));
    // A guest in Rust needs no tools but cargo.
    let workbench = project::Workbench { tools: root.join("tools"), target_dir };
    let built = project::build(&root, &workbench, None, &mut |_| {}).expect("the guest builds");
    let bytes = std::fs::read(built.path).expect("the component is there");
    let module = Module::compile(engine, &bytes, World::Transform).expect("the component loads");
    // One call for each batch, up to the largest.
    let limits = Limits { batch_events_max: 1_000, ..Limits::default() };
    Function::of(module, guest, "{}".to_owned(), limits)
}

fn calls(c: &mut Criterion) {
    let engine = Engine::new(&Limits::default()).expect("the engine starts");
    let (noop, rewrite) = (function(&engine, "noop"), function(&engine, "rewrite"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let mut group = c.benchmark_group("function_call");
    for size in [1_usize, 10, 100, 1_000] {
        let batch = vec![event(); size];
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::new("native", size), &batch, |b, batch| {
            let edit_all = |batch: &Vec<String>| -> Vec<Outcome> {
                batch.iter().map(|event| Outcome::Replace(edit::edit(event).expect("the event is JSON"))).collect()
            };
            b.iter_batched(|| batch, |batch| black_box(edit_all(batch)), BatchSize::SmallInput);
        });
        for function in [&rewrite, &noop] {
            group.bench_with_input(BenchmarkId::new(function.name(), size), &batch, |b, batch| {
                b.iter(|| {
                    let ran = runtime.block_on(function.run(batch, RunContext::default()));
                    assert!(!matches!(ran.outcomes[size - 1], Outcome::Fault { .. }), "{:?}", ran.outcomes[size - 1]);
                    black_box(ran)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
