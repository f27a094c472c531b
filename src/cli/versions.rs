//! `push`, `list`, `versions`, `live`, `rollback`, `logs` and the rest of functions and destinations, against a running server's
//! admin API.

mod failing;
mod list;
mod logs;
mod push;
mod session;
mod shown;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use tidegate_api_types::function::{ChangeCanary, OfSource};
use tidegate_api_types::version::{MakeLive, Version};
use tidegate_registry::PluginKind;

use super::{CommandDone, CommandFailure, runtime, style};
use push::{PushWish, Upload};
use session::{AdminSession, ServerArgs};
use shown::{Charged, Shown};

/// Versions of functions on a server.
#[derive(Debug, clap::Subcommand)]
pub(super) enum VersionsCommand {
    /// Upload a component to a running server and make it live
    Push {
        #[command(flatten)]
        upload: Upload,
        /// Let it see the events of this source
        #[arg(long, value_name = "SOURCE")]
        to: Option<String>,
        /// Try it on this share of the batches beside the live version, e.g. 10%
        #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with_all = ["shadow", "no_live"])]
        canary: Option<u8>,
        /// Run it beside the live version and compare, without using what it answers
        #[arg(long, conflicts_with = "no_live")]
        shadow: bool,
    },
    #[command(flatten)]
    Both(Both),
    /// End what is tried beside the live version
    Canary {
        #[arg(value_name = "NAME")]
        name: String,
        /// Yes, end it; `push --canary` and `push --shadow` begin one
        #[arg(long, required = true)]
        off: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let it see the events of a source
    Attach {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let it see the events of a source no more
    Detach {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Versions of destination plugins on a server.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DestinationVersionsCommand {
    /// Upload a component to a running server and make it live: the syncs that name the destination take it at once
    #[command(
        after_help = "A sync uses what is pushed when destinations/<name>.yaml is there with `kind: plugin`: it says \
        what any version may reach. The plugin's name is that of the file."
    )]
    Push {
        #[command(flatten)]
        upload: Upload,
    },
    #[command(flatten)]
    Both(Both),
}

/// What is the same for both.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Both {
    /// List the versions on the server
    Versions {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List what is on the server: what is live, what sees it
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a version live that is on the server; the answer comes when the next event goes through it
    Live {
        #[arg(value_name = "NAME")]
        name: String,
        /// The version, as `versions` shows it: the whole sha-256, or how it begins
        #[arg(value_name = "SHA")]
        sha: String,
        /// Settings, a JSON file [default: those that are live]
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// Also when it looks up a table that nobody grants it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End what is tried beside the live version; where nothing is, go back to the version before
    #[command(
        after_help = "Each rollback goes one version further back, and never to one that was rolled back. `live NAME SHA` \
        makes any version live."
    )]
    Rollback {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what it logged
    Logs(logs::LogsArgs),
}

fn share(text: &str) -> Result<u8, String> {
    let share = text.trim_end_matches('%').trim().parse().ok().filter(|share| (1..=99).contains(share));
    share.ok_or_else(|| "write a share from 1% to 99%".to_owned())
}

pub(super) fn run(command: &VersionsCommand, json: bool) -> CommandDone {
    let plugin_kind = PluginKind::Functions;
    let runtime = runtime()?;
    match command {
        VersionsCommand::Push { upload, to, canary, shadow } => {
            let wish = match (canary, shadow) {
                (Some(share), _) => PushWish::Share(*share),
                (None, true) => PushWish::Shadow,
                (None, false) => PushWish::Live,
            };
            runtime.block_on(push::push(upload, plugin_kind, wish, to.as_deref(), json))
        }
        VersionsCommand::Both(command) => runtime.block_on(both(command, plugin_kind, json)),
        VersionsCommand::Canary { name, off: _, server } => runtime.block_on(async {
            let asked = ChangeCanary { off: Some(true), ..ChangeCanary::default() };
            let answer = server.client()?.change_canary(name, &asked).await?;
            say(&answer, json, || format!("{} what was tried beside the live version of {name}", style::good("ended")))
        }),
        VersionsCommand::Attach { name, source, server } => runtime.block_on(async {
            let answer = server.client()?.attach_function(name, &OfSource { source: source.clone() }).await?;
            say(&answer, json, || match &answer.live {
                None => format!("{} {name} to source {source}; no version of it is live", style::good("attached")),
                Some(_) => format!("{} {name} to source {source}", style::good("attached")),
            })
        }),
        VersionsCommand::Detach { name, source, server } => runtime.block_on(async {
            let answer = server.client()?.detach_function(name, &OfSource { source: source.clone() }).await?;
            say(&answer, json, || format!("{} {name} from source {source}", style::good("detached")))
        }),
    }
}

pub(super) fn run_destination(command: &DestinationVersionsCommand, json: bool) -> CommandDone {
    let plugin_kind = PluginKind::Destinations;
    match command {
        DestinationVersionsCommand::Push { upload } => {
            runtime()?.block_on(push::push(upload, plugin_kind, PushWish::Live, None, json))
        }
        DestinationVersionsCommand::Both(command) => runtime()?.block_on(both(command, plugin_kind, json)),
    }
}

async fn both(command: &Both, plugin_kind: PluginKind, json: bool) -> CommandDone {
    match command {
        Both::Versions { name, server } => {
            print_versions(&AdminSession::new(server, plugin_kind)?.show(name).await?, plugin_kind.one(), json);
            Ok(ExitCode::SUCCESS)
        }
        Both::List { server } => list::run(server, plugin_kind, json).await,
        Both::Live { name, sha, settings, force, server } => {
            let session = AdminSession::new(server, plugin_kind)?;
            let sha256 = whole(&session.show(name).await?, name, sha)?;
            let settings = settings.as_deref().map(read_json).transpose()?;
            let answer = session.make_live(name, &MakeLive { sha256, settings, force: *force }).await?;
            say(&answer, json, || format!("{name} {} {}", short(answer.live_sha()), style::good("is live")))
        }
        Both::Rollback { name, server } => {
            let session = AdminSession::new(server, plugin_kind)?;
            let before = session.show(name).await?;
            let answer = session.roll_back(name).await?;
            let (left, live) = (short(before.live_sha()), short(answer.live_sha()));
            say(&answer, json, || {
                let done = style::good("rolled back");
                match (before.canary(), answer.previous_sha()) {
                    (None, None) => {
                        format!("{done} {name}: {live} is live again instead of {left}; there is no version before it")
                    }
                    (None, previous) => {
                        let previous = short(previous);
                        format!(
                            "{done} {name}: {live} is live again instead of {left}; the one before it is {previous}"
                        )
                    }
                    _ => format!("{done} {name}: what was tried beside {live} has ended, and {live} stays live"),
                }
            })
        }
        Both::Logs(args) => logs::run(args, plugin_kind, json).await,
    }
}

/// The version of `name` that begins with `sha`.
fn whole(there: &Shown, name: &str, sha: &str) -> Result<String, CommandFailure> {
    let begins = |version: &&Version| !sha.is_empty() && version.sha256.starts_with(&sha.to_ascii_lowercase());
    let found: Vec<&Version> = there.versions().iter().filter(begins).collect();
    match found.as_slice() {
        [one] => Ok(one.sha256.clone()),
        [] => {
            let fix = format!("take one that `versions {name}` lists");
            Err(CommandFailure::Failed(format!("{name} has no version {sha}\n  fix: {fix}")))
        }
        several => {
            let several: Vec<String> = several.iter().map(|one| one.sha256.chars().take(16).collect()).collect();
            Err(CommandFailure::Failed(format!("several versions of {name} begin with {sha}: {}", several.join(", "))))
        }
    }
}

fn read_json(path: &Path) -> Result<Value, CommandFailure> {
    let failed = |error: &dyn std::fmt::Display| CommandFailure::Failed(format!("{}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

fn say(answer: &impl Serialize, json: bool, text: impl FnOnce() -> String) -> CommandDone {
    if json {
        println!("{}", shown::json(answer));
    } else {
        println!("{}", text());
    }
    Ok(ExitCode::SUCCESS)
}

/// How a version is named to people.
fn short(sha256: Option<&str>) -> String {
    sha256.unwrap_or("-").chars().take(12).collect()
}

fn print_versions(shown: &Shown, one: &str, json: bool) {
    if json {
        println!("{}", shown::json(shown));
        return;
    }
    let mut table = style::table(&["version", "state", "uploaded", "KiB", "compiled in ms", "events", "errors"]);
    let charges = shown.charges();
    for version in shown.versions() {
        let charge = charges.iter().find(|charge| charge.version == version.sha256);
        let number =
            |of: fn(&Charged<'_>) -> u64| charge.map_or_else(|| "-".to_owned(), |charge| of(charge).to_string());
        table.add_row([
            short(Some(&version.sha256)),
            state(shown, version),
            version.uploaded_at.clone(),
            (version.bytes / 1024).to_string(),
            version.compile_ms.to_string(),
            number(|charge| charge.events),
            number(|charge| charge.errors),
        ]);
    }
    println!("{table}");
    failing::warn(shown, one);
    for comparison in shown.comparisons() {
        println!(
            "shadow {} beside {}: {} events came out the same, {} differently{}",
            short(Some(&comparison.canary)),
            short(Some(&comparison.live)),
            style::count(comparison.same),
            style::count(comparison.different),
            if comparison.different > 0 { "; --json shows samples" } else { "" },
        );
    }
}

/// How a version is in use.
fn state(shown: &Shown, version: &Version) -> String {
    let sha256 = Some(version.sha256.as_str());
    let canary = shown.canary().filter(|canary| canary.sha256 == version.sha256);
    match canary {
        _ if sha256 == shown.live_sha() => "live".to_owned(),
        Some(canary) if canary.shadow == Some(true) => "shadow".to_owned(),
        Some(canary) => format!("canary {}%", canary.share.unwrap_or(0)),
        None if sha256 == shown.previous_sha() => "previous".to_owned(),
        None if version.smoke.failed.is_some() => "fails its fixtures".to_owned(),
        None => String::new(),
    }
}
