//! How long it takes from the door to a query, at a steady 5,000 events a second: the time at which an event should have
//! been sent, until a reader of the warehouse sees the ledger beyond it (rows and ledger commit together).

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::process::{self, Process};

const RATE: f64 = 5_000.0;

/// Prints p50 and p99 for each warehouse that the machine has.
pub async fn measure(length: Duration) {
    println!("\n== from the door to a query, {RATE:.0} events a second in batches of 100, each kind's own flush");
    let workspace = Process::workspace();
    let path = workspace.path().join("w/data/warehouse.db");
    let process = Process::serve(workspace);
    let reader = Sqlite(path);
    report("SQLite", process, length, &reader).await;
    match process::workspace_of_postgres("fresh") {
        Ok((server, workspace)) => {
            let reader = Postgres::connect(server.port).await;
            report("Postgres", Process::serve(workspace), length, &reader).await;
        }
        Err(lack) => println!("skipped: Postgres: {lack}"),
    }
}

/// Another program that looks at the warehouse.
pub trait Reader {
    /// The log offset below which everything can be queried.
    async fn durable_to(&self) -> u64;
}

pub struct Sqlite(pub std::path::PathBuf);

impl Reader for Sqlite {
    async fn durable_to(&self) -> u64 {
        fn ask(path: &Path) -> rusqlite::Result<i64> {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let connection = rusqlite::Connection::open_with_flags(path, flags)?;
            connection.query_row("SELECT max(log_offset) FROM _tidegate_ledger", [], |row| row.get(0))
        }
        ask(&self.0).ok().and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0)
    }
}

struct Postgres(tokio_postgres::Client);

impl Postgres {
    async fn connect(port: u16) -> Self {
        let address = format!("host=127.0.0.1 port={port} user=router password=p@ss dbname=fresh");
        let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.expect("it answers");
        tokio::spawn(connection);
        Self(client)
    }
}

impl Reader for Postgres {
    async fn durable_to(&self) -> u64 {
        let asked = self.0.query_one("SELECT max(log_offset) FROM _tidegate_ledger", &[]).await;
        let offset = asked.ok().and_then(|row| row.get::<_, Option<i64>>(0));
        offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0)
    }
}

async fn report(name: &str, process: Process, length: Duration, reader: &impl Reader) {
    let load = Load::batch(&process.address, &process.key);
    let started = Instant::now();
    let sending = tokio::spawn(load.open(2, length, RATE));
    let wanted = (RATE * length.as_secs_f64()) as u64;
    let mut ages: Vec<f64> = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    let patience = length + Duration::from_secs(30);
    while (ages.len() as u64) < wanted && started.elapsed() < patience {
        let seen = reader.durable_to().await.min(wanted);
        let now = started.elapsed().as_secs_f64();
        for n in ages.len() as u64..seen {
            ages.push(now - n as f64 / RATE);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let outcome = sending.await.expect("the load ends");
    ages.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| ages.get((ages.len().saturating_sub(1) as f64 * q) as usize).copied().unwrap_or(f64::NAN);
    let (cpu, rss) = process.stop();
    println!(
        "{name:<34} p50 {:.2} p99 {:.2} s to a query; answered after p50 {:.1} ms; {} of {wanted} seen; {:.1} CPU-s for a million, {} MiB",
        at(0.5),
        at(0.99),
        outcome.quantile(0.5),
        ages.len(),
        cpu * 1e6 / wanted as f64,
        rss >> 20,
    );
}
