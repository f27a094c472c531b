//! `push`, `versions`, `rollback` and `logs` of functions and destinations, against a running server's admin API.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::client::{Client, Target};
use super::{Done, Failure, function, paint, runtime};
use crate::plugin::{Kind, Package};
use crate::store::Shelf;

/// Where the server is and how it is asked.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// The server's admin API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8089")]
    server: String,
    /// The admin token, which the server showed at its first start
    #[arg(long, env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Upload a component to a running server and make it live
    Push {
        /// The component, or the folder of a project to build
        #[arg(value_name = "DIR|FILE")]
        from: PathBuf,
        /// Let it see the events of this source (functions only)
        #[arg(long, value_name = "SOURCE")]
        to: Option<String>,
        /// Settings, a JSON file [default: those that are live]
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// Try it on this share of the batches beside the live version, e.g. 10%
        #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "shadow")]
        canary: Option<u8>,
        /// Run it beside the live version and compare, without using what it answers
        #[arg(long)]
        shadow: bool,
        /// Upload only
        #[arg(long, conflicts_with_all = ["canary", "shadow"])]
        no_live: bool,
        #[command(flatten)]
        tools: function::Tools,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the versions on the server
    Versions {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make the previous version live again
    Rollback {
        #[arg(value_name = "NAME")]
        name: String,
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
        #[arg(long, default_value_t = 100)]
        limit: u64,
        /// Go on with what comes, until Ctrl-C
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

fn share(text: &str) -> Result<u8, String> {
    let share = text.trim_end_matches('%').trim().parse().ok().filter(|share| (1..=99).contains(share));
    share.ok_or_else(|| "write a share from 1% to 99%".to_owned())
}

pub(super) fn run(command: &Command, shelf: Shelf, json: bool) -> Done {
    let runtime = runtime()?;
    match command {
        Command::Push { from, to, settings, canary, shadow, no_live, tools, server } => {
            let wish = match (canary, shadow, no_live) {
                (Some(share), ..) => Wish::Canary(json!({ "share": share })),
                (_, true, _) => Wish::Canary(json!({ "shadow": true })),
                (.., true) => Wish::Nothing,
                _ => Wish::Live,
            };
            let component = component(from, tools)?;
            let settings = settings.as_deref().map(read_json).transpose()?;
            let push = Push { shelf, component, to: to.as_deref(), settings, wish };
            runtime.block_on(push.run(server, json))
        }
        Command::Versions { name, server } => runtime.block_on(async {
            let answer = Session::new(server)?.get(&format!("/admin/{}/{name}", shelf.all())).await?;
            print_versions(&answer, json);
            Ok(ExitCode::SUCCESS)
        }),
        Command::Rollback { name, server } => runtime.block_on(async {
            let path = format!("/admin/{}/{name}/rollback", shelf.all());
            let answer = Session::new(server)?.post(&path, &json!({})).await?;
            if json {
                println!("{answer}");
            } else {
                println!("{} {name} {} is live again", paint::good("rolled back"), short(&answer["live"]["sha256"]));
            }
            Ok(ExitCode::SUCCESS)
        }),
        Command::Logs { name, event, text, level, limit, follow, server } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            for (key, value) in [("event", event), ("text", text), ("level", level)] {
                if let Some(value) = value {
                    query.append_pair(key, value);
                }
            }
            let path = format!("/admin/{}/{name}/logs?{}", shelf.all(), query.finish());
            runtime.block_on(logs(server, &path, *follow, json))
        }
    }
}

/// Everything that a push needs.
struct Push<'a> {
    shelf: Shelf,
    component: Vec<u8>,
    to: Option<&'a str>,
    settings: Option<Value>,
    wish: Wish,
}

/// What becomes of a version that was taken.
enum Wish {
    Live,
    Canary(Value),
    Nothing,
}

impl Push<'_> {
    async fn run(self, server: &ServerArgs, json: bool) -> Done {
        let began = Instant::now();
        let name = self.name()?;
        let path = format!("/admin/{}/{name}", self.shelf.all());
        let mut session = Session::new(server)?;
        let taken = session.upload(&format!("{path}/versions"), self.component).await?;
        let version = session.follow_build(taken["build"].as_str().unwrap_or_default(), json).await?;
        let mut body = json!({"sha256": version["sha256"]});
        if let Some(settings) = self.settings {
            body["settings"] = settings;
        }
        let mut state = "taken";
        match self.wish {
            Wish::Live => {
                session.post(&format!("{path}/live"), &body).await?;
                state = "live";
            }
            Wish::Canary(trial) => {
                for (key, value) in trial.as_object().into_iter().flatten() {
                    body[key] = value.clone();
                }
                session.post(&format!("{path}/canary"), &body).await?;
                state = "on trial";
            }
            Wish::Nothing => {}
        }
        if let Some(source) = self.to {
            session.post(&format!("{path}/attach"), &json!({ "source": source })).await?;
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if json {
            println!("{}", json!({"name": name, "state": state, "version": version, "attached": self.to, "ms": ms}));
        } else {
            let kib = version["bytes"].as_u64().unwrap_or(0) / 1024;
            println!(
                "{} {name} {} is {state}{} ({kib} KiB, compiled in {} ms, {} fixtures passed, {ms} ms in all)",
                paint::good("pushed"),
                short(&version["sha256"]),
                self.to.map_or_else(String::new, |source| format!(" for source {source}")),
                version["compile_ms"],
                version["smoke"]["passed"],
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The name that the component carries; nothing is sent that cannot be taken.
    fn name(&self) -> Result<String, Failure> {
        let manifest = Package::read(&self.component)?.manifest;
        let shelf = if manifest.kind == Kind::Destination { Shelf::Destinations } else { Shelf::Functions };
        if shelf != self.shelf {
            let (kind, one) = (manifest.kind.as_str(), shelf.one());
            return Err(Failure::Failed(format!("this is a {one} (`kind: {kind}`); use `tidegate {one} push`")));
        }
        if self.to.is_some() && shelf == Shelf::Destinations {
            return Err(Failure::Failed("--to is for functions; a sync names its destination".to_owned()));
        }
        Ok(manifest.name)
    }
}

fn component(from: &Path, tools: &function::Tools) -> Result<Vec<u8>, Failure> {
    let path = if from.is_dir() { function::built(from, None, tools)?.path } else { from.to_owned() };
    std::fs::read(&path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

/// A connection that knows the token.
struct Session {
    client: Client,
    authorization: String,
}

impl Session {
    fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let from_file = args.token_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
        });
        let Some(token) = args.token.clone().map(Ok).or(from_file).transpose()? else {
            let message = "no admin token: give --token or --token-file, or set TIDEGATE_ADMIN_TOKEN; the server showed it at \
                 its first start, and `tidegate admin token --reset` makes another";
            return Err(Failure::Failed(message.to_owned()));
        };
        let client = Client::new(Target::new(&args.server, "")?);
        Ok(Self { client, authorization: format!("Bearer {}", token.trim()) })
    }

    async fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str())];
        understood(&self.client.get(path, &headers).await?)
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        understood(&self.client.post(path, &headers, Bytes::from(body.to_string())).await?)
    }

    async fn upload(&mut self, path: &str, component: Vec<u8>) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/wasm")];
        understood(&self.client.post(path, &headers, Bytes::from(component)).await?)
    }

    /// Waits for the end of a build, and says how far it is.
    async fn follow_build(&mut self, id: &str, quiet: bool) -> Result<Value, Failure> {
        let spinner = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut from = String::new();
        loop {
            let answer = self.get(&format!("/admin/builds/{id}?wait_ms=10000&from={from}")).await?;
            let state = answer["state"].as_str().unwrap_or_default().to_owned();
            match state.as_str() {
                "ready" => {
                    spinner.finish_and_clear();
                    return Ok(answer["version"].clone());
                }
                "failed" => {
                    spinner.finish_and_clear();
                    let message = answer["error"]["message"].as_str().unwrap_or("the server gave no reason");
                    return Err(Failure::Failed(format!("the server refused it: {message}")));
                }
                "compiling" => spinner.set_message(format!("compiling on the server ({} s)", answer["seconds"])),
                _ => spinner.set_message(state.clone()),
            }
            from = state;
        }
    }
}

/// The body of a good answer, or the server's own words.
fn understood(answer: &super::client::Answer) -> Result<Value, Failure> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if (200..300).contains(&answer.status) {
        return Ok(body);
    }
    let error = &body["error"];
    Err(Failure::Failed(match (error["message"].as_str(), error["fix"].as_str()) {
        (Some(message), Some(fix)) => format!("the server says: {message}\n  fix: {fix}"),
        _ => format!("the server answered {} and no reason; is this its admin address?", answer.status),
    }))
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
}

async fn logs(server: &ServerArgs, path: &str, follow: bool, json: bool) -> Done {
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
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
