//! What a function costs: calls on fresh instances, batches of 1 to 1,000 events of a kilobyte.
//!
//! `native` is the very source that the guest `rewrite` runs, so the two are comparable; `noop` is the boundary alone.
//! `rewrite-js` (QuickJS) and `rewrite-python` (CPython) do the same edits, where their tools are on the machine, and names
//! that end in `-fields` do them on parsed events, in the fields world: above the parse that the house shares. Each on an
//! instance that is fresh for every call, on one that is used again, and `noop` on an engine that asks the kernel for
//! dirty pages. The look for digits that a guest cannot see is part of the call.
//!
//! Figures are CPU time, medians of rounds in which all take their turn: a shared machine changes its speed by half within
//! minutes, and it changes for all of them. Behind the tables: what it takes to load code that was compiled before, and to
//! stop a guest that loops.

use std::hint::black_box;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tidegate_authoring as project;
use tidegate_event::digits::Numbers;
use tidegate_event::value::JsonObject;
use tidegate_plugin::{ManifestKind, Package};
use tidegate_wasm::function::{CallLimits, Function, Outcome, RunContext};
use tidegate_wasm::{self as wasm, ArtifactOrigin, Engine, Module, Seal};

/// What a case runs of each round, in CPU time.
const SLICE: Duration = Duration::from_millis(10);

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

fn function(engine: &Engine, guest: &str, world: ManifestKind) -> Function {
    let module = Module::compile(engine, &component(guest).expect("the guest builds"), world);
    // One call for each batch, up to the largest.
    let limits = CallLimits { batch_events_max: 1_000, ..CallLimits::default() };
    Function::of(module.expect("the component loads"), guest, "{}".to_owned(), limits).with_numbers(Numbers::Exact)
}

/// The bytes of a guest's component, or why it cannot be built here.
fn component(guest: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/bench").join(guest);
    // Beside the target folder of the outer cargo, which may hold the lock of its own.
    let target_dir = std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(3)?.join("guests")));
    let tools = std::env::home_dir().ok_or("there is no home directory")?.join(".cache/tidegate/tools");
    let built = project::build(&root, &project::Workbench { tools, target_dir }, None, &mut |_| {})?;
    Ok(std::fs::read(built.path)?)
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What the clock itself takes between two looks, some tenths of a microsecond: it asks the kernel.
static CLOCK: LazyLock<Duration> = LazyLock::new(|| {
    let mut looks: Vec<Duration> = (0..1_001)
        .map(|_| {
            let began = now();
            now() - began
        })
        .collect();
    looks.sort_unstable();
    looks[500]
});

/// CPU time of `work` alone: what it takes in is made before, and what it gives is dropped after. The clock is not counted.
/// Thread time rather than wall time, so that a busy machine leaves the ratios as they are.
fn cpu_of<I, O>(input: I, work: impl FnOnce(I) -> O) -> Duration {
    let began = now();
    let made = black_box(work(black_box(input)));
    let used = (now() - began).saturating_sub(*CLOCK);
    drop(made);
    used
}

/// The same function on instances that are used again.
fn reused(function: &Function) -> Function {
    let name = format!("{}, reused", function.name());
    function.clone().with_limits(&name, CallLimits { calls_per_instance_max: u32::MAX, ..function.limits().clone() })
}

/// A guest in a language whose tools may not be here.
fn foreign(engine: &Engine, guest: &str) -> Option<Function> {
    let bytes = component(guest).map_err(|error| println!("skipped: {guest}: {error}")).ok()?;
    let module = Module::compile_any(engine, &bytes).expect("the component loads");
    let limits = CallLimits { batch_events_max: 1_000, memory_bytes_max: 256 << 20, ..CallLimits::default() };
    let numbers = Package::read(&bytes).expect("the build puts the manifest in").manifest.numbers();
    Some(Function::of(module, guest, "{}".to_owned(), limits).with_numbers(numbers))
}

/// One line of a table, and what gives the CPU time of one call.
struct Case<'a>(&'a str, Box<dyn Fn() -> Duration + 'a>);

/// Runs all cases in turn, round after round; the first is what the others are compared with.
fn table(events: usize, rounds: usize, cases: &[Case<'_>]) {
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for (Case(_, call), times) in cases.iter().zip(&mut times) {
            let (mut used, mut calls) = (Duration::ZERO, 0_u32);
            while used < SLICE {
                used += call();
                calls += 1;
            }
            times.push(used.as_secs_f64() * 1e6 / f64::from(calls));
        }
    }
    println!("\nbatches of {events}, medians of {rounds} rounds, the best in brackets");
    println!("{:28}{:>20}{:>18}{:>11}{:>15}", "", "µs a batch", "µs an event", "events/s", "beside native");
    for (Case(name, _), of_case) in cases.iter().zip(&times) {
        // Of each round its own ratio, because the speed of the machine is that of the round.
        let ratio = median(of_case.iter().zip(&times[0]).map(|(time, first)| time / first).collect());
        let (middle, best) = (median(of_case.clone()), of_case.iter().copied().fold(f64::INFINITY, f64::min));
        let count = events as f64;
        println!(
            "{name:28}{:>20}{:>18}{:>11.0}{ratio:>15.2}",
            format!("{middle:.1} ({best:.1})"),
            format!("{:.2} ({:.2})", middle / count, best / count),
            count * 1e6 / middle
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn calls(rounds: usize) {
    let engine = Engine::new(&CallLimits::default()).expect("the engine starts");
    let scanning = Engine::new(&CallLimits { pagemap_scan: true, ..CallLimits::default() }).expect("the engine starts");
    let noop_scanned = function(&scanning, "noop", ManifestKind::Transform);
    let noop_scanned = noop_scanned.clone().with_limits("noop, dirty pages", noop_scanned.limits().clone());
    let mut texts =
        vec![function(&engine, "rewrite", ManifestKind::Transform), function(&engine, "noop", ManifestKind::Transform)];
    texts.extend(["rewrite-js", "rewrite-python"].into_iter().filter_map(|guest| foreign(&engine, guest)));
    let mut texts: Vec<_> = texts.iter().flat_map(|function| [function.clone(), reused(function)]).collect();
    texts.insert(4, noop_scanned);
    let mut fields = vec![function(&engine, "rewrite-fields", ManifestKind::Fields)];
    fields.extend(foreign(&engine, "rewrite-js-fields"));
    let fields: Vec<_> = fields.iter().flat_map(|function| [function.clone(), reused(function)]).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let runtime = &runtime;
    for size in [1_usize, 10, 100, 1_000] {
        let (batch, text) = (vec![event(); size], event());
        let parse = || text.parse::<JsonObject>().expect("the event is JSON");
        let parsed = vec![parse(); size];
        let (batch, parsed, parse, bytes) = (&batch, &parsed, &parse, size * text.len());
        let edit_all = |batch: &Vec<String>| -> Vec<Outcome> {
            batch.iter().map(|event| Outcome::Replace(edit::edit(event).expect("the event is JSON"))).collect()
        };
        let mut cases = vec![Case("native", Box::new(move || cpu_of(batch, edit_all)))];
        cases.extend(texts.iter().map(|function| {
            let run = move |batch: &Vec<String>| {
                let mut ran = runtime.block_on(function.run(batch, RunContext::default()));
                ran.outcomes.iter_mut().zip(parsed).for_each(|(outcome, event)| function.restore(outcome, event, &[]));
                assert!(!matches!(ran.outcomes[size - 1], Outcome::Error { .. }), "{:?}", ran.outcomes[size - 1]);
                ran
            };
            Case(function.name(), Box::new(move || cpu_of(batch, run)))
        }));
        // The parse is shared with contract and warehouse, so it is not counted; nor is dropping the events.
        cases.extend(fields.iter().map(|function| {
            let edit = move |mut bodies: Vec<JsonObject>| {
                let ran = runtime.block_on(function.edit(&mut bodies, bytes, RunContext::default()));
                assert_eq!(ran.outcomes[size - 1], Outcome::Edited);
                (bodies, ran)
            };
            Case(function.name(), Box::new(move || cpu_of((0..size).map(|_| parse()).collect(), edit)))
        }));
        table(size, rounds, &cases);
    }
}

/// Loading what was compiled before, and stopping what does not stop by itself.
fn loads_and_stops() {
    println!();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (seal, serving) = (Seal::new([7; 32]), Engine::serving(&CallLimits::default()).expect("the engine starts"));
    for guest in ["rewrite", "rewrite-js", "rewrite-python"] {
        let Ok(bytes) = component(guest) else { continue };
        let origin =
            ArtifactOrigin { component: [7; 32], compiler: wasm::compiler_id().expect("the compiler has a name") };
        let artifact = seal.seal(origin, wasm::precompile(&bytes).expect("the component compiles"));
        let path = folder.path().join(guest);
        std::fs::write(&path, &artifact).expect("the artifact is kept");
        let load = || {
            let code = seal.open_file(&path, origin).expect("it is ours");
            Module::load(&serving, &code, ManifestKind::Transform).expect("it loads")
        };
        let mut times: Vec<Duration> = (0..101).map(|_| cpu_of((), |()| load())).collect();
        times.sort_unstable();
        let (component, code) = (bytes.len() >> 10, artifact.len() >> 10);
        println!("load {guest}, {component} KiB, {code} KiB of code: {:?} of CPU time, p99 {:?}", times[50], times[99]);
    }
    let engine = Engine::new(&CallLimits::default()).expect("the engine starts");
    let attacks = component("../hostile/attacks").expect("the guest builds");
    let module = Module::compile_any(&engine, &attacks).expect("the component loads");
    let limits = CallLimits::default();
    let budget = limits.cpu_base + limits.cpu_per_event;
    let function = Function::of(module, "loop", "{}".to_owned(), limits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let batch = vec![r#"{"properties":{"attack":"loop"}}"#.to_owned()];
    let stop = || cpu_of((), |()| runtime.block_on(function.run(&batch, RunContext::default())));
    let mut times: Vec<Duration> = (0..31).map(|_| stop()).collect();
    times.sort_unstable();
    println!(
        "a loop with a budget of {budget:?}: stopped after {:?} of CPU time, worst of 31 {:?}",
        times[15], times[30]
    );
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    calls(if quick { 9 } else { 31 });
    loads_and_stops();
}
