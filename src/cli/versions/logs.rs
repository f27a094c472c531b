//! `logs`: what a function or a destination logged.

use std::process::ExitCode;
use std::time::Duration;

use tidegate_api_types::logs::{LogQuery, ShownLogLine};
use tidegate_registry::PluginKind;

use super::session::{AdminSession, ServerArgs};
use super::short;
use super::shown::json as shown_json;
use crate::cli::{CommandDone, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines of a function are kept with the data, of its newest runs; those of a destination in memory, since the \
    server started."
)]
pub(in crate::cli) struct LogsArgs {
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

pub(super) async fn run(args: &LogsArgs, plugin_kind: PluginKind, json: bool) -> CommandDone {
    let LogsArgs { name, event, text, level, limit, .. } = args;
    let query = LogQuery {
        event: event.clone(),
        text: text.clone(),
        level: level.clone(),
        limit: Some(*limit),
        ..LogQuery::default()
    };
    let session = AdminSession::new(&args.server, plugin_kind)?;
    let mut shown: Vec<ShownLogLine> = Vec::new();
    loop {
        let lines = session.logs(name, &query).await?.lines;
        for line in lines.iter().filter(|line| !shown.contains(line)) {
            if json {
                println!("{}", shown_json(line));
            } else {
                let ShownLogLine { at, version, level, text, .. } = line;
                let [at, level, text] = [at, level, text].map(|text| style::plain(text, 2_000));
                println!("{at} {} {level} {text}", short(Some(version)));
            }
        }
        shown = lines;
        if !args.follow {
            if shown.is_empty() && !json {
                eprintln!("no lines of {} {name}; what broke is in `tidegate quarantine`", plugin_kind.one());
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
