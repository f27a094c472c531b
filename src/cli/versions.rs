//! `push`, `list`, `versions`, `live`, `rollback`, `logs` and the rest of functions and destinations, against a running server's
//! admin API.

mod failing;
mod list;
mod logs;
mod push;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_registry::PluginKind;

use super::{Done, Failure, runtime, style};
use push::{Upload, Wish};
use session::{ServerArgs, Session};

/// Versions of functions on a server.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Upload a component to a running server and make it live
    Push {
        #[command(flatten)]
        upload: Upload,
        /// Let it see the events of this source
        #[arg(long, value_name = "SOURCE")]
        to: Option<String>,
        /// Try it on this share of the batches beside the live version, e.g. 10%
        #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "shadow")]
        canary: Option<u8>,
        /// Run it beside the live version and compare, without using what it answers
        #[arg(long)]
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
pub(super) enum DestinationCommand {
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
    Logs(logs::Args),
}

fn share(text: &str) -> Result<u8, String> {
    let share = text.trim_end_matches('%').trim().parse().ok().filter(|share| (1..=99).contains(share));
    share.ok_or_else(|| "write a share from 1% to 99%".to_owned())
}

pub(super) fn run(command: &Command, json: bool) -> Done {
    let plugin_kind = PluginKind::Functions;
    let runtime = runtime()?;
    match command {
        Command::Push { upload, to, canary, shadow } => {
            let wish = match (canary, shadow) {
                (Some(share), _) => Wish::Share(*share),
                (None, true) => Wish::Shadow,
                (None, false) => Wish::Live,
            };
            runtime.block_on(push::push(upload, plugin_kind, wish, to.as_deref(), json))
        }
        Command::Both(command) => runtime.block_on(both(command, plugin_kind, json)),
        Command::Canary { name, off: _, server } => runtime.block_on(async {
            let answer = Session::new(server)?.post(&path(plugin_kind, name, "canary"), &json!({"off": true})).await?;
            say(&answer, json, || format!("{} what was tried beside the live version of {name}", style::good("ended")))
        }),
        Command::Attach { name, source, server } => runtime.block_on(async {
            let answer =
                Session::new(server)?.post(&path(plugin_kind, name, "attach"), &json!({"source": source})).await?;
            say(&answer, json, || match &answer["live"] {
                Value::Null => {
                    format!("{} {name} to source {source}; no version of it is live", style::good("attached"))
                }
                _ => format!("{} {name} to source {source}", style::good("attached")),
            })
        }),
        Command::Detach { name, source, server } => runtime.block_on(async {
            let answer =
                Session::new(server)?.post(&path(plugin_kind, name, "detach"), &json!({"source": source})).await?;
            say(&answer, json, || format!("{} {name} from source {source}", style::good("detached")))
        }),
    }
}

pub(super) fn run_destination(command: &DestinationCommand, json: bool) -> Done {
    let plugin_kind = PluginKind::Destinations;
    match command {
        DestinationCommand::Push { upload } => {
            runtime()?.block_on(push::push(upload, plugin_kind, Wish::Live, None, json))
        }
        DestinationCommand::Both(command) => runtime()?.block_on(both(command, plugin_kind, json)),
    }
}

async fn both(command: &Both, plugin_kind: PluginKind, json: bool) -> Done {
    match command {
        Both::Versions { name, server } => {
            let answer = Session::new(server)?.get(&format!("/admin/{}/{name}", plugin_kind.all())).await?;
            print_versions(&answer, plugin_kind.one(), json);
            Ok(ExitCode::SUCCESS)
        }
        Both::List { server } => list::run(server, plugin_kind, json).await,
        Both::Live { name, sha, settings, force, server } => {
            let mut session = Session::new(server)?;
            let there = session.get(&format!("/admin/{}/{name}", plugin_kind.all())).await?;
            let mut body = json!({"sha256": whole(&there, name, sha)?});
            if *force {
                body["force"] = true.into();
            }
            if let Some(settings) = settings.as_deref().map(read_json).transpose()? {
                body["settings"] = settings;
            }
            let answer = session.post(&path(plugin_kind, name, "live"), &body).await?;
            let live = short(&answer["live"]["sha256"]);
            say(&answer, json, || format!("{name} {live} {}", style::good("is live")))
        }
        Both::Rollback { name, server } => {
            let mut session = Session::new(server)?;
            let before = session.get(&format!("/admin/{}/{name}", plugin_kind.all())).await?;
            let answer = session.post(&path(plugin_kind, name, "rollback"), &json!({})).await?;
            let (left, live) = (short(&before["live"]["sha256"]), short(&answer["live"]["sha256"]));
            say(&answer, json, || {
                let done = style::good("rolled back");
                match (&before["canary"], &answer["previous"]) {
                    (Value::Null, Value::Null) => {
                        format!("{done} {name}: {live} is live again instead of {left}; there is no version before it")
                    }
                    (Value::Null, previous) => {
                        let previous = short(&previous["sha256"]);
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
fn whole(there: &Value, name: &str, sha: &str) -> Result<String, Failure> {
    let versions = there["versions"].as_array().into_iter().flatten();
    let begin = |version: &&str| !sha.is_empty() && version.starts_with(&sha.to_ascii_lowercase());
    let found: Vec<&str> = versions.filter_map(|version| version["sha256"].as_str()).filter(begin).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            let fix = format!("take one that `versions {name}` lists");
            Err(Failure::Failed(format!("{name} has no version {sha}\n  fix: {fix}")))
        }
        several => {
            let several: Vec<&str> = several.iter().map(|sha| sha.get(..16).unwrap_or(sha)).collect();
            Err(Failure::Failed(format!("several versions of {name} begin with {sha}: {}", several.join(", "))))
        }
    }
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

fn path(plugin_kind: PluginKind, name: &str, what: &str) -> String {
    format!("/admin/{}/{name}/{what}", plugin_kind.all())
}

fn say(answer: &Value, json: bool, text: impl FnOnce() -> String) -> Done {
    if json {
        println!("{answer}");
    } else {
        println!("{}", text());
    }
    Ok(ExitCode::SUCCESS)
}

fn short(sha256: &Value) -> String {
    sha256.as_str().unwrap_or("-").chars().take(12).collect()
}

fn print_versions(answer: &Value, one: &str, json: bool) {
    if json {
        println!("{answer}");
        return;
    }
    let mut table = style::table(&["version", "state", "uploaded", "KiB", "compiled in ms", "events", "errors"]);
    let (live, previous) = (&answer["live"]["sha256"], &answer["previous"]["sha256"]);
    let canary = &answer["canary"];
    for version in answer["versions"].as_array().into_iter().flatten() {
        let sha = &version["sha256"];
        let state = match () {
            () if sha == live => "live".to_owned(),
            () if *sha == canary["sha256"] && canary["shadow"] == true => "shadow".to_owned(),
            () if *sha == canary["sha256"] => format!("canary {}%", canary["share"]),
            () if sha == previous => "previous".to_owned(),
            () if version["smoke"]["failed"].is_string() => "fails its fixtures".to_owned(),
            () => String::new(),
        };
        let charges = answer["meters"]["charges"].as_array();
        let charge = charges.and_then(|charges| charges.iter().find(|charge| charge["version"] == *sha));
        let number = |name: &str| charge.map_or_else(|| "-".to_owned(), |charge| charge[name].to_string());
        table.add_row([
            short(sha),
            state,
            version["uploaded_at"].as_str().unwrap_or_default().to_owned(),
            (version["bytes"].as_u64().unwrap_or(0) / 1024).to_string(),
            version["compile_ms"].to_string(),
            number("events"),
            number("errors"),
        ]);
    }
    println!("{table}");
    failing::warn(answer, one);
    for comparison in answer["meters"]["comparisons"].as_array().into_iter().flatten() {
        let (same, different) =
            (comparison["same"].as_u64().unwrap_or(0), comparison["different"].as_u64().unwrap_or(0));
        println!(
            "shadow {} beside {}: {} events came out the same, {} differently{}",
            short(&comparison["canary"]),
            short(&comparison["live"]),
            style::count(same),
            style::count(different),
            if different > 0 { "; --json shows samples" } else { "" },
        );
    }
}
