//! `tidegate check --connect`: asks each destination whether it is there and what may be done in it, and changes nothing.

use std::process::ExitCode;

use futures_util::future::join_all;
use serde::Serialize;
use tidegate_api_types::tried::TriedConnection;

use super::super::{CommandDone, connections, runtime};
use crate::app::connect;
use crate::config::{MAIN_ENVIRONMENT, ReadEnvironment};

/// How a destination of an environment answered.
#[derive(Serialize)]
struct EnvironmentConnection<'e> {
    environment: &'e str,
    #[serde(flatten)]
    tried: TriedConnection,
}

pub(super) fn run(environments: &[ReadEnvironment], json: bool) -> CommandDone {
    let runtime = runtime()?;
    let asked = environments.iter().map(|one| connect::connections(&one.workspace, |_, _| true));
    let answered = runtime.block_on(join_all(asked));
    runtime.shutdown_background();
    let of_all = environments.iter().zip(answered).flat_map(|(one, answered)| {
        answered.into_iter().map(move |tried| EnvironmentConnection { environment: &one.name, tried })
    });
    let tried: Vec<EnvironmentConnection<'_>> = of_all.collect();
    let is_fine = tried.iter().all(|one| one.tried.ok);
    if json {
        println!("{}", serde_json::json!({"ok": is_fine, "destinations": tried}));
    } else {
        for one in &tried {
            connections::print(Some(one.environment).filter(|name| *name != MAIN_ENVIRONMENT), &one.tried);
        }
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
