//! `list`: all functions, or all destinations.

use std::process::ExitCode;

use tidegate_registry::PluginKind;

use super::session::{AdminSession, ServerArgs};
use super::short;
use super::shown::json as shown_json;
use crate::cli::{CommandDone, style};

pub(super) async fn run(server: &ServerArgs, plugin_kind: PluginKind, json: bool) -> CommandDone {
    let listed = AdminSession::new(server, plugin_kind)?.list().await?;
    if json {
        println!("{}", shown_json(&listed));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = listed.rows();
    if rows.is_empty() {
        println!("no {} is on the server; `tidegate {} push` brings one", plugin_kind.one(), plugin_kind.one());
        return Ok(ExitCode::SUCCESS);
    }
    let used = if plugin_kind == PluginKind::Functions { "attached" } else { "syncs" };
    let mut table = style::table(&[plugin_kind.one(), "live", "previous", "candidate", "versions", used]);
    for row in rows {
        let [live, previous, canary] = [row.live, row.previous, row.canary].map(short);
        table.add_row([row.name.to_owned(), live, previous, canary, row.versions.to_string(), row.users.join(", ")]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
