//! `tidegate trace`: what has become of single events of a running server.

use std::process::ExitCode;

use serde_json::Value;
use tidegate_api_types::fate::EventFate;
use tidegate_api_types::trace::{
    EventTraces, TraceQuery, TracedChange, TracedEntry, TracedFunction, TracedRecord, TracedSync,
};

use super::moments::option_time;
use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

/// Characters of an event, and of a value of it, that are shown.
const EVENT_CHARS_MAX: usize = 16 << 10;
const VALUE_CHARS_MAX: usize = 500;

/// Which events.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate trace 5f1c2a3e-9b0d-4a57-8c5e-1f6f2f9f7d10\n  tidegate trace --user ann --since 2h\n  tidegate trace --event \"Order Completed\" --source web --limit 3 --json\n\nIt asks a running server: a data directory alone does not say what runs. Who may not see events gets their fields without the\nvalues."
)]
pub(super) struct TraceArgs {
    /// The messageId of the events
    #[arg(value_name = "MESSAGE_ID", required_unless_present_any = ["user", "event"])]
    message_id: Option<String>,
    /// Only events of this userId or anonymousId, the newest
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only events of this name, the newest
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events received then or later: a time such as 2026-01-31T00:00:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events received before: a time, or an age
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Look into the archive of the log as well, for what the log does not have any more
    #[arg(long, requires = "message_id")]
    archive: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: &TraceArgs, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let mut query = TraceQuery {
            workspace: None,
            message_id: args.message_id.clone(),
            user: args.user.clone(),
            event: args.event.clone(),
            source: args.source.clone(),
            since: args.since.as_deref().map(|text| option_time("--since", text)).transpose()?,
            until: args.until.as_deref().map(|text| option_time("--until", text)).transpose()?,
            limit: Some(args.limit),
            archive: args.archive.then_some(true),
        };
        let client = args.catalog.client()?;
        let mut whole = EventTraces::default();
        loop {
            let some = client.trace(&query).await?;
            let records = std::mem::take(&mut whole.records);
            whole = EventTraces { records: records.into_iter().chain(some.records).collect(), ..some };
            let left = args.limit.saturating_sub(whole.records.len() as u64);
            let Some(until) = whole.continue_until.clone().filter(|_| left > 0) else { break };
            if query.until.as_ref() == Some(&until) {
                break;
            }
            eprintln!("{} found so far; looking at what came before {until}", whole.records.len());
            (query.until, query.limit) = (Some(until), Some(left));
        }
        if whole.records.is_empty() {
            return Err(CommandFailure::Failed(nothing(args, &whole)));
        }
        if json {
            print_json(&whole);
        } else {
            print_traces(&whole);
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Why nothing was found.
fn nothing(args: &TraceArgs, traces: &EventTraces) -> String {
    let what = match &args.message_id {
        Some(id) => format!("no record of the log that you may know of has the messageId {id:?}"),
        None => "no record of the log that you may see is like that".to_owned(),
    };
    let since = match &traces.log_since {
        Some(since) => format!("the log has records since {since}"),
        None => "the log is empty".to_owned(),
    };
    let left = traces.not_looked_at.iter().map(|left| format!("\n  not looked at: {left}")).collect::<String>();
    format!("{what}; {since}{left}")
}

fn print_traces(traces: &EventTraces) {
    for (at, record) in traces.records.iter().enumerate() {
        if at > 0 {
            println!();
        }
        print_record(record);
    }
    if traces.more {
        println!("there are more: --limit shows them, --until goes further back");
    }
    for left in &traces.not_looked_at {
        println!("not looked at: {}", style::plain(left, 500));
    }
    if traces.masked {
        println!("some events are not for you to see: their values stand for themselves by their types");
    }
}

/// A line of the timeline.
fn step(name: &str, text: &str) {
    println!("  {} {text}", style::bold(&format!("{name:<10}")));
}

fn detail(text: &str) {
    println!("             {text}");
}

fn print_record(record: &TracedRecord) {
    let id = record.message_id.as_deref().unwrap_or("(no event)");
    println!("{} {}", style::bold("record"), style::plain(&format!("{} {id}", record.position), 300));
    let from = record.ip.as_ref().map(|ip| format!(" from {ip}")).unwrap_or_default();
    let by = record.library.as_ref().map(|library| format!(" by {library}")).unwrap_or_default();
    let received = format!("{} at source {}{from}{by}, {} bytes", record.received_at, record.source, record.bytes);
    step("received", &style::plain(&received, 500));
    if let Some(original) = &record.original {
        detail(&shown(original));
    }
    if let Some(retry) = &record.retry {
        let alone = retry.for_sync.as_ref().map(|sync| format!(", for the sync {sync} alone")).unwrap_or_default();
        step(
            "retry",
            &style::plain(&format!("number {} of the event at {}{alone}", retry.attempt, retry.position), 300),
        );
    }
    if let Some(of) = &record.duplicate_of {
        let same = if of.is_same { "with the same bytes" } else { "with other bytes" };
        step("duplicate", &format!("of record {}, received {}, {same}", of.position, of.received_at));
    }
    if let Some(verdict) = &record.contract {
        let revision = verdict.revision.map(|revision| format!(" (revision {revision})")).unwrap_or_default();
        let said = match (&verdict.code, verdict.violations.is_empty()) {
            (Some(code), _) => format!("does not allow it: {code}"),
            (None, false) => "allows it, with violations".to_owned(),
            (None, true) => "allows it".to_owned(),
        };
        step("contract", &style::plain(&format!("{said}{revision}"), 300));
        verdict.violations.iter().for_each(|violation| detail(&style::plain(violation, 500)));
        print_changes(&verdict.changes);
    }
    record.functions.iter().for_each(print_function);
    for TracedEntry { id, stage, scope, code, quarantined_at, message, .. } in &record.quarantine {
        let why = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        let text = format!("entry {id} since {quarantined_at}, {stage} of {scope}, {code}{why}");
        step("quarantine", &style::plain(&text, 2_000));
    }
    if let Some(fate) = record.fate {
        step("fate", &told(fate, record.why.as_deref()));
    }
    record.syncs.iter().for_each(print_sync);
    record.notes.iter().for_each(|note| step("note", &style::plain(note, 500)));
}

fn told(fate: EventFate, why: Option<&str>) -> String {
    let name = match fate {
        EventFate::Delivered => style::good(fate.name()),
        _ => style::bold(fate.name()),
    };
    why.map_or_else(|| name.clone(), |why| format!("{name}: {}", style::plain(why, 1_000)))
}

fn print_function(function: &TracedFunction) {
    let version: String = function.version.chars().take(12).collect();
    let why = function.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let text = format!("{} (version {version}) {}{why}", function.name, function.outcome);
    step("function", &style::plain(&text, 1_000));
    for made in &function.made {
        if made.changes.is_empty() {
            detail("no change");
        }
        print_changes(&made.changes);
    }
}

fn print_changes(changes: &[TracedChange]) {
    let side = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "nothing".to_owned(), |value| style::plain(&value.to_string(), VALUE_CHARS_MAX))
    };
    for TracedChange { path, before, after } in changes {
        detail(&format!("{}: {} → {}", style::plain(path, 300), side(before), side(after)));
    }
}

fn shown(value: &Value) -> String {
    style::plain(&value.to_string(), EVENT_CHARS_MAX)
}

fn print_sync(sync: &TracedSync) {
    let head = format!("{} to {} ({})", sync.sync, sync.destination, sync.kind);
    step("sync", &format!("{} {}", style::plain(&head, 300), told(sync.fate, sync.why.as_deref())));
    sync.functions.iter().for_each(print_function);
    print_changes(&sync.mapped);
    for pending in &sync.pending {
        let error = pending.error.as_ref().map(|error| format!("; the last said: {error}")).unwrap_or_default();
        let text =
            format!("{} tries since {}, next at {}{error}", pending.attempts, pending.first_tried_at, pending.next_at);
        detail(&style::plain(&text, 1_000));
    }
    for row in &sync.found {
        let cells = row.columns.iter().map(|cell| format!("{}={}", cell.name, cell.value)).collect::<Vec<_>>();
        detail(&style::plain(&format!("row of {}: {}", row.table, cells.join(", ")), EVENT_CHARS_MAX));
    }
    if sync.found.is_empty() {
        for row in &sync.rows {
            let cells = row.columns.iter().map(|cell| format!("{}={}", cell.name, cell.value)).collect::<Vec<_>>();
            detail(&style::plain(&format!("row for {}: {}", row.table, cells.join(", ")), EVENT_CHARS_MAX));
        }
        sync.sql.iter().for_each(|sql| detail(&style::plain(sql, 2_000)));
    }
    for request in &sync.requests {
        detail(&style::plain(&format!("{} {}", request.method, request.url), 2_000));
        request.headers.iter().for_each(|[name, value]| detail(&style::plain(&format!("{name}: {value}"), 1_000)));
        detail(&style::plain(&request.body, EVENT_CHARS_MAX));
    }
    for message in &sync.messages {
        detail(&style::plain(&format!("{} key {}: {}", message.topic, message.key, message.payload), EVENT_CHARS_MAX));
    }
    sync.notes.iter().for_each(|note| detail(&style::plain(note, 500)));
}
