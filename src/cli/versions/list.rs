//! `list`: everything on a shelf.

use std::process::ExitCode;

use serde_json::Value;
use tidegate_registry::Shelf;

use super::session::{ServerArgs, Session};
use super::short;
use crate::cli::{Done, paint};

pub(super) async fn run(server: &ServerArgs, shelf: Shelf, json: bool) -> Done {
    let answer = Session::new(server)?.get(&format!("/admin/{}", shelf.all())).await?;
    if json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    let all = answer[shelf.all()].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("no {} is on the server; `tidegate {} push` brings one", shelf.one(), shelf.one());
        return Ok(ExitCode::SUCCESS);
    }
    let used = if shelf == Shelf::Functions { "attached" } else { "syncs" };
    let mut table = paint::table(&[shelf.one(), "live", "previous", "on trial", "versions", used]);
    for one in all {
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        let users: Vec<&str> = one[used].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let [live, previous, canary] = ["live", "previous", "canary"].map(|of| short(&one[of]));
        table.add_row([name, live, previous, canary, one["versions"].to_string(), users.join(", ")]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
