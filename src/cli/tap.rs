//! `tidegate tap`: events of a running server while they pass.

use std::process::ExitCode;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::Value;
use tidegate_api_types::trace::{LostTapSteps, SampledTapSteps, ShownTapStep, TapQuery};
use tokio::sync::watch;
use tokio::time::Instant;

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, on_signal, runtime, style};

/// Bytes of one event of the stream at most.
const EVENT_BYTES_MAX: usize = 64 << 20;
/// Characters of an event that are shown.
const SHOWN_CHARS_MAX: usize = 64 << 10;
/// Whoever reads along is told of what is left out after so long again.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// Which events.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate tap\n  tidegate tap --source web --event \"Order Completed\"\n  tidegate tap --sync crm --filter /properties/plan=pro\n  tidegate tap --user ann --steps --limit 20\n\nCtrl-C ends it. Of more than --rate steps a second a sample is shown, and how many there are is said; what is quarantined or dropped has a share of its own. The server waits for nobody: whoever reads too slowly loses steps, and is told how many."
)]
pub(super) struct TapArgs {
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// As events reach the destination of this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only events of this name; of those without one, of this kind
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only events of this kind
    #[arg(long = "type", value_name = "KIND", value_parser = ["track", "identify", "page", "screen", "group", "alias"])]
    kind: Option<String>,
    /// Only events of this userId or anonymousId
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only events with this value at a place, e.g. /properties/plan=pro
    #[arg(long, value_name = "POINTER=VALUE")]
    filter: Option<String>,
    /// Show every step: what each function and each sync makes of the events
    #[arg(long)]
    steps: bool,
    /// Steps a second at most, and as many that are quarantined or dropped
    #[arg(long, value_name = "N", default_value_t = TapQuery::RATE, value_parser = clap::value_parser!(u64).range(1..=TapQuery::RATE_MAX))]
    rate: u64,
    /// End after so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: &TapArgs, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let stop = on_signal()?;
        let query = TapQuery {
            workspace: None,
            source: args.source.clone(),
            sync: args.sync.clone(),
            event: args.event.clone(),
            kind: args.kind.clone(),
            user: args.user.clone(),
            filter: args.filter.clone(),
            rate: Some(args.rate),
            steps: args.steps,
        };
        listen(&query, (args.limit, json), &args.catalog, stop).await
    })
}

async fn listen(
    query: &TapQuery,
    (limit, json): (Option<u64>, bool),
    catalog: &CatalogArgs,
    mut stop: watch::Receiver<bool>,
) -> CommandDone {
    let client = catalog.client()?;
    let (mut left, mut is_told) = (limit.unwrap_or(u64::MAX), false);
    let mut printer = StepPrinter { json, sample_told: None };
    while left > 0 {
        let begun = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
            begun = client.tap(query) => begun,
        };
        let mut stream = begun?;
        let mut pieces = BytesMut::new();
        loop {
            let piece = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
                piece = stream.next() => piece?,
            };
            // The server ends it after ten minutes: whoever may still listen does so.
            let Some(piece) = piece else { break };
            if !is_told {
                is_told = true;
                eprintln!("listening; Ctrl-C ends it");
            }
            pieces.extend_from_slice(&piece);
            while let Some(event) = next_event(&mut pieces) {
                left = left.saturating_sub(printer.print(&event)?);
                if left == 0 {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            if pieces.len() > EVENT_BYTES_MAX {
                let wrong = format!("the server sends an event of more than {EVENT_BYTES_MAX} bytes");
                return Err(CommandFailure::Failed(wrong));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The next whole event of the stream.
fn next_event(pieces: &mut BytesMut) -> Option<Bytes> {
    let end = pieces.windows(2).position(|pair| pair == b"\n\n")?;
    let event = pieces.split_to(end).freeze();
    pieces.advance(2);
    Some(event)
}

/// Prints what comes.
struct StepPrinter {
    json: bool,
    /// When it was said last that not everything is shown.
    sample_told: Option<Instant>,
}

impl StepPrinter {
    /// Prints an event of the stream, and says how many steps it is.
    fn print(&mut self, event: &[u8]) -> Result<u64, CommandFailure> {
        let text = String::from_utf8_lossy(event);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let Some(data) = field("data: ") else { return Ok(0) };
        match field("event: ") {
            Some(TapQuery::STEP) => {
                let step: ShownTapStep = serde_json::from_str(data)?;
                if self.json {
                    print_json(&step);
                } else {
                    print_step(&step);
                }
                Ok(1)
            }
            Some(TapQuery::LOST) => {
                let lost: LostTapSteps = serde_json::from_str(data)?;
                if self.json {
                    print_json(&lost);
                } else {
                    eprintln!("{} steps were lost: they came faster than they were read", style::count(lost.lost));
                }
                Ok(0)
            }
            Some(TapQuery::SAMPLED) => {
                self.print_sample(&serde_json::from_str(data)?);
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn print_sample(&mut self, sample: &SampledTapSteps) {
        if self.json {
            print_json(sample);
            return;
        }
        if self.sample_told.is_some_and(|at| at.elapsed() < TOLD_AGAIN) {
            return;
        }
        self.sample_told = Some(Instant::now());
        let [all, one_in] = [sample.a_second(), sample.one_in()].map(style::count);
        let [seen, shown] = [sample.errors_seen, sample.errors_shown].map(style::count);
        let errors =
            if sample.errors_seen > 0 { format!(", {shown} of {seen} that went no further") } else { String::new() };
        eprintln!("{all} steps a second: 1 in {one_in} is shown{errors}; a filter or --rate shows more of them");
    }
}

fn print_step(step: &ShownTapStep) {
    let of = match (step.name.as_deref(), step.sync.as_deref()) {
        (Some(name), Some(sync)) => format!("{} {name} of sync {sync}", step.stage),
        (Some(name), None) => format!("{} {name}", step.stage),
        (None, _) => step.stage.clone(),
    };
    let outcome = match step.outcome.as_str() {
        "passed" => style::good(&step.outcome),
        other => style::bold(other),
    };
    let why = step.why.as_ref().map(|why| format!(" ({})", style::plain(why, 500))).unwrap_or_default();
    println!(
        "{} {} {} {}: {outcome}{why}",
        style::plain(&step.received_at, 40),
        style::plain(&step.source, 63),
        style::plain(&step.position, 40),
        style::plain(&of, 200),
    );
    let shown = |value: &Value| style::plain(&value.to_string(), SHOWN_CHARS_MAX);
    if let Some(before) = &step.before {
        println!("  {}", shown(before));
    }
    for after in &step.after {
        println!("  → {}", shown(after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_as_they_become_whole() {
        let mut pieces = BytesMut::from(&b": listening\n\nevent: lost\nda"[..]);
        assert_eq!(next_event(&mut pieces).as_deref(), Some(&b": listening"[..]));
        assert_eq!(next_event(&mut pieces), None);
        pieces.extend_from_slice(b"ta: {\"lost\":3}\n\n\n");
        let event = next_event(&mut pieces).unwrap();
        assert_eq!(&event[..], b"event: lost\ndata: {\"lost\":3}");
        assert_eq!(&pieces[..], b"\n");
        let mut printer = StepPrinter { json: false, sample_told: None };
        assert!(matches!(printer.print(&event), Ok(0)) && matches!(printer.print(b": nothing"), Ok(0)));
        assert!(printer.print(b"event: step\ndata: {").is_err());
        let sampled = br#"event: sampled
data: {"seen":20000,"shown":50,"errors_seen":3,"errors_shown":3,"took_ms":1000}"#;
        assert!(matches!(printer.print(sampled), Ok(0)) && printer.sample_told.is_some());
    }
}
