//! What commands share that change what runs: what becomes of syncs that end by it, and the exit code.

use std::process::ExitCode;

use tidegate_api_types::control::FolderApplied;

#[derive(Debug, clap::Args)]
pub(super) struct EndingArgs {
    /// A sync that ends by it, or a source with all its syncs: what waits for it is delivered first; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) drain: Vec<String>,
    /// The same: what waits for it is given up, and counted; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) abandon: Vec<String>,
}

/// It is done, and something of it does not run as it is wanted.
const BEHIND: u8 = 2;

pub(super) fn exit_code(applied: &FolderApplied) -> ExitCode {
    let is_behind = applied.running.as_ref().is_some_and(|running| !running.behind.is_empty());
    if is_behind && !applied.dry_run { ExitCode::from(BEHIND) } else { ExitCode::SUCCESS }
}
