//! The whole house under load, beside two floors measured in the same run: an axum handler that answers at once, and
//! the same bytes appended to the segment log alone.
//!
//! Servers are processes of their own, so that their CPU time and memory can be read; the load comes from this
//! process, on the same cores. First as fast as it goes with 64 connections, then open loop at half of that rate, where
//! latency counts from the moment at which a request should have been sent.
//!
//! `cargo bench --bench end_to_end -- --seconds 5`; `--drain` for the whole path and
//! `--ack` for acknowledgements beside a backlog alone, `--console` for what viewers of the console cost; `--program PATH`
//! for another build of the server; `--against PATH` for two builds in turns.

mod ack;
mod against;
mod console;
mod drain;
mod freshness;
mod load;
mod process;
#[path = "../../crates/warehouse-postgres/tests/it/rig/server.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it")]
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_log::{Frames, LogSettings, SegmentLog};

use load::{Load, Outcome};
use process::Process;

const CONNECTIONS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--floor") {
        process::floor();
        return;
    }
    let number = |name: &str| process::argument(name).and_then(|text| text.parse().ok());
    let length = Duration::from_secs(number("--seconds").unwrap_or(5));
    process::describe_machine();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(other) = process::argument("--against") {
        against::measure(&runtime, &other, number("--rounds").unwrap_or(15));
        return;
    }
    if has("--drain") {
        drain::measure(&runtime);
        return;
    }
    if has("--console") {
        console::measure(&runtime, has("--quick"));
        return;
    }
    if has("--ack") {
        ack::measure(&runtime, has("--quick"));
        ack::neighbours(&runtime, has("--quick"));
        return;
    }

    println!("\n== single-event POSTs, one track of {} bytes", load::single(0).len());
    let floor = Process::floor();
    let floor_single = runtime.block_on(Load::single(&floor.address, &floor.key).closed(CONNECTIONS, length));
    row("axum handler, answers at once", &floor_single, &floor, None);
    drop(floor);
    let server = Process::tidegate();
    let ours = runtime.block_on(Load::single(&server.address, &server.key).closed(CONNECTIONS, length));
    row("tidegate, durable", &ours, &server, Some(&floor_single));
    drop(server);
    let server = Process::tidegate();
    let rate = ours.rate() / 2.0;
    let open = runtime.block_on(Load::single(&server.address, &server.key).open(CONNECTIONS, length, rate));
    row("tidegate, open loop at half", &open, &server, None);
    drop(server);

    println!("\n== batches of 100, {} bytes each", load::batch(0).len());
    let floor = Process::floor();
    let floor_batch = runtime.block_on(Load::batch(&floor.address, &floor.key).closed(16, length));
    row("axum handler, answers at once", &floor_batch, &floor, None);
    drop(floor);
    let raw = runtime.block_on(raw_append(length));
    println!("{:<34} {:>10.0} events/s", "segment append alone, same bytes", raw);
    let server = Process::tidegate();
    let ours = runtime.block_on(Load::batch(&server.address, &server.key).closed(16, length));
    row("tidegate, durable", &ours, &server, Some(&floor_batch));
    println!("{:<34} {:>10.2} of the segment append", "", ours.rate() / raw);
    drop(server);

    drain::measure(&runtime);
    runtime.block_on(freshness::measure(length * 4));
    ack::measure(&runtime, true);
    ack::neighbours(&runtime, true);
    console::measure(&runtime, true);
}

fn row(name: &str, outcome: &Outcome, server: &Process, floor: Option<&Outcome>) {
    let (cpu, rss) = server.usage();
    print!(
        "{name:<34} {:>10.0} events/s  p50 {:.2} p99 {:.2} p99.9 {:.2} ms  {:.2} CPU-s for a million  {} MiB",
        outcome.rate(),
        outcome.quantile(0.5),
        outcome.quantile(0.99),
        outcome.quantile(0.999),
        cpu * 1e6 / outcome.events as f64,
        rss >> 20,
    );
    match floor {
        Some(floor) => println!("  {:.2} of the floor", outcome.rate() / floor.rate()),
        None => println!(),
    }
    if outcome.refused > 0 {
        println!("{:<34} {:>10} requests refused", "", outcome.refused);
    }
}

/// Events a second that the log takes when nothing stands before it.
async fn raw_append(length: Duration) -> f64 {
    let dir = tempfile::tempdir_in(process::scratch()).expect("a temporary folder");
    let (log, writer, _) =
        SegmentLog::open(Path::new(dir.path()), LogSettings::default(), 0, 1).expect("the log opens");
    let writing = writer.run().expect("a thread");
    let event = load::single(0);
    let started = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (log, event) = (log.clone(), event.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while started.elapsed() < length {
                    let mut frames = Frames::with_capacity(100 * (event.len() + 100));
                    for _ in 0..100 {
                        frames.push(|out| out.extend_from_slice(&event));
                    }
                    log.append_in_lane(0, frames).await.expect("the append was taken");
                    count += 100;
                }
                count
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("the task ran");
    }
    let rate = f64::from(total) / started.elapsed().as_secs_f64();
    log.close();
    let _ = writing.join();
    rate
}
