//! `tidegate object pause` and `tidegate object resume`: what stops for now, and goes on.

use std::process::ExitCode;

use super::client::CatalogClient;
use super::{CommandDone, CommandFailure, style};

/// Kinds of objects that can be paused.
const PAUSED: [&str; 3] = ["source", "sync", "destination"];

/// Pauses an object, or lets it go on.
pub(super) async fn run(
    client: &CatalogClient,
    (kind, name): (&str, &str),
    is_paused: bool,
    json: bool,
) -> CommandDone {
    if !PAUSED.contains(&kind) {
        let kinds = PAUSED.join(", ");
        return Err(CommandFailure::Failed(format!(
            "{kind:?} is nothing that stops and goes on; write one of {kinds}, e.g. `tidegate object pause sync crm`"
        )));
    }
    let done = client.pause(kind, name, is_paused).await?;
    if json {
        println!("{}", serde_json::to_string(&done)?);
        return Ok(ExitCode::SUCCESS);
    }
    let what = if is_paused { "is paused" } else { "goes on" };
    for object in &done.objects {
        let (kind, name) = (style::plain(&object.kind, 80), style::plain(&object.name, 200));
        let already = if object.done == "unchanged" { ", as it did before" } else { "" };
        println!("{kind} {name} {what}{already}");
    }
    Ok(ExitCode::SUCCESS)
}
