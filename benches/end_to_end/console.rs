//! What people who look at the console cost a server that is busy: its CPU for a million events with ten people who have the overview open, and with ten at
//! live pages, against the same without anybody, in turns.
//!
//! `cargo bench --bench end_to_end -- --console [--quick] [--rounds 6] [--program OTHER_BUILD_OF_TIDEGATE]`

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::load::Load;
use crate::process::{self, Process};

const VIEWERS: usize = 10;
/// What an open page asks for.
const PAGES: [(&str, &str); 2] = [("overviews", "/updates?of=overview"), ("live pages", "/api/v1/tap?rate=50")];
/// Events a second, in batches of 100.
const RATE: f64 = 20_000.0;
const CONNECTIONS: usize = 16;

/// What a server did.
struct Watched {
    /// CPU seconds for a million events.
    cpu_s: f64,
    /// Milliseconds.
    p99: f32,
}

pub fn measure(runtime: &Runtime, quick: bool) {
    let rounds = process::argument("--rounds").and_then(|text| text.parse().ok()).unwrap_or(if quick { 2 } else { 6 });
    let length = Duration::from_secs(if quick { 5 } else { 15 });
    for (name, place) in PAGES {
        println!("\n== {RATE:.0} events a second to SQLite, watched by {VIEWERS} {name}, in turns");
        println!(
            "{:<10} {:>16} {:>16} {:>8} {:>14} {:>14}",
            "", "CPU-s/M without", "CPU-s/M with", "ratio", "p99 without", "p99 with"
        );
        watched(runtime, place, rounds, length);
    }
}

fn watched(runtime: &Runtime, place: &str, rounds: u32, length: Duration) {
    let (mut cpu, mut acks) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (without, with) = if round % 2 == 0 {
            let without = busy(runtime, length, None);
            (without, busy(runtime, length, Some(place)))
        } else {
            let with = busy(runtime, length, Some(place));
            (busy(runtime, length, None), with)
        };
        let ratio = with.cpu_s / without.cpu_s;
        println!(
            "{:<10} {:>16.2} {:>16.2} {ratio:>8.3} {:>11.2} ms {:>11.2} ms",
            format!("round {}", round + 1),
            without.cpu_s,
            with.cpu_s,
            without.p99,
            with.p99
        );
        cpu.push(ratio);
        acks.push(f64::from(with.p99) / f64::from(without.p99));
    }
    println!(
        "median: {:.3} of the CPU (wanted: less than 1.03), {:.2} of the p99 of acknowledgements",
        median(&mut cpu),
        median(&mut acks)
    );
}

/// A new server that takes events in for so long, until the last is in its tables.
fn busy(runtime: &Runtime, length: Duration, watched: Option<&str>) -> Watched {
    let dir = Process::workspace();
    let token = token(&dir);
    let server = Process::serve(dir);
    let watching = runtime.block_on(open_all(&server, &token, watched));
    let (before, _) = server.usage();
    let sent = runtime.block_on(Load::batch(&server.address, &server.key).open(CONNECTIONS, length, RATE));
    server.drained(sent.events);
    let (after, _) = server.usage();
    for viewer in watching {
        assert!(!viewer.is_finished(), "every viewer was there to the end");
        viewer.abort();
    }
    Watched { cpu_s: (after - before) * 1e6 / sent.events as f64, p99: sent.quantile(0.99) }
}

/// An admin token of the workspace.
fn token(dir: &tempfile::TempDir) -> String {
    let made = Command::new(process::program())
        .args(["admin", "token", "--reset", "--json"])
        .arg(dir.path().join("w"))
        .output();
    let answer: serde_json::Value = serde_json::from_slice(&made.expect("tidegate runs").stdout).expect("JSON");
    answer["token"].as_str().expect("a token").to_owned()
}

async fn open_all(server: &Process, token: &str, watched: Option<&str>) -> Vec<JoinHandle<()>> {
    let mut watching = Vec::new();
    for place in watched.iter().flat_map(|place| std::iter::repeat_n(*place, VIEWERS)) {
        let mut stream = open(&server.admin, token, place).await;
        watching.push(tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        }));
    }
    watching
}

/// An answer that goes on.
async fn open(admin: &str, token: &str, place: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).await.expect("the admin port listens");
    let head = format!(
        "GET {place} HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("the server answers");
    assert_eq!(&first, b"HTTP/1.1 200", "{place}");
    stream
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_unstable_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(0.0)
}
