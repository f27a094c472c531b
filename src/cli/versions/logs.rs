//! `logs`: what a function or a destination logged.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tidegate_registry::PluginKind;

use super::session::{ServerArgs, Session};
use super::{path, short};
use crate::cli::{Done, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines of a function are kept with the data, of its newest runs; those of a destination in memory, since the \
    server started."
)]
pub(in crate::cli) struct Args {
    #[arg(value_name = "NAME")]
    name: String,
    /// Only batches that the event with this messageId was in (functions)
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only lines that hold this text
    #[arg(long)]
    text: Option<String>,
    /// Only lines this loud or louder: debug, info, warn, error
    #[arg(long)]
    level: Option<String>,
    /// The newest so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: &Args, plugin_kind: PluginKind, json: bool) -> Done {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    for (key, value) in [("event", &args.event), ("text", &args.text), ("level", &args.level)] {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    let path = format!("{}?{}", path(plugin_kind, &args.name, "logs"), query.finish());
    let mut session = Session::new(&args.server)?;
    let mut shown: Vec<Value> = Vec::new();
    loop {
        let answer = session.get(&path).await?;
        let lines: Vec<Value> = answer["lines"].as_array().cloned().unwrap_or_default();
        for line in lines.iter().filter(|line| !shown.contains(line)) {
            if json {
                println!("{line}");
            } else {
                let text = |name: &str| style::plain(line[name].as_str().unwrap_or_default(), 2_000);
                println!("{} {} {} {}", text("at"), short(&line["version"]), text("level"), text("text"));
            }
        }
        shown = lines;
        if !args.follow {
            if shown.is_empty() && !json {
                let (one, name) = (plugin_kind.one(), &args.name);
                eprintln!("no lines of {one} {name}; what broke is in `tidegate quarantine`");
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
