//! `tidegate source`: streams that sources of a running server read.

use std::process::ExitCode;

use tidegate_api_types::stream::{SeekStream, SeekTo, ShownStream};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, runtime, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SourceCommand {
    /// Show how the stream of a source is: what it does, and how far it is in each partition
    #[command(
        after_help = "Examples:\n  tidegate source stream orders\n  tidegate source stream orders --json\n\nThe same of all streams at once, as of the last seconds: `tidegate status`. To stop one and let it go on: `tidegate object pause\nsource orders`, `tidegate object resume source orders`. Whether one can be read at all: `tidegate check --connect`."
    )]
    Stream {
        /// The source, of kind kafka, pubsub or kinesis
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Have the stream of a source go on elsewhere
    #[command(
        after_help = "Examples:\n  tidegate source seek orders --to earliest\n  tidegate source seek orders --to 2026-11-30T12:00:00Z\n  tidegate source seek orders --to orders/3/42000\n\nMessages that were read before have the same positions: within the dedup window they are duplicates, and not delivered again.\nOf Pub/Sub earliest, latest and times can be gone to; a position cannot. A paused stream goes nowhere."
    )]
    Seek {
        /// The source, of kind kafka, pubsub or kinesis
        name: String,
        /// earliest, latest, a time such as 2026-11-30T12:00:00Z, or a position such as orders/3/42000
        #[arg(long, value_name = "WHERE", value_parser = seek_to)]
        to: SeekTo,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(command: &SourceCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            SourceCommand::Stream { name, catalog } => {
                let stream = catalog.client()?.stream(name).await?;
                if json {
                    print_json(&stream);
                } else {
                    print_stream(&stream);
                }
            }
            SourceCommand::Seek { name, to, catalog } => {
                let sought = catalog.client()?.seek(name, &SeekStream { to: to.clone() }).await?;
                if json {
                    print_json(&sought);
                } else {
                    let place = match &sought.to {
                        SeekTo::Earliest => "the earliest message".to_owned(),
                        SeekTo::Latest => "what comes from now on".to_owned(),
                        SeekTo::Time(at) => format!("messages of {} or later", style::plain(at, 100)),
                        SeekTo::Position(at) => style::plain(at, 500),
                    };
                    println!("source {} goes on with {place}", style::plain(&sought.source, 100));
                    println!("note: {}", style::plain(&sought.note, 500));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What `--to` says: a position has a slash, and a time has none.
fn seek_to(text: &str) -> Result<SeekTo, String> {
    match text {
        "earliest" => Ok(SeekTo::Earliest),
        "latest" => Ok(SeekTo::Latest),
        _ if text.contains('/') => Ok(SeekTo::Position(text.to_owned())),
        _ if tidegate_event::time::parse(text).is_some() => Ok(SeekTo::Time(text.to_owned())),
        _ => Err(
            "it is neither earliest, latest, a time such as 2026-11-30T12:00:00Z, nor a position such as orders/3/42"
                .to_owned(),
        ),
    }
}

fn print_stream(stream: &ShownStream) {
    let (place, state) = (style::plain(&stream.place, 300), style::plain(&stream.state, 100));
    println!("source {}, {place}: {state}", style::plain(&stream.source, 100));
    println!(
        "{} messages since the start, {:.1} a second, {} on their way; {} quarantined, {} skipped",
        style::count(stream.messages),
        stream.messages_per_second,
        style::count(stream.in_flight),
        style::count(stream.quarantined),
        style::count(stream.skipped)
    );
    if let Some(error) = &stream.error {
        println!("{} {}", style::bold("error:"), style::plain(error, 1_000));
    }
    for notice in &stream.notices {
        println!("{} {}", style::bold("notice:"), style::plain(notice, 1_000));
    }
    if stream.partitions.is_empty() {
        return;
    }
    let is_shared = stream.partitions.iter().any(|partition| partition.holder.is_some());
    let mut columns = vec!["topic", "partition", "acknowledged", "lag", "behind"];
    columns.extend(is_shared.then_some("server"));
    let mut table = style::table(&columns);
    for partition in &stream.partitions {
        let lag = partition.lag.map_or_else(|| "unknown".to_owned(), style::count);
        let behind = partition.behind_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"));
        let texts = [&partition.topic, &partition.partition, &partition.acknowledged];
        let server =
            is_shared.then(|| partition.holder.as_ref().map_or_else(String::new, |name| style::plain(name, 100)));
        table.add_row(texts.map(|text| style::plain(text, 200)).into_iter().chain([lag, behind]).chain(server));
    }
    println!("{table}");
}
