//! `tidegate send`.

mod duplicates;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_document::file;
use tidegate_event::decode::DEPTH_MAX;
use tidegate_event::json;
use tidegate_event::value::Value;
use tidegate_process::clock;
use tokio::sync::mpsc;

use super::client::{ConnectArgs, IngestClient, ServerAnswer};
use super::{CommandDone, CommandFailure, out, runtime, style, traffic};
use crate::config::{LISTEN_DEFAULT, Outline};
use duplicates::{DuplicateCount, Duplicates};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate send events.ndjson --workspace shop\n  tidegate send --generate 100000 --rate 5000 --to http://127.0.0.1:8080 --write-key KEY"
)]
pub(super) struct SendArgs {
    /// Events to send: JSON lines, or one JSON array; - reads standard input
    #[arg(value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make up this many events of a small shop instead
    #[arg(long, value_name = "N")]
    generate: Option<u64>,
    /// Events a second; as fast as it goes when left out
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// Events in one request
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    batch: u64,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    connections: u64,
    /// Where to: the server's address [default: that of --workspace, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The source's write key [default: the first one of the first source of --workspace]
    #[arg(long, value_name = "KEY")]
    write_key: Option<String>,
    /// Take the address and the write key from this workspace
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// An environment of --workspace: its sources, with their write keys [default: that of the folder itself]
    #[arg(long, value_name = "NAME", requires = "workspace")]
    environment: Option<String>,
    /// The source of --workspace whose write key is used [default: the first]
    #[arg(long, value_name = "NAME", requires = "workspace", conflicts_with = "write_key")]
    source: Option<String>,
    /// A name for this run, part of every made-up messageId [default: random]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What became of the events.
#[derive(Debug, Default)]
struct SendTally {
    accepted: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
    first_refusal: std::sync::Mutex<Option<String>>,
    /// The write key opens nothing, so nothing further is sent.
    is_over: AtomicBool,
}

struct OutgoingBatch {
    body: Bytes,
    events: u64,
}

pub(super) fn run(args: &SendArgs, json: bool) -> CommandDone {
    let outline_of = |dir: &PathBuf| {
        let outline = Outline::read(dir, None)?;
        args.environment.as_ref().map_or(Ok(outline.clone()), |name| outline.of_environment(name))
    };
    let outline = args.workspace.as_ref().map(outline_of).transpose().map_err(CommandFailure::Problems)?;
    let client = client(args, outline.as_ref())?;
    let runtime = runtime()?;
    // A key by itself names no source.
    let here = outline.as_ref().filter(|_| args.write_key.is_none());
    let duplicates = match here {
        Some(outline) => runtime.block_on(Duplicates::count_from_here(outline, args.source.as_deref())),
        None => None,
    };
    let total = args.generate;
    let started = Instant::now();
    let tally = Arc::new(SendTally::default());
    let bar = bar(total, json);
    let sending = async {
        let (queued, queue) = mpsc::channel::<OutgoingBatch>(64);
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        let mut senders = Vec::new();
        for _ in 0..args.connections {
            let (queue, tally, bar, client) = (Arc::clone(&queue), Arc::clone(&tally), bar.clone(), client.clone());
            senders.push(tokio::spawn(deliver(client, queue, tally, bar)));
        }
        // Whoever fills it hears when the last sender has ended.
        drop(queue);
        match (args.generate, args.file.clone()) {
            (Some(total), _) => generate(args, total, queued).await,
            (None, Some(path)) => {
                let batch = usize::try_from(args.batch).unwrap_or(100);
                // On a thread of its own: nobody can interrupt a read of standard input.
                let reading = tokio::task::spawn_blocking(move || read(&path, batch, &queued));
                reading.await.map_err(|error| CommandFailure::Failed(error.to_string()))??;
            }
            (None, None) => {}
        }
        for sender in senders {
            match sender.await {
                Ok(outcome) => outcome?,
                Err(error) => return Err(CommandFailure::Failed(error.to_string())),
            }
        }
        Ok::<(), CommandFailure>(())
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            sent = sending => sent.map(|()| false),
            _ = tokio::signal::ctrl_c() => Ok(true),
        }
    });
    bar.finish_and_clear();
    let took = started.elapsed();
    let is_interrupted = match outcome {
        Ok(is_interrupted) => is_interrupted,
        Err(error) => {
            // What was accepted before is there all the same.
            if tally.accepted.load(Ordering::Relaxed) > 0 {
                report(&tally, took, None, json);
            }
            return Err(error);
        }
    };
    let known = match duplicates.filter(|_| !is_interrupted) {
        Some(duplicates) => runtime.block_on(duplicates.since()),
        None => None,
    };
    runtime.shutdown_background();
    let code = report(&tally, took, known, json);
    if is_interrupted {
        eprintln!("interrupted: the rest was not sent, or its answer was not waited for");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(code)
}

/// How long a server that has accepted something may be away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// The exit code, as shells report the signal.
const INTERRUPTED: u8 = 130;

fn report(tally: &SendTally, took: Duration, duplicates: Option<DuplicateCount>, json: bool) -> ExitCode {
    let (accepted, refused) = (tally.accepted.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    let retries = tally.retries.load(Ordering::Relaxed);
    let rate = accepted as f64 / took.as_secs_f64().max(1e-9);
    let refusal = tally.first_refusal.lock().ok().and_then(|refusal| refusal.clone());
    if json {
        let line = serde_json::json!({
            "accepted": accepted, "refused": refused, "retries": retries, "seconds": took.as_secs_f64(),
            "events_per_second": rate, "first_refusal": refusal, "duplicates": duplicates.map(|count| count.all),
            "duplicates_of_quarantined": duplicates.map(|count| count.quarantined),
        });
        println!("{line}");
    } else {
        println!(
            "{} {} events accepted in {:.1} s ({:.0} a second), {} retries",
            style::good("sent"),
            style::count(accepted),
            took.as_secs_f64(),
            rate,
            retries
        );
        if let Some(count) = duplicates.filter(|count| count.all > 0) {
            println!(
                "{} of the source's events since were duplicates: their messageId was known, and each is kept once",
                style::count(count.all)
            );
        }
        if let Some(count) = duplicates.filter(|count| count.quarantined > 0) {
            println!(
                "{} of them are in quarantine and stay there: mend what stopped them, then `tidegate quarantine retry` sends them on",
                style::count(count.quarantined)
            );
        }
        if refused > 0 {
            let why = style::plain(refusal.as_deref().unwrap_or_default(), 300);
            eprintln!("{} {} events were refused: {why}", style::error("error:"), style::count(refused));
            if tally.is_over.load(Ordering::Relaxed) {
                eprintln!("the rest was not sent");
            }
        }
    }
    if refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn client(args: &SendArgs, outline: Option<&Outline>) -> Result<IngestClient, CommandFailure> {
    let url = match (&args.to, outline) {
        (Some(url), _) => url.clone(),
        (None, Some(outline)) => outline.url().map_err(CommandFailure::Problems)?,
        (None, None) => format!("http://{LISTEN_DEFAULT}"),
    };
    let key = match (&args.write_key, outline) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(outline)) => {
            let source = args.source.as_deref();
            let key = outline.write_key(source).map_err(CommandFailure::Problems)?;
            if let (None, Some(source)) = (&key, source) {
                let names: Vec<&str> = outline.sources.keys().map(String::as_str).collect();
                let message = format!("there is no source {source:?}; the workspace has {}", names.join(", "));
                return Err(CommandFailure::Failed(message));
            }
            key
        }
        (None, None) => None,
    };
    let Some(key) = key else {
        return Err(CommandFailure::Failed(
            "no write key; give --write-key KEY, or --workspace DIR to take it from there".into(),
        ));
    };
    Ok(IngestClient::new(&url, &key, &args.connect)?)
}

fn bar(total: Option<u64>, json: bool) -> ProgressBar {
    // On a terminal that moves no cursor each step would be a line of its own.
    if json || !std::io::stderr().is_terminal() || out::is_dumb() {
        return ProgressBar::hidden();
    }
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if total.is_some() {
        "{bar:40} {human_pos}/{human_len} events · {per_sec} · {eta} left"
    } else {
        "{spinner} {human_pos} events · {per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Makes events up, open loop: when a rate is given, each request has its time, whatever became of those before.
async fn generate(args: &SendArgs, total: u64, queued: mpsc::Sender<OutgoingBatch>) {
    let run = args.run.clone().unwrap_or_else(clock::uuid);
    let started = tokio::time::Instant::now();
    let mut n = 0;
    while n < total {
        let end = total.min(n + args.batch);
        if let Some(rate) = args.rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(n as f64 / rate as f64)).await;
        }
        let now_us = clock::now_us();
        let events: Vec<_> = (n..end).map(|n| traffic::event(n, &run, now_us)).collect();
        if queued.send(outgoing(&events, now_us)).await.is_err() {
            return;
        }
        n = end;
    }
}

fn outgoing(events: &[serde_json::Value], now_us: i64) -> OutgoingBatch {
    let sent_at = tidegate_event::time::format_millis(now_us);
    let body = serde_json::json!({"batch": events, "sentAt": sent_at});
    OutgoingBatch { body: body.to_string().into(), events: events.len() as u64 }
}

/// Reads events from a file and sends their text as it stands, with a `messageId` where there is none: without one, what is sent again
/// after an answer was lost would be another event.
fn read(path: &Path, batch: usize, queued: &mpsc::Sender<OutgoingBatch>) -> Result<(), CommandFailure> {
    let input: Box<dyn std::io::BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))?;
        Box::new(std::io::BufReader::new(file))
    };
    let mut lines: Vec<String> = Vec::new();
    let mut whole = String::new();
    let mut is_first = true;
    for (at, line) in input.lines().enumerate() {
        let mut line = line?;
        if at == 0 {
            line = file::without_mark(&line).to_owned();
        }
        if !whole.is_empty() {
            whole.push_str(&line);
            whole.push('\n');
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        if std::mem::take(&mut is_first) && line.trim_start().starts_with('[') {
            whole = line + "\n";
            continue;
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&line) {
            return Err(CommandFailure::Failed(format!(
                "{}:{}: this line is no JSON: {error}",
                path.display(),
                at + 1
            )));
        }
        lines.push(identified(line));
        if lines.len() == batch && !send_lines(queued, &mut lines) {
            return Ok(());
        }
    }
    if !whole.is_empty() {
        let events: Vec<serde_json::Value> = serde_json::from_str(&whole)
            .map_err(|error| CommandFailure::Failed(format!("{}: this is no JSON array: {error}", path.display())))?;
        for events in events.chunks(batch) {
            lines.extend(events.iter().map(|event| identified(event.to_string())));
            if !send_lines(queued, &mut lines) {
                return Ok(());
            }
        }
    }
    send_lines(queued, &mut lines);
    Ok(())
}

/// The text of an event that has a `messageId`. What the server will refuse stays as it is.
fn identified(line: String) -> String {
    let Ok(Value::Object(mut event)) = json::parse(line.as_bytes(), DEPTH_MAX) else { return line };
    match event.get("messageId") {
        None => {
            let Some(rest) = line.trim_start().strip_prefix('{') else { return line };
            let comma = if event.is_empty() { "" } else { "," };
            format!(r#"{{"messageId":"{}"{comma}{rest}"#, clock::uuid())
        }
        Some(Value::Null) => {
            event.insert("messageId", clock::uuid().into());
            Value::Object(event).to_string()
        }
        Some(Value::String(id)) if id.is_empty() => {
            event.insert("messageId", clock::uuid().into());
            Value::Object(event).to_string()
        }
        Some(_) => line,
    }
}

/// Whether there is still somebody who sends.
fn send_lines(queued: &mpsc::Sender<OutgoingBatch>, lines: &mut Vec<String>) -> bool {
    if lines.is_empty() {
        return true;
    }
    let sent_at = tidegate_event::time::format_millis(clock::now_us());
    let body = format!(r#"{{"batch":[{}],"sentAt":"{sent_at}"}}"#, lines.join(","));
    let events = lines.len() as u64;
    lines.clear();
    queued.blocking_send(OutgoingBatch { body: body.into(), events }).is_ok()
}

/// Posts batches until there are no more. What is worth retrying is sent again with the same bytes, which the
/// server recognises.
async fn deliver(
    client: IngestClient,
    queue: Arc<tokio::sync::Mutex<mpsc::Receiver<OutgoingBatch>>>,
    tally: Arc<SendTally>,
    bar: ProgressBar,
) -> Result<(), CommandFailure> {
    const ATTEMPTS_MAX: u32 = 10;
    loop {
        let Some(outgoing) = queue.lock().await.recv().await else { return Ok(()) };
        let (mut attempt, mut away_since) = (0, None);
        loop {
            if tally.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            attempt += 1;
            let pause = match client.batch(outgoing.body.clone()).await {
                Ok(ServerAnswer { status: 200, .. }) => {
                    tally.accepted.fetch_add(outgoing.events, Ordering::Relaxed);
                    bar.inc(outgoing.events);
                    break;
                }
                Ok(answer) if matches!(answer.status, 429 | 500..=599) && attempt < ATTEMPTS_MAX => {
                    answer.retry_after.unwrap_or(Duration::from_millis(200))
                }
                Ok(answer) => {
                    tally.refused.fetch_add(outgoing.events, Ordering::Relaxed);
                    if let Ok(mut first) = tally.first_refusal.lock() {
                        let text = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                        first.get_or_insert(text);
                    }
                    if answer.status == 401 {
                        tally.is_over.store(true, Ordering::Relaxed);
                    }
                    break;
                }
                Err(_) if attempt < 3 => Duration::from_millis(100),
                // A server that has answered before may be on its way back.
                Err(error) => {
                    let has_answered = tally.accepted.load(Ordering::Relaxed) > 0;
                    if !has_answered || away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        return Err(error.into());
                    }
                    Duration::from_secs(1)
                }
            };
            tally.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_an_id_gets_one_and_all_else_stays_as_it_is() {
        for line in [r#"{"type":"page","messageId":"m"}"#, r#"{"messageId":5}"#, r#"{"messageId":{}}"#, "[1]", "{", "5"]
        {
            assert_eq!(identified(line.to_owned()), line);
        }
        let rest = r#""type":"page","n":1.10}"#;
        let text = identified(format!(" {{{rest}"));
        let id = text.strip_prefix(r#"{"messageId":""#).and_then(|text| text.strip_suffix(&format!(r#"",{rest}"#)));
        assert_eq!(id.map(str::len), Some(36), "{text}");
        for line in ["{}", r#"{"messageId":null,"n":1.10}"#, r#"{"messageId":"","n":1.10}"#] {
            let text = identified(line.to_owned());
            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(event["messageId"].as_str().map(str::len), Some(36), "{text}");
            assert_eq!(text.contains("1.10"), line.contains("1.10"), "{text}");
        }
    }
}
