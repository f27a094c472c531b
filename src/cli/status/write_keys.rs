//! Write keys of a running server, which alone knows what they are used for.

use tidegate_api_types::write_key::ShownWriteKey;

use crate::cli::client::TokenArgs;
use crate::cli::{CommandFailure, runtime, style};

/// The running server that is asked, if any.
#[derive(Debug, clap::Args)]
pub(super) struct AskedServer {
    /// Ask the running server too, at its admin API: what each write key is used for
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    access: TokenArgs,
}

impl AskedServer {
    /// Every write key; `None` when no server is asked.
    pub(super) fn write_keys(&self) -> Result<Option<Vec<ShownWriteKey>>, CommandFailure> {
        let Some(server) = &self.server else { return Ok(None) };
        let client = self.access.client(server)?;
        Ok(Some(runtime()?.block_on(client.write_keys())?.write_keys))
    }
}

pub(super) fn print(keys: &[ShownWriteKey]) {
    let mut table = style::table(&["source", "write key", "events", "last used", "created", "ends"]);
    for key in keys {
        let last_used = key.last_used.clone().unwrap_or_else(|| "not since the start".to_owned());
        let ends = match &key.ends {
            Some(end) if key.ended => format!("{end} (over)"),
            Some(end) => end.clone(),
            None => "never".to_owned(),
        };
        let events = style::count(key.events);
        table.add_row([key.source.clone(), key.name.clone(), events, last_used, key.created.clone(), ends]);
    }
    println!("{table}");
}
