//! `tidegate demo`.

use super::Done;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Done {
    Ok(std::process::ExitCode::SUCCESS)
}
