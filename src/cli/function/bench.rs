//! `bench`: a plugin beside one that does nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_authoring::{self as project, Measured};
use tidegate_document::file;
use tidegate_plugin::Package;
use tidegate_wasm::CallLimits;
use tidegate_wasm::function::granted;

use super::{BuildTools, CommandDone, CommandFailure, build};
use crate::cli::{runtime, style};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BenchArgs {
    /// The project's folder, with its plugin.yaml and fixtures/
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Measure this component instead of building one
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    #[command(flatten)]
    tools: BuildTools,
}

pub(super) fn run(args: &BenchArgs, json: bool) -> CommandDone {
    let path = match &args.component {
        Some(path) => path.clone(),
        None => build::built(&args.dir, None, &args.tools)?.path,
    };
    let bytes = file::read(&path, file::COMPONENT_BYTES_MAX)
        .map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))?;
    let limits = Package::read(&bytes).map(|package| granted(&package.manifest, &CallLimits::default()));
    let report = runtime()?.block_on(project::bench(&args.dir, &path, limits.unwrap_or_default()))?;
    if json {
        let figures = |measured: &Measured| {
            serde_json::json!({"events_per_second": measured.events_per_second, "p50_us": measured.p50_us,
                "p99_us": measured.p99_us, "batches": measured.batches})
        };
        let row = |(plugin, noop): &(Measured, Measured)| serde_json::json!({"batch": plugin.batch, "plugin": figures(plugin), "noop": figures(noop)});
        println!("{}", serde_json::Value::Array(report.rows.iter().map(row).collect()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = style::table(&["batch", "", "events/s", "p50 of a batch", "p99 of a batch", "an event"]);
    for (plugin, noop) in &report.rows {
        for (name, measured) in [("this plugin", plugin), ("no-op", noop)] {
            table.add_row([
                measured.batch.to_string(),
                name.to_owned(),
                style::count(measured.events_per_second as u64),
                format!("{:.2} ms", measured.p50_us / 1e3),
                format!("{:.2} ms", measured.p99_us / 1e3),
                format!("{:.2} µs", measured.p50_us / measured.batch as f64),
            ]);
        }
    }
    println!("{table}");
    println!("one core, a fresh instance for each batch, events of the fixtures; the no-op is what the boundary costs");
    Ok(ExitCode::SUCCESS)
}
