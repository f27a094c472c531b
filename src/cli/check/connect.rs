//! `tidegate check --connect`: asks each destination whether it is there and what may be done in it, and changes nothing.

use std::process::ExitCode;

use super::super::{CommandDone, connections, runtime};
use crate::app::connect;
use crate::config::Workspace;

pub(super) fn run(workspace: &Workspace, json: bool) -> CommandDone {
    let runtime = runtime()?;
    let tried = runtime.block_on(connect::connections(workspace, |_, _| true));
    runtime.shutdown_background();
    let is_fine = tried.iter().all(|one| one.ok);
    if json {
        println!("{}", serde_json::json!({"ok": is_fine, "destinations": tried}));
    } else {
        tried.iter().for_each(connections::print);
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
