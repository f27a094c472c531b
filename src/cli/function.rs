//! `tidegate function`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{Done, Failure, paint, runtime};
use crate::function::{self, Trial};
use crate::wasm::{Engine, Limits, Module};

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
}

pub(super) fn run(command: &Command, json: bool) -> Done {
    match command {
        Command::Build { dir, out } => build(dir, out.as_deref(), json),
        Command::Test { dir, component, update } => test(dir, component.as_deref(), *update, json),
        Command::Check { component } => check(component, json),
    }
}

fn built(dir: &Path, out: Option<&Path>) -> Result<function::Built, Failure> {
    let spinner = ProgressBar::new_spinner().with_message(format!("building {}", dir.display()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let built = function::build(dir, out);
    spinner.finish_and_clear();
    Ok(built?)
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
    Module::compile(&Engine::new()?, &bytes, &Limits::default())?;
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
    let bytes = std::fs::read(&path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    let trial = runtime()?.block_on(function::trial(&bytes, &dir.join("fixtures"), update))?;
    let failed = trial.cases.iter().filter(|case| !case.difference.is_empty()).count();
    report(&trial, json);
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(trial: &Trial, json: bool) {
    let limits = Limits::default();
    let each_us = trial.stats.busy.as_secs_f64() * 1e6 / (trial.events.max(1)) as f64;
    let memory = trial.stats.memory_bytes_peak;
    if json {
        let cases: Vec<_> = trial
            .cases
            .iter()
            .map(|case| serde_json::json!({"name": case.name, "ok": case.difference.is_empty(), "difference": case.difference}))
            .collect();
        let line = serde_json::json!({
            "cases": cases, "events": trial.events, "microseconds_per_event": each_us, "memory_bytes_peak": memory,
        });
        println!("{line}");
        return;
    }
    for case in &trial.cases {
        match (case.updated, case.difference.is_empty()) {
            (true, _) => println!("{} {}", paint::bold("written"), case.name),
            (false, true) => println!("{} {}", paint::good("ok"), case.name),
            (false, false) => {
                println!("{} {}", paint::bold("differs"), case.name);
                for line in &case.difference {
                    println!("  {}", paint::plain(line, 200));
                }
            }
        }
    }
    println!(
        "{} events · {each_us:.1} µs each, instance and all · {:.1} MiB of memory ({:.0} % of what is granted)",
        trial.events,
        memory as f64 / (1 << 20) as f64,
        memory as f64 * 100.0 / limits.memory_bytes_max as f64,
    );
}
