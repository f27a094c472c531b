//! `tidegate object test`: what a destination or a sync connects to, and what would become of events. Nothing is changed.

use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_api_types::tried::{ObjectTried, TriedEvent, TriedMessage, TryObject, TryOutcome};

use super::super::{CommandDone, connections, style};
use super::{CatalogArgs, NAME_CHARS_MAX, print_json, spec_text};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TryArgs {
    /// destination or sync
    kind: String,
    name: String,
    /// As this spec would make it, in YAML or JSON; `-` reads standard input [default: as it is]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of a sync or a stream: events as SDKs send them, JSON lines or one JSON array; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "count")]
    events: Option<PathBuf>,
    /// Of a sync: at most so many of the newest events of its source, 0 to 200 [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=200))]
    count: Option<u64>,
    #[command(flatten)]
    catalog: CatalogArgs,
}

const VALUE_CHARS_MAX: usize = 120;
const EVENT_CHARS_MAX: usize = 2_000;

pub(super) async fn run(args: &TryArgs, json: bool) -> CommandDone {
    let spec = match &args.file {
        Some(path) => Some(spec_text::spec(path, &spec_text::read(path)?)?),
        None => None,
    };
    let events = match &args.events {
        Some(path) => Some(spec_text::events(path, &spec_text::read(path)?)?),
        None => None,
    };
    let asked = TryObject { spec, events, count: args.count };
    let tried = args.catalog.client()?.try_object((&args.kind, &args.name), &asked).await?;
    if json {
        print_json(&tried);
    } else {
        print(&tried);
    }
    Ok(if tried.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(tried: &ObjectTried) {
    tried.connections.iter().for_each(|one| connections::print(None, one));
    if tried.kind != "sync" && tried.events.is_empty() {
        return;
    }
    if tried.events.is_empty() {
        println!("no event was tried: its source has none among the newest of the log; --events FILE tries others");
        return;
    }
    let of = |outcome: TryOutcome| tried.events.iter().filter(|event| event.outcome == outcome).count();
    let (delivered, filtered) = (of(TryOutcome::Delivered), of(TryOutcome::Filtered));
    let quarantined = of(TryOutcome::Quarantined);
    println!(
        "of {} events {delivered} would be delivered, {filtered} filtered, {quarantined} quarantined",
        tried.events.len()
    );
    tried.events.iter().for_each(print_event);
    if tried.masked {
        println!("values are masked: to see them takes the grant to see the events of the source and the destination");
    }
}

fn print_event(event: &TriedEvent) {
    let id = event.message_id.as_deref().unwrap_or("(no messageId)");
    println!("{} {}", style::bold(event.outcome.as_str()), style::plain(id, NAME_CHARS_MAX));
    if let Some(reason) = &event.reason {
        println!("  {}", style::plain(reason, EVENT_CHARS_MAX));
    }
    for violation in &event.violations {
        println!("  {}", style::plain(violation, EVENT_CHARS_MAX));
    }
    for message in &event.messages {
        print_message(message);
    }
    if event.rows.is_empty() && event.messages.is_empty() {
        for delivered in &event.delivered {
            println!("  {}", style::plain(&delivered.to_string(), EVENT_CHARS_MAX));
        }
    }
    if event.rows.is_empty() {
        return;
    }
    let mut table = style::table(&["table", "column", "type", "value"]);
    for row in &event.rows {
        for (at, column) in row.columns.iter().enumerate() {
            let name = if at == 0 { style::plain(&row.table, NAME_CHARS_MAX) } else { String::new() };
            let (column_name, value) =
                (style::plain(&column.name, NAME_CHARS_MAX), style::plain(&column.value, VALUE_CHARS_MAX));
            table.add_row([name, column_name, column.kind.clone(), value]);
        }
    }
    println!("{table}");
}

fn print_message(message: &TriedMessage) {
    let TriedMessage { topic, key, headers, payload, is_base64 } = message;
    println!("  to {} under the key {}", style::plain(topic, VALUE_CHARS_MAX), style::plain(key, VALUE_CHARS_MAX));
    for (name, value) in headers {
        println!("    {}: {}", style::plain(name, NAME_CHARS_MAX), style::plain(value, VALUE_CHARS_MAX));
    }
    let spelled = if *is_base64 { "Avro, in Base64: " } else { "" };
    println!("    {spelled}{}", style::plain(payload, EVENT_CHARS_MAX));
}
