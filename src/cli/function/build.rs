//! `build`: a project to one file.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_authoring::{self as project, Built};

use super::{BuildTools, CommandDone, CommandFailure};
use crate::cli::style;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BuildArgs {
    /// The project's folder, with its plugin.yaml
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where to put the component [default: build/NAME.component.wasm in the project; for Rust beside cargo's output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    tools: BuildTools,
}

pub(super) fn run(args: &BuildArgs, json: bool) -> CommandDone {
    let built = built(&args.dir, args.out.as_deref(), &args.tools)?;
    if json {
        println!("{}", json_of(&built));
    } else {
        say("built", &built);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn json_of(built: &Built) -> serde_json::Value {
    serde_json::json!({"component": built.path.display().to_string(), "bytes": built.bytes, "sha256": built.sha256,
        "seconds": built.seconds})
}

pub(super) fn say(done: &str, built: &Built) {
    let (kib, id) = (built.bytes.div_ceil(1024), built.sha256.get(..16).unwrap_or_default());
    println!("{} {} ({kib} KiB, sha-256 {id}, {:.1} s)", style::good(done), built.path.display(), built.seconds);
    if built.kind.is_none() {
        println!("  without a plugin.yaml it carries no manifest: it can be run here, but not pushed");
    }
}

/// Builds with a spinner that shows what the tool last said; a pipe gets the steps as lines.
pub(in crate::cli) fn built(dir: &Path, out: Option<&Path>, tools: &BuildTools) -> Result<Built, CommandFailure> {
    let workbench = tools.workbench()?;
    if !std::io::stderr().is_terminal() {
        return Ok(project::build(dir, &workbench, out, &mut |line| {
            if !line.trim().is_empty() {
                eprintln!("  {}", style::plain(line, 200));
            }
        })?);
    }
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    let built = project::build(dir, &workbench, out, &mut |line| spinner.set_message(style::plain(line, 200)));
    spinner.finish_and_clear();
    Ok(built?)
}
