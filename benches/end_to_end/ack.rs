//! How long an acknowledgement takes while a backlog drains, against the same load on a server that has nothing else to
//! do. Single tracks, open loop, on connections that stay open.
//!
//! `cargo bench --bench end_to_end -- --ack [--quick] [--program OTHER_BUILD_OF_TIDEGATE]`

use std::time::Duration;

use tokio::runtime::Runtime;

use super::CONNECTIONS;
use super::freshness::{Reader, Sqlite};
use super::load::{Load, Outcome};
use super::process::Process;

/// What is asked for, unless the machine cannot do it.
const RATE: f64 = 20_000.0;
/// Of what the machine does at most.
const SHARE: f64 = 0.7;

pub fn measure(runtime: &Runtime, quick: bool) {
    let length = Duration::from_secs(if quick { 3 } else { 10 });
    let backlog = if quick { 200_000 } else { 1_000_000 };
    println!("\n== acknowledgements of single tracks while a backlog of {backlog} events drains to SQLite");
    let server = Process::tidegate();
    let most = runtime.block_on(Load::single(&server.address, &server.key).closed(CONNECTIONS, length / 2)).rate();
    drop(server);
    let rate = RATE.min(most * SHARE);
    println!("{:<34} {most:>10.0} events/s, as fast as it goes; asked for: {rate:.0}", "tidegate");
    let server = Process::tidegate();
    let idle = runtime.block_on(Load::single(&server.address, &server.key).open(CONNECTIONS, length, rate));
    row("(a) nothing else to do", &idle);
    drop(server);

    let dir = Process::workspace();
    let sync = dir.path().join("w/syncs/web-to-warehouse.yaml");
    let kept = std::fs::read(&sync).expect("a sync");
    std::fs::remove_file(&sync).expect("it can be taken away");
    let server = Process::serve(dir);
    runtime.block_on(Load::batch(&server.address, &server.key).count(4, backlog));
    let dir = server.stop_and_keep();
    std::fs::write(&sync, kept).expect("it can be put back");
    let table = Sqlite(dir.path().join("w/data/warehouse.db"));
    let server = Process::serve(dir);
    let started = std::time::Instant::now();
    let busy = runtime.block_on(async {
        // Draining before it is measured.
        while table.durable_to().await == 0 && started.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Load::single(&server.address, &server.key).numbered_from(1 << 40).open(CONNECTIONS, length, rate).await
    });
    let left = backlog.saturating_sub(runtime.block_on(table.durable_to()));
    row("(b) while the backlog drains", &busy);
    let ratio = |q: f64| busy.quantile(q) / idle.quantile(q);
    println!(
        "{:<34} p50 {:.2} p99 {:.2} p99.9 {:.2} of (a); {left} of the backlog left at the end",
        "ratio",
        ratio(0.5),
        ratio(0.99),
        ratio(0.999)
    );
    if left == 0 {
        println!("{:<34} the backlog was gone before the end: take the ratio as too good", "");
    }
}

/// A quiet source beside one that floods: 12 connections with batches of 100, as fast as they go. Once without a limit,
/// where the flood takes what the machine has, and once with the one line that gives the noisy source a rate.
pub fn neighbours(runtime: &Runtime, quick: bool) {
    const NOISY: &str = "0123456789abcdef0123456789abcdef";
    let length = Duration::from_secs(if quick { 3 } else { 10 });
    println!("\n== acknowledgements of a quiet source, 500 single tracks a second");
    for limit in ["", "rate: 10000/s\n"] {
        let dir = Process::workspace();
        let yaml = format!("kind: http\nwrite_key: {NOISY}\n{limit}");
        std::fs::write(dir.path().join("w/sources/noisy.yaml"), yaml).expect("a source");
        let server = Process::serve(dir);
        let quiet = |first| Load::single(&server.address, &server.key).numbered_from(first).open(8, length, 500.0);
        let alone = runtime.block_on(quiet(1));
        row("alone", &alone);
        let (beside, noise) = runtime.block_on(async {
            let noise = tokio::spawn(Load::batch(&server.address, NOISY).closed(12, length));
            (quiet(1 << 40).await, noise.await.expect("the load ends"))
        });
        row(if limit.is_empty() { "beside a source that floods" } else { "the same, limited to 10,000/s" }, &beside);
        println!(
            "{:<34} p50 {:.2} p99 {:.2} of alone; the other got {:.0} events/s accepted, {} requests refused",
            "ratio",
            beside.quantile(0.5) / alone.quantile(0.5),
            beside.quantile(0.99) / alone.quantile(0.99),
            noise.rate(),
            noise.refused
        );
    }
}

fn row(name: &str, outcome: &Outcome) {
    println!(
        "{name:<34} {:>10.0} events/s  p50 {:.2} p99 {:.2} p99.9 {:.2} ms  {} refused",
        outcome.rate(),
        outcome.quantile(0.5),
        outcome.quantile(0.99),
        outcome.quantile(0.999),
        outcome.refused,
    );
}
