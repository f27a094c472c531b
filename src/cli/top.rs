//! `tidegate top`: a running server at a glance, again and again.
//!
//! Nouns: a **look** (what a server says at a moment), **numbers** (of two looks: what there is, and what comes in a second), a **frame** (numbers as lines).
//!
//! On a terminal the frame is drawn in its place; elsewhere there is one, or numbers as lines of JSON.

mod frame;
mod look;
mod numbers;
mod samples;
mod screen;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tidegate_event::time;
use tidegate_process::clock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{CatalogClient, ClientError};
use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, on_signal, out, runtime};
use crate::api::WORKSPACE_DEFAULT;
use frame::TopRoom;
use look::TopLook;
use numbers::TopNumbers;
use screen::TopScreen;

/// A server that does not answer for so long is not reached.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// Rows of each table where there is no terminal.
const ROWS: usize = 20;
/// Columns where there is no terminal.
const COLUMNS: usize = 120;
/// Lines of a terminal that no row of a table is on: heads, titles, empty lines.
const OTHER_LINES: usize = 16;
const TABLES: usize = 5;

/// How a server is watched.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate top\n  tidegate top --server https://tide.example:8089 --workspace staging --interval 5\n  tidegate top --once | head -20\n  tidegate top --json | jq .in_a_second\n\n`q` or Ctrl-C ends it. In a pipe, and with --once, there is one frame of two looks, and with --json a line for each look.\n\nin, out: events accepted and delivered; waiting: events in the log that a sync has not had; behind: since when the oldest of them waits; fresh: from receipt to being durable, of 95 of 100 events; p50, p99: processor time of a function for a batch, of half of them and of 99 of 100; pending: events that wait for another try; quar, dup, drop, suppr: quarantined, duplicate, dropped, suppressed."
)]
pub(super) struct TopArgs {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// Show one frame and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: &TopArgs, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let stop = on_signal()?;
        let mut watched = WatchedServer {
            client: args.catalog.client()?,
            environment: args.catalog.workspace().unwrap_or(WORKSPACE_DEFAULT).to_owned(),
            before: None,
            last: None,
            outage: None,
        };
        let interval = Duration::from_secs(args.interval);
        if json && !args.once {
            return watched.print_all(interval, stop).await;
        }
        if json || args.once || !std::io::stdout().is_terminal() || out::is_dumb() {
            return watched.print_once(interval, json, stop).await;
        }
        watched.draw_all(interval, stop).await
    })
}

/// A server that is looked at again and again.
struct WatchedServer {
    client: CatalogClient,
    environment: String,
    /// The last look, and the one before that the server answered at another time.
    before: Option<TopLook>,
    last: Option<TopLook>,
    outage: Option<ServerOutage>,
}

/// The server is not reached.
struct ServerOutage {
    /// Microseconds since the epoch.
    since_us: i64,
    why: String,
}

impl ServerOutage {
    fn sentence(&self) -> String {
        let seconds = clock::now_us().saturating_sub(self.since_us).max(0) / 1_000_000;
        let since = time::format(self.since_us);
        let since = since.get(11..19).unwrap_or(&since).to_owned();
        format!("no answer since {since} UTC ({seconds} s), trying again: {}", self.why)
    }
}

impl WatchedServer {
    /// Looks once more.
    ///
    /// # Errors
    /// The server says no, and would say so again.
    async fn look(&mut self) -> Result<(), CommandFailure> {
        let taken = timeout(LOOK_TIME_MAX, TopLook::take(&self.client, &self.environment)).await;
        let why = match taken {
            Ok(Ok(look)) => {
                self.outage = None;
                self.keep(look);
                return Ok(());
            }
            Ok(Err(error)) if error.may_pass() => first_line(&error),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => format!("no answer from {} within {} seconds", self.client.origin(), LOOK_TIME_MAX.as_secs()),
        };
        let since_us = self.outage.as_ref().map_or_else(clock::now_us, |outage| outage.since_us);
        self.outage = Some(ServerOutage { since_us, why });
        Ok(())
    }

    /// An answer that was given before is no other look.
    fn keep(&mut self, look: TopLook) {
        let is_other = self.last.as_ref().is_some_and(|last| last.activity.at != look.activity.at);
        let last = self.last.replace(look);
        if is_other {
            self.before = last;
        }
    }

    /// What is known; nothing before the server was reached.
    fn numbers(&self) -> Option<TopNumbers> {
        let server = self.client.origin();
        let last = self.last.as_ref()?;
        Some(TopNumbers::of((server.as_str(), self.environment.as_str()), last, self.before.as_ref()))
    }

    /// Prints one frame, or one line of JSON.
    async fn print_once(&mut self, interval: Duration, json: bool, mut stop: watch::Receiver<bool>) -> CommandDone {
        loop {
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
                looked = self.look() => looked,
            };
            looked?;
            if let Some(outage) = &self.outage {
                return Err(CommandFailure::Failed(outage.why.clone()));
            }
            if let Some(numbers) = self.numbers().filter(|numbers| numbers.seconds.is_some()) {
                if json {
                    print_json(&numbers);
                } else {
                    let columns = out::columns().map_or(COLUMNS, usize::from).max(frame::COLUMNS_MIN);
                    for line in frame::lines(&numbers, None, TopRoom { columns, rows: ROWS }) {
                        println!("{}", line.trim_end());
                    }
                }
                return Ok(ExitCode::SUCCESS);
            }
            if is_over(interval, &mut stop).await {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Prints a line of JSON for each look, until it is over.
    async fn print_all(&mut self, interval: Duration, mut stop: watch::Receiver<bool>) -> CommandDone {
        loop {
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
                looked = self.look() => looked,
            };
            looked?;
            if let Some(ServerOutage { since_us, why }) = &self.outage {
                let at = time::format(clock::now_us());
                print_json(&json!({ "at": at, "error": why, "no_answer_since": time::format(*since_us) }));
            } else if let Some(numbers) = self.numbers() {
                print_json(&numbers);
            }
            if is_over(interval, &mut stop).await {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Draws frames on the terminal, until it is over.
    async fn draw_all(&mut self, interval: Duration, mut stop: watch::Receiver<bool>) -> CommandDone {
        // Somebody who may not look is told so on the screen that stays.
        self.look().await?;
        let mut resized = signal(SignalKind::window_change())?;
        let mut keys = screen::pressed();
        let mut screen = TopScreen::enter()?;
        loop {
            screen.draw(&self.frame())?;
            let next = sleep(interval);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
                    Some(key) = keys.recv() => {
                        if matches!(key, b'q' | b'Q') {
                            return Ok(ExitCode::SUCCESS);
                        }
                    }
                    Some(()) = resized.recv() => screen.draw(&self.frame())?,
                    () = &mut next => break,
                }
            }
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
                Some(b'q' | b'Q') = keys.recv() => return Ok(ExitCode::SUCCESS),
                looked = self.look() => looked,
            };
            looked?;
        }
    }

    /// The lines that fit the terminal as it is now.
    fn frame(&self) -> Vec<String> {
        let height = out::rows().map_or(24, usize::from).max(2);
        let columns = out::columns().map_or(COLUMNS, usize::from).max(frame::COLUMNS_MIN);
        let rows = (height.saturating_sub(OTHER_LINES) / TABLES).clamp(2, ROWS);
        let outage = self.outage.as_ref().map(ServerOutage::sentence);
        let mut lines = match self.numbers() {
            Some(numbers) => frame::lines(&numbers, outage.as_deref(), TopRoom { columns, rows }),
            None => {
                let server = self.client.origin();
                let numbers = TopNumbers { server, environment: self.environment.clone(), ..TopNumbers::default() };
                frame::lines(&numbers, outage.as_deref(), TopRoom { columns, rows })
            }
        };
        lines.truncate(height);
        lines
    }
}

/// Waits for the next look; whether there is none because it is over.
async fn is_over(interval: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => true,
        () = sleep(interval) => false,
    }
}

fn first_line(error: &ClientError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
