//! `dev`: build and try again whenever a file changes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::{BuildTools, CommandDone, CommandFailure, build, test};
use crate::cli::{on_signal, runtime, style};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DevArgs {
    /// The project's folder, with its plugin.yaml and fixtures/
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    tools: BuildTools,
}

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// What builds write, and what would be long to walk.
const NOT_WATCHED: [&str; 6] = ["build", "node_modules", "target", "__pycache__", ".git", "tidegate"];

pub(super) fn run(args: &DevArgs) -> CommandDone {
    runtime()?.block_on(async {
        let mut stopped = on_signal()?;
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut seen = None;
        loop {
            tokio::select! {
                _ = stopped.changed() => return Ok(ExitCode::SUCCESS),
                _ = looks.tick() => {}
            }
            let now = newest(&args.dir);
            if seen == Some(now) {
                continue;
            }
            // What changes while a build runs is seen after it.
            seen = Some(now);
            tokio::select! {
                _ = stopped.changed() => return Ok(ExitCode::SUCCESS),
                () = once(args) => {}
            }
        }
    })
}

/// One build and test; what fails is said, and the watch goes on.
async fn once(args: &DevArgs) {
    let tried = async {
        let built = tokio::task::block_in_place(|| build::built(&args.dir, None, &args.tools))?;
        build::say("built", &built);
        let report = test::tried(&args.dir, &built.path, false).await?;
        test::print(&report, true);
        Ok::<(), CommandFailure>(())
    };
    match tried.await {
        Ok(()) => {}
        Err(CommandFailure::Failed(message)) => println!("{} {message}", style::error("error:")),
        Err(CommandFailure::Problems(problems)) => println!("{} {} problems", style::error("error:"), problems.len()),
    }
    println!("watching {}; Ctrl-C ends", args.dir.display());
}

/// When anything in the folder was last changed, and how much there is.
fn newest(dir: &Path) -> (Option<SystemTime>, usize) {
    let (mut newest_change, mut files) = (None, 0);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if NOT_WATCHED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let Ok(found) = entry.metadata() else { continue };
        let (changed, count) = if found.is_dir() { newest(&entry.path()) } else { (found.modified().ok(), 1) };
        newest_change = newest_change.max(changed);
        files += count;
    }
    (newest_change, files)
}
