//! `tidegate function`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{Done, Failure, paint, runtime};
use crate::function::project::{self, CaseResult, TestReport};
use crate::store::Shelf;
use crate::wasm::{Engine, Limits, Module, World};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Build a Rust function into a component
    Build {
        /// The function's folder, with its Cargo.toml
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Where to put the component [default: beside cargo's output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Try a function on its fixtures: fixtures/*.in.json against fixtures/*.out.json
    Test {
        /// The function's folder, with its Cargo.toml and fixtures/
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Try this component instead of building one
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Write what comes out as what is expected
        #[arg(long)]
        update: bool,
    },
    /// Say whether a component may run here, and why not
    Check {
        #[arg(value_name = "FILE")]
        component: PathBuf,
    },
    #[command(flatten)]
    Versions(super::versions::Command),
}

pub(super) fn run(command: &Command, json: bool) -> Done {
    match command {
        Command::Build { dir, out } => build(dir, out.as_deref(), json),
        Command::Test { dir, component, update } => test(dir, component.as_deref(), *update, json),
        Command::Check { component } => check(component, json),
        Command::Versions(command) => super::versions::run(command, Shelf::Functions, json),
    }
}

pub(super) fn built(dir: &Path, out: Option<&Path>) -> Result<project::Built, Failure> {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    let built = project::build(dir, None, &mut |line| spinner.set_message(line.to_owned()));
    spinner.finish_and_clear();
    let mut built = built?;
    // Copying a file onto itself would empty it.
    let elsewhere = |out: &&Path| out.canonicalize().ok() != built.path.canonicalize().ok();
    if let Some(out) = out.filter(elsewhere) {
        let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", out.display()));
        if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::copy(&built.path, out).map_err(failed)?;
        built.path = out.to_owned();
    }
    Ok(built)
}

fn build(dir: &Path, out: Option<&Path>, json: bool) -> Done {
    let built = built(dir, out)?;
    if json {
        let line = serde_json::json!({"component": built.path.display().to_string(), "bytes": built.bytes, "sha256": built.sha256});
        println!("{line}");
    } else {
        let kib = built.bytes / 1024;
        println!("{} {} ({kib} KiB, sha-256 {})", paint::good("built"), built.path.display(), &built.sha256[..16]);
    }
    Ok(ExitCode::SUCCESS)
}

fn check(component: &Path, json: bool) -> Done {
    let bytes =
        std::fs::read(component).map_err(|error| Failure::Failed(format!("{}: {error}", component.display())))?;
    Module::compile(&Engine::new(&Limits::default())?, &bytes, World::Transform)?;
    if json {
        println!("{}", serde_json::json!({"ok": true}));
    } else {
        println!("{} {} may run", paint::good("ok"), component.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn test(dir: &Path, component: Option<&Path>, update: bool, json: bool) -> Done {
    let path = match component {
        Some(path) => path.to_owned(),
        None => built(dir, None)?.path,
    };
    let report = runtime()?.block_on(project::test(dir, &path, Limits::default(), update))?;
    if json {
        print_json(&report)
    } else {
        print(&report)
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(report: &TestReport) {
    let case = |case: &project::Case| {
        let (result, text) = match &case.result {
            CaseResult::Passed => ("passed", None),
            CaseResult::Updated => ("updated", None),
            CaseResult::Differs { diff } => ("differs", Some(diff)),
            CaseResult::Unknown { actual } => ("unknown", Some(actual)),
        };
        serde_json::json!({"name": case.name, "events": case.events, "result": result, "difference": text})
    };
    let line = serde_json::json!({
        "ok": report.passed(), "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
        "microseconds_per_event": report.us_per_event, "memory_bytes_peak": report.memory_peak_bytes,
        "cpu_share": report.cpu_share_max, "memory_share": report.memory_share_max, "output_share": report.output_share_max,
    });
    println!("{line}");
}

fn print(report: &TestReport) {
    for case in &report.cases {
        match &case.result {
            CaseResult::Passed => println!("{} {} ({} events)", paint::good("passed"), case.name, case.events),
            CaseResult::Updated => println!("{} {} ({} events)", paint::bold("written"), case.name, case.events),
            CaseResult::Differs { diff } => {
                println!("{} {}", paint::bold("differs"), case.name);
                for line in diff.lines() {
                    println!("  {}", paint::plain(line, 200));
                }
            }
            CaseResult::Unknown { .. } => {
                println!("{} {}: no output file yet; --update writes it", paint::bold("unknown"), case.name);
            }
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
