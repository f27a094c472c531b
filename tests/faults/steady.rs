//! No fault at all, for long: memory and open files must not grow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::Load;
use crate::server::ServerProcess;
use crate::soak::finish;
use crate::support::Workspace;
use crate::{Found, Plan, pass};

const RATE: u64 = 3_000;

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 16 MiB, retention_bytes: 64 MiB}\n");
    let ledger = Arc::new(Ledger::new(plan.seed, 4));
    let server = match ServerProcess::start(&workspace.path(), "") {
        Ok(server) => server,
        Err(said) => return Found { lost: 1, notes: vec![said], ..Found::default() },
    };
    let mut load = Load::start(Arc::clone(&ledger), &workspace.write_key, RATE);
    load.turn_to(&server.address);
    // Caches fill first.
    pass(plan.length / 5);
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() < plan.length * 4 / 5 {
        let (rss, files) = server.usage();
        samples.push((started.elapsed().as_secs_f64() / 3600.0, rss as f64 / (1 << 20) as f64, files as f64));
        pass(Duration::from_millis(1000));
    }
    let memory = slope(samples.iter().map(|(hours, rss, _)| (*hours, *rss)));
    let files = slope(samples.iter().map(|(hours, _, files)| (*hours, *files)));
    let peak = samples.iter().map(|(_, rss, _)| *rss).fold(0.0, f64::max);
    load.stop();
    let ended = server.stop(Duration::from_secs(12));
    let mut found = finish(workspace, &mut load);
    if !ended.is_some_and(|status| status.success()) {
        found.broken += 1;
        found.notes.push(format!("the stop under no fault ended with {ended:?} (nothing: it took more than 12 s)"));
    }
    found.notes.push(format!(
        "over {:.1} min at {RATE} events/s: memory grows by {memory:.1} MiB an hour (peak {peak:.0} MiB), open files by {files:.1}",
        plan.length.as_secs_f64() / 75.0
    ));
    found
}

/// Least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<_> = points.collect();
    let n = points.len().max(1) as f64;
    let (mean_x, mean_y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let covered: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    if covered == 0.0 {
        return 0.0;
    }
    points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum::<f64>() / covered
}
