//! `test`: fixtures through the plugin, differences for people.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_authoring::{self as project, Case, CaseResult, TestReport};
use tidegate_document::file;
use tidegate_plugin::Package;
use tidegate_wasm::CallLimits;
use tidegate_wasm::function::{Level, granted};

use super::{BuildTools, CommandDone, CommandFailure, build};
use crate::cli::{runtime, style};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TestArgs {
    /// The project's folder, with its plugin.yaml and fixtures/
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Try this component instead of building one
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Write what comes out as what is expected
    #[arg(long)]
    update: bool,
    /// Fail when an event takes more CPU time than this
    #[arg(long, value_name = "MICROSECONDS")]
    max_cpu: Option<f64>,
    /// Show what the plugin logged, also when the fixtures pass
    #[arg(long)]
    logs: bool,
    #[command(flatten)]
    tools: BuildTools,
}

pub(super) fn run(args: &TestArgs, json: bool) -> CommandDone {
    let path = match &args.component {
        Some(path) => path.clone(),
        None => build::built(&args.dir, None, &args.tools)?.path,
    };
    let report = runtime()?.block_on(tried(&args.dir, &path, args.update))?;
    let too_slow = args.max_cpu.filter(|max| report.us_per_event > *max);
    if json {
        print_json(&report, too_slow.is_none());
    } else {
        print(&report, args.logs);
    }
    if let Some(max) = too_slow {
        return Err(CommandFailure::Failed(format!(
            "an event takes {:.1} µs of CPU; --max-cpu allows {max}",
            report.us_per_event
        )));
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The fixtures of `dir` through `component`, within the limits that a server would grant it.
pub(super) async fn tried(dir: &Path, component: &Path, update: bool) -> Result<TestReport, CommandFailure> {
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", component.display()));
    let bytes = file::read(component, file::COMPONENT_BYTES_MAX).map_err(failed)?;
    let limits = match Package::read(&bytes) {
        Ok(package) => granted(&package.manifest, &CallLimits::default()),
        Err(_) => CallLimits::default(),
    };
    Ok(project::test(dir, component, limits, update).await?)
}

fn print_json(report: &TestReport, fast_enough: bool) {
    let case = |case: &Case| {
        let (result, text) = match &case.result {
            CaseResult::Passed => ("passed", None),
            CaseResult::Updated => ("updated", None),
            CaseResult::Differs { diff } => ("differs", Some(diff)),
            CaseResult::Refused => ("refused", None),
            CaseResult::Unknown { actual } => ("unknown", Some(actual)),
        };
        let log: Vec<&str> = case.log.iter().map(|line| line.text.as_str()).collect();
        serde_json::json!({"name": case.name, "events": case.events, "result": result, "difference": text,
            "notes": case.notes, "log": log})
    };
    let line = serde_json::json!({
        "ok": report.passed() && fast_enough, "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
        "microseconds_per_event": report.us_per_event, "memory_bytes_peak": report.memory_peak_bytes,
        "cpu_share": report.cpu_share_max, "memory_share": report.memory_share_max, "output_share": report.output_share_max,
    });
    println!("{line}");
}

fn counted(case: &Case) -> String {
    let what = if case.name.ends_with("(responses)") { "response" } else { "event" };
    format!("{} {what}{}", case.events, if case.events == 1 { "" } else { "s" })
}

/// Cases, differences, and what the plugin used.
pub(super) fn print(report: &TestReport, logs: bool) {
    for case in &report.cases {
        match &case.result {
            CaseResult::Passed => println!("{} {} ({})", style::good("passed"), case.name, counted(case)),
            CaseResult::Updated => println!("{} {} ({})", style::bold("written"), case.name, counted(case)),
            CaseResult::Differs { diff } => {
                println!("{} {}", style::bold("differs"), case.name);
                for line in diff.lines() {
                    println!("  {}", style::plain(line, 200));
                }
            }
            CaseResult::Refused => println!("{} {}: a server would not take it", style::bold("refused"), case.name),
            CaseResult::Unknown { .. } => {
                println!("{} {}: no output file yet; --update writes it", style::bold("unknown"), case.name);
            }
        }
        let wrong = !matches!(case.result, CaseResult::Passed);
        if wrong {
            for note in &case.notes {
                println!("  {}", style::plain(note, 600));
            }
        }
        for line in case.log.iter().filter(|line| logs || (wrong && line.level >= Level::Warn)) {
            println!("  log: {}", style::plain(&line.text, 400));
        }
    }
    println!(
        "{:.1} µs of CPU an event · {:.1} MiB of memory · {:.0} % of the CPU budget, {:.0} % of the memory, {:.0} % of the output limit",
        report.us_per_event,
        report.memory_peak_bytes as f64 / f64::from(1 << 20),
        report.cpu_share_max * 100.0,
        report.memory_share_max * 100.0,
        report.output_share_max * 100.0,
    );
}
