//! `tidegate admin`.

use std::process::ExitCode;

use super::{CommandDone, CommandFailure, WorkspaceArgs, style};
use crate::api::access;
use crate::app::paths;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AdminCommand {
    /// Make a new admin token; a running server takes it at once, and the old one no more
    Token {
        #[command(flatten)]
        workspace: WorkspaceArgs,
        /// Yes, make a new one
        #[arg(long)]
        reset: bool,
    },
}

pub(super) fn run(command: &AdminCommand, json: bool) -> CommandDone {
    let AdminCommand::Token { workspace, reset } = command;
    if !reset {
        let message = "a token is shown only when it is made, because only its hash is kept; add --reset for a new one";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    let token = access::reset(&paths::admin(&workspace.outline()?.data))?;
    if json {
        println!("{}", serde_json::json!({ "token": token }));
    } else {
        println!("{token}");
        eprintln!("{} the token before it is good no more; keep this one, it is not shown again", style::bold("made:"));
    }
    Ok(ExitCode::SUCCESS)
}
