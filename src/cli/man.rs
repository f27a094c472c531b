//! `tidegate man`: the manual pages that packages carry, one for each command that `--help` shows.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use super::{CommandDone, CommandFailure};

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Where to write them, as NAME.1; the folder is made if there is none
    dir: PathBuf,
}

pub(super) fn run<C: CommandFactory>(args: &ManArgs) -> CommandDone {
    let dir = &args.dir;
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(C::command(), dir).map_err(failed)?;
    println!("wrote the manual pages into {}", dir.display());
    Ok(ExitCode::SUCCESS)
}
