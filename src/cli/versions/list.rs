//! `list`: everything on a kind.

use std::process::ExitCode;

use serde_json::Value;
use tidegate_registry::PluginKind;

use super::session::{ServerArgs, Session};
use super::short;
use crate::cli::{Done, style};

pub(super) async fn run(server: &ServerArgs, plugin_kind: PluginKind, json: bool) -> Done {
    let answer = Session::new(server)?.get(&format!("/admin/{}", plugin_kind.all())).await?;
    if json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    let all = answer[plugin_kind.all()].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("no {} is on the server; `tidegate {} push` brings one", plugin_kind.one(), plugin_kind.one());
        return Ok(ExitCode::SUCCESS);
    }
    let used = if plugin_kind == PluginKind::Functions { "attached" } else { "syncs" };
    let mut table = style::table(&[plugin_kind.one(), "live", "previous", "candidate", "versions", used]);
    for one in all {
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        let users: Vec<&str> = one[used].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let [live, previous, canary] = ["live", "previous", "canary"].map(|of| short(&one[of]));
        table.add_row([name, live, previous, canary, one["versions"].to_string(), users.join(", ")]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
