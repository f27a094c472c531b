//! `push`, `versions`, `rollback` and `logs` of functions and destinations, against a running server's admin API.

mod push;
mod session;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Done, paint, runtime};
use crate::store::Shelf;
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
    /// Let it see the events of a source no more
    Detach {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what it logged
    Logs {
        #[arg(value_name = "NAME")]
        name: String,
        /// Only batches that the event with this messageId was in
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
    /// Make the previous version live again; what is tried beside it ends
    Rollback {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

fn share(text: &str) -> Result<u8, String> {
    let share = text.trim_end_matches('%').trim().parse().ok().filter(|share| (1..=99).contains(share));
    share.ok_or_else(|| "write a share from 1% to 99%".to_owned())
}

pub(super) fn run(command: &Command, json: bool) -> Done {
    let shelf = Shelf::Functions;
    let runtime = runtime()?;
    match command {
        Command::Push { upload, to, canary, shadow } => {
            let wish = match (canary, shadow) {
                (Some(share), _) => Wish::Share(*share),
                (None, true) => Wish::Shadow,
                (None, false) => Wish::Live,
            };
            runtime.block_on(push::push(upload, shelf, wish, to.as_deref(), json))
        }
        Command::Both(command) => runtime.block_on(both(command, shelf, json)),
        Command::Canary { name, off: _, server } => runtime.block_on(async {
            let answer = Session::new(server)?.post(&path(shelf, name, "canary"), &json!({"off": true})).await?;
            say(&answer, json, || format!("{} what was tried beside the live version of {name}", paint::good("ended")))
        }),
        Command::Detach { name, source, server } => runtime.block_on(async {
            let answer = Session::new(server)?.post(&path(shelf, name, "detach"), &json!({"source": source})).await?;
            say(&answer, json, || format!("{} {name} from source {source}", paint::good("detached")))
        }),
        Command::Logs { name, event, text, level, limit, follow, server } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            for (key, value) in [("event", event), ("text", text), ("level", level)] {
                if let Some(value) = value {
                    query.append_pair(key, value);
                }
            }
            let path = format!("{}?{}", path(shelf, name, "logs"), query.finish());
            runtime.block_on(logs(server, name, &path, *follow, json))
        }
    }
}

pub(super) fn run_destination(command: &DestinationCommand, json: bool) -> Done {
    let shelf = Shelf::Destinations;
    match command {
        DestinationCommand::Push { upload } => runtime()?.block_on(push::push(upload, shelf, Wish::Live, None, json)),
        DestinationCommand::Both(command) => runtime()?.block_on(both(command, shelf, json)),
    }
}

async fn both(command: &Both, shelf: Shelf, json: bool) -> Done {
    match command {
        Both::Versions { name, server } => {
            let answer = Session::new(server)?.get(&format!("/admin/{}/{name}", shelf.all())).await?;
            print_versions(&answer, json);
            Ok(ExitCode::SUCCESS)
        }
        Both::Rollback { name, server } => {
            let mut session = Session::new(server)?;
            let before = session.get(&format!("/admin/{}/{name}", shelf.all())).await?;
            let answer = session.post(&path(shelf, name, "rollback"), &json!({})).await?;
            let live = short(&answer["live"]["sha256"]);
            say(&answer, json, || {
                let done = paint::good("rolled back");
                if before["live"] == answer["live"] {
                    format!("{done} {name}: what was tried beside {live} has ended; there is no version before it")
                } else {
                    format!("{done} {name} {live} is live again")
                }
            })
        }
    }
}

fn path(shelf: Shelf, name: &str, what: &str) -> String {
    format!("/admin/{}/{name}/{what}", shelf.all())
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

fn print_versions(answer: &Value, json: bool) {
    if json {
        println!("{answer}");
        return;
    }
    let mut table = paint::table(&["version", "state", "uploaded", "KiB", "compiled in ms", "events", "faults"]);
    let (live, previous) = (&answer["live"]["sha256"], &answer["previous"]["sha256"]);
    let canary = &answer["canary"];
    for version in answer["versions"].as_array().into_iter().flatten() {
        let sha = &version["sha256"];
        let state = match () {
            () if sha == live => "live".to_owned(),
            () if *sha == canary["sha256"] && canary["shadow"] == true => "shadow".to_owned(),
            () if *sha == canary["sha256"] => format!("canary {}%", canary["share"]),
            () if sha == previous => "previous".to_owned(),
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
            number("faults"),
        ]);
    }
    println!("{table}");
    for trial in answer["meters"]["trials"].as_array().into_iter().flatten() {
        let (same, different) = (trial["same"].as_u64().unwrap_or(0), trial["different"].as_u64().unwrap_or(0));
        println!(
            "shadow {} beside {}: {} events came out the same, {} differently{}",
            short(&trial["canary"]),
            short(&trial["live"]),
            paint::count(same),
            paint::count(different),
            if different > 0 { "; --json shows samples" } else { "" },
        );
    }
}

async fn logs(server: &ServerArgs, name: &str, path: &str, follow: bool, json: bool) -> Done {
    let mut session = Session::new(server)?;
    let mut shown: Vec<Value> = Vec::new();
    loop {
        let answer = session.get(path).await?;
        let lines: Vec<Value> = answer["lines"].as_array().cloned().unwrap_or_default();
        for line in lines.iter().filter(|line| !shown.contains(line)) {
            if json {
                println!("{line}");
            } else {
                let text = |name: &str| paint::plain(line[name].as_str().unwrap_or_default(), 2_000);
                println!("{} {} {} {}", text("at"), short(&line["version"]), text("level"), text("text"));
            }
        }
        shown = lines;
        if !follow {
            if shown.is_empty() && !json {
                eprintln!("no lines of function {name}; what broke is in `tidegate quarantine`");
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
