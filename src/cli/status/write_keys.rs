//! Write keys: what the data directory says of their use, and what a running server says of all of them.

use serde_json::{Value, json};
use tidegate_api_types::write_key::{ShownWriteKey, WriteKeyFrom};
use tidegate_event::time;
use tidegate_state::KeyUse;

use crate::cli::client::TokenArgs;
use crate::cli::{CommandFailure, runtime, style};

/// The running server that is asked, if any.
#[derive(Debug, clap::Args)]
pub(super) struct AskedServer {
    /// Ask the running server too, at its admin API: which write keys there are, and what each is used for until now
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    access: TokenArgs,
}

impl AskedServer {
    /// Every write key of an environment; `None` when no server is asked.
    pub(super) fn write_keys(&self, environment: &str) -> Result<Option<Vec<ShownWriteKey>>, CommandFailure> {
        let Some(server) = &self.server else { return Ok(None) };
        let client = self.access.client(server)?.in_workspace(Some(environment.to_owned()));
        Ok(Some(runtime()?.block_on(client.write_keys())?.write_keys))
    }
}

pub(super) fn print(keys: &[ShownWriteKey]) {
    let mut table = style::table(&["source", "write key", "from", "events", "last used", "created", "ends"]);
    for key in keys {
        let last_used = key.last_used.clone().unwrap_or_else(|| "never".to_owned());
        let from = match key.from {
            WriteKeyFrom::File => "file",
            WriteKeyFrom::Api => "API",
        };
        let ends = match &key.ends {
            Some(end) if key.ended => format!("{end} (over)"),
            Some(end) => end.clone(),
            None => "never".to_owned(),
        };
        let events = style::count(key.events);
        let (source, name) = (key.source.clone(), key.name.clone());
        let created = key.created.clone().unwrap_or_else(|| "unknown".to_owned());
        table.add_row([source, name, from.to_owned(), events, last_used, created, ends]);
    }
    println!("{table}");
}

/// The name of a key within its source, as everybody but the state says it.
fn local(used: &KeyUse) -> &str {
    used.key.strip_prefix(&*used.source).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&used.key)
}

/// What the data directory has of keys that were used.
pub(super) fn used(uses: &[KeyUse]) -> Vec<Value> {
    let shown = |used: &KeyUse| {
        json!({
            "source": used.source, "name": local(used), "events": used.events,
            "first_used": time::format(used.first_at_us), "last_used": time::format(used.last_at_us),
        })
    };
    uses.iter().map(shown).collect()
}

pub(super) fn print_used(uses: &[KeyUse]) {
    if uses.is_empty() {
        return;
    }
    let mut table = style::table(&["source", "write key", "events", "first used", "last used"]);
    for used in uses {
        let (first, last) = (time::format(used.first_at_us), time::format(used.last_at_us));
        table.add_row([used.source.clone(), local(used).to_owned(), style::count(used.events), first, last]);
    }
    println!("{table}");
}
