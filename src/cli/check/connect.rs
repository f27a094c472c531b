//! `tidegate check --connect`: asks each destination whether it is there and what may be done in it, and each stream whether it can be
//! read. Nothing is changed.

use std::process::ExitCode;

use futures_util::future::{join, join_all};
use serde::Serialize;
use tidegate_api_types::tried::{TriedConnection, TriedStream};

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

/// How the stream of a source of an environment answered.
#[derive(Serialize)]
struct EnvironmentStream<'e> {
    environment: &'e str,
    #[serde(flatten)]
    tried: TriedStream,
}

pub(super) fn run(environments: &[ReadEnvironment], json: bool) -> CommandDone {
    let runtime = runtime()?;
    let asked = environments.iter().map(|one| connect::connections(&one.workspace, |_, _| true));
    let of_sources = environments.iter().map(|one| connect::streams(&one.workspace));
    let (answered, streams) = runtime.block_on(join(join_all(asked), join_all(of_sources)));
    runtime.shutdown_background();
    let of_all = environments.iter().zip(answered).flat_map(|(one, answered)| {
        answered.into_iter().map(move |tried| EnvironmentConnection { environment: &one.name, tried })
    });
    let tried: Vec<EnvironmentConnection<'_>> = of_all.collect();
    let of_all = environments.iter().zip(streams).flat_map(|(one, answered)| {
        answered.into_iter().map(move |tried| EnvironmentStream { environment: &one.name, tried })
    });
    let streams: Vec<EnvironmentStream<'_>> = of_all.collect();
    let is_fine = tried.iter().all(|one| one.tried.ok) && streams.iter().all(|one| one.tried.ok);
    if json {
        println!("{}", serde_json::json!({"ok": is_fine, "destinations": tried, "sources": streams}));
    } else {
        let named = |environment| Some(environment).filter(|name| *name != MAIN_ENVIRONMENT);
        for one in &tried {
            connections::print(named(one.environment), &one.tried);
        }
        for one in &streams {
            connections::print_stream(named(one.environment), &one.tried);
        }
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
