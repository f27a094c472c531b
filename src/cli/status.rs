//! `tidegate status`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Done, WorkspaceArgs, paint};
use crate::app::paths;
use crate::event::time;
use crate::intake;
use crate::state::{Charge, PendingCount, State, SyncReport};

#[derive(Debug, clap::Args)]
#[command(after_help = "Reads the data directory; the server may run or not.")]
pub(super) struct Args {
    #[command(flatten)]
    workspace: WorkspaceArgs,
}

/// What became of the events of one source.
#[derive(Debug, Default)]
struct SourceLine {
    accepted: u64,
    duplicates: u64,
    violations: u64,
    quarantined: u64,
    dropped: u64,
}

pub(super) fn run(args: &Args, json: bool) -> Done {
    let workspace = args.workspace.outline()?;
    let state = State::read(&paths::state(&workspace.data))?;
    let accepted = intake::end(&paths::log(&workspace.data))?;
    let refined = state.refined_to()?;
    let mut sources: BTreeMap<String, SourceLine> = BTreeMap::new();
    for name in workspace.sources.keys() {
        sources.insert(name.clone(), SourceLine::default());
    }
    for (scope, name, value) in state.counters()? {
        let line = sources.entry(scope).or_default();
        match name.as_str() {
            "accepted" => line.accepted = value,
            "duplicates" => line.duplicates = value,
            "violations" => line.violations = value,
            "quarantined" => line.quarantined = value,
            _ => line.dropped += value,
        }
    }
    let reports = state.reports()?;
    let counts = state.pending_counts()?;
    let pending = |sync: &str| counts.iter().find(|count| count.sync == sync).cloned().unwrap_or_default();
    let reports: Vec<(SyncReport, PendingCount)> =
        reports.into_iter().map(|report| (report.clone(), pending(&report.sync))).collect();
    let functions = state.charges()?;
    if json {
        print_json(accepted, refined, &sources, &reports, &functions);
    } else {
        print_tables(accepted, refined, &sources, &reports);
        print_functions(&functions);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(
    accepted: u64,
    refined: u64,
    sources: &BTreeMap<String, SourceLine>,
    reports: &[(SyncReport, PendingCount)],
    functions: &[(Charge, Option<String>)],
) {
    let sources: serde_json::Map<_, _> = sources
        .iter()
        .map(|(name, line)| {
            let line = serde_json::json!({
                "accepted": line.accepted, "duplicates": line.duplicates, "violations": line.violations,
                "quarantined": line.quarantined, "dropped": line.dropped,
            });
            (name.clone(), line)
        })
        .collect();
    let syncs: serde_json::Map<_, _> = reports
        .iter()
        .map(|(report, pending)| {
            let line = serde_json::json!({
                "cursor": report.cursor, "lag": accepted.saturating_sub(report.cursor), "delivered": report.delivered,
                "duplicates": report.duplicates, "rejected": report.rejected, "filtered": report.filtered,
                "pending": pending.events, "pending_bytes": pending.bytes,
                "pending_since": (pending.events > 0).then(|| time::format(pending.oldest_at_us)),
                "delivered_at": report.delivered_at_us.map(time::format), "failure": report.failure,
                "notice": report.notice,
            });
            (report.sync.clone(), line)
        })
        .collect();
    let functions: Vec<_> = functions
        .iter()
        .map(|(charge, stopped)| {
            serde_json::json!({
                "name": charge.function, "version": charge.version, "batches": charge.batches, "calls": charge.calls,
                "calls_failed": charge.calls_failed, "events": charge.events, "faults": charge.faults,
                "failed": charge.failed, "dropped": charge.dropped, "cpu_us": charge.cpu_us,
                "memory_bytes_peak": charge.memory_peak_bytes, "last_fault": charge.fault, "stopped": stopped,
            })
        })
        .collect();
    let log = serde_json::json!({"end": accepted, "refined": refined});
    println!("{}", serde_json::json!({"log": log, "sources": sources, "syncs": syncs, "functions": functions}));
}

fn print_functions(functions: &[(Charge, Option<String>)]) {
    if functions.is_empty() {
        return;
    }
    let names = ["function", "version", "events", "faults", "failed", "dropped", "\u{b5}s/event", "peak MiB"];
    let mut table = paint::table(&names);
    for (charge, _) in functions {
        let version = charge.version.get(..12).unwrap_or(&charge.version).to_owned();
        let numbers = [charge.events, charge.faults, charge.failed, charge.dropped].map(paint::count);
        let each = format!("{:.1}", charge.cpu_us as f64 / charge.events.max(1) as f64);
        let peak = format!("{:.1}", charge.memory_peak_bytes as f64 / f64::from(1 << 20));
        table.add_row([charge.function.clone(), version].into_iter().chain(numbers).chain([each, peak]));
    }
    println!("{table}");
    for (charge, stopped) in functions {
        if let Some(fault) = stopped {
            let (name, fault) = (&charge.function, paint::plain(fault, 500));
            println!("{} function {name}: {fault}; its events wait in the log", paint::bold("stopped:"));
        }
    }
}

fn print_tables(
    accepted: u64,
    refined: u64,
    sources: &BTreeMap<String, SourceLine>,
    reports: &[(SyncReport, PendingCount)],
) {
    println!("{} records in the log, {} of them refined", paint::count(accepted), paint::count(refined));
    let mut table = paint::table(&["source", "accepted", "duplicates", "violations", "quarantined", "dropped"]);
    for (name, line) in sources {
        let numbers = [line.accepted, line.duplicates, line.violations, line.quarantined, line.dropped];
        table.add_row(std::iter::once(name.clone()).chain(numbers.map(paint::count)));
    }
    println!("{table}");
    let mut table =
        paint::table(&["sync", "delivered", "duplicates", "rejected", "filtered", "pending", "lag", "last delivery"]);
    for (report, pending) in reports {
        let lag = accepted.saturating_sub(report.cursor);
        let numbers = [report.delivered, report.duplicates, report.rejected, report.filtered, pending.events, lag];
        let last = report.delivered_at_us.map_or_else(|| "never".to_owned(), time::format);
        table.add_row(std::iter::once(report.sync.clone()).chain(numbers.map(paint::count)).chain([last]));
    }
    println!("{table}");
    for (report, _) in reports {
        if let Some(failure) = &report.failure {
            println!("{} sync {}: {}", paint::bold("failing:"), report.sync, paint::plain(failure, 500));
        }
        if let Some(notice) = &report.notice {
            println!("{} sync {}: {}", paint::bold("notice:"), report.sync, paint::plain(notice, 500));
        }
    }
}
