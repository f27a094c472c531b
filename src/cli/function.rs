//! `tidegate function`.

use super::Done;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// x
    Build,
}

pub(super) fn run(_command: &Command, _json: bool) -> Done {
    Ok(std::process::ExitCode::SUCCESS)
}
