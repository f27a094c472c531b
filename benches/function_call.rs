//! A function call in the JSON world: nothing done, and parse, edit, serialise, beside the very same source run
//! natively in the same process.

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::function::{Function, RunContext, build};
use tidegate::wasm::{Engine, Limits};

#[path = "../functions/bench/rewrite/src/edit.rs"]
mod edit;

fn event(n: usize) -> String {
    format!(
        r#"{{"type":"track","event":"Order Completed","messageId":"m-{n}","anonymousId":"anon-1","userId":"user-{n}","timestamp":"2026-11-23T10:00:00.000Z","context":{{"library":{{"name":"analytics-node","version":"2.1.0"}},"locale":"en-IE","timezone":"Europe/Dublin","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","page":{{"path":"/checkout","title":"Checkout","url":"https://shop.example/checkout?utm_source=x","referrer":"https://www.google.com/"}},"ip":"203.0.113.7"}},"properties":{{"order_id":"o-{n}","revenue":39.90,"currency":"EUR","coupon":null,"items":3,"express":true,"products":[{{"product_id":"p-1","name":"Harbour mug","price":14.50,"quantity":1}},{{"product_id":"p-2","name":"Rope, 10 m","price":12.75,"quantity":2}}]}},"integrations":{{}}}}"#
    )
}

fn load(engine: &Engine, name: &str) -> Function {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/bench").join(name);
    let built = build(&dir, None).expect("the guest builds");
    let bytes = std::fs::read(built.path).expect("the component is there");
    let limits = Limits { call_events_max: 1_000, ..Limits::default() };
    Function::load(engine, name, &bytes, "{}".into(), limits).expect("the component loads")
}

fn bench(c: &mut Criterion) {
    let engine = Engine::new().expect("an engine");
    let (noop, rewrite) = (load(&engine, "noop"), load(&engine, "rewrite"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let cx = RunContext { now_ms: 0, seed: 0 };
    let mut group = c.benchmark_group("function_call");
    for size in [1, 10, 100, 1000] {
        let batch: Vec<String> = (0..size).map(event).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::new("native", size), &batch, |b, batch| {
            b.iter(|| batch.iter().map(|event| edit::edit(event).expect("JSON")).collect::<Vec<_>>());
        });
        for (name, function) in [("wasm", &rewrite), ("wasm noop", &noop)] {
            group.bench_with_input(BenchmarkId::new(name, size), &batch, |b, batch| {
                b.iter(|| {
                    let ran = runtime.block_on(function.run(batch, cx));
                    assert_eq!(ran.stats.breaks, 0);
                    ran.outcomes
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
