//! A conversation with a server's admin API.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use indicatif::ProgressBar;
use serde_json::Value;
use tidegate_api_types::Problem;

use crate::cli::Failure;
use crate::cli::client::{Answer, Client, Target};

/// Where the server is and how it is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ServerArgs {
    /// The server's admin API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8089")]
    server: String,
    /// The admin token, which the server showed at its first start
    #[arg(long, env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token; it counts before the variable
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A connection that knows the token.
pub(super) struct Session {
    client: Client,
    authorization: String,
}

impl Session {
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let from_file = args.token_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
        });
        // The variable reaches us as `token`, and what was asked for on the command line beats it.
        let Some(token) = from_file.or(args.token.clone().map(Ok)).transpose()? else {
            let message = "no admin token: give --token or --token-file, or set TIDEGATE_ADMIN_TOKEN; the server showed it at \
                 its first start, and `tidegate admin token --reset` makes another";
            return Err(Failure::Failed(message.to_owned()));
        };
        let client = Client::new(Target::of_admin(&args.server)?);
        Ok(Self { client, authorization: format!("Bearer {}", token.trim()) })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str())];
        understood(&self.client.get(path, &headers).await?)
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        understood(&self.client.post(path, &headers, Bytes::from(body.to_string())).await?)
    }

    pub(super) async fn upload(&mut self, path: &str, component: Vec<u8>) -> Result<Value, Failure> {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/wasm")];
        understood(&self.client.post(path, &headers, Bytes::from(component)).await?)
    }

    /// Waits for the end of a build, and says how far it is.
    pub(super) async fn follow_build(&mut self, id: &str, quiet: bool) -> Result<Value, Failure> {
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
                    let fix = match answer["error"]["code"].as_str() {
                        Some("smoke") => {
                            "\n  fix: mend it, or write what comes out as what is expected: `tidegate function test --update`; --force takes it as it is"
                        }
                        _ => "",
                    };
                    return Err(Failure::Failed(format!("the server refused it: {message}{fix}")));
                }
                "compiling" => spinner.set_message(format!("compiling on the server ({} s)", answer["seconds"])),
                _ => spinner.set_message(state.clone()),
            }
            from = state;
        }
    }
}

/// The body of a good answer, or the server's own words.
fn understood(answer: &Answer) -> Result<Value, Failure> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if (200..300).contains(&answer.status) {
        return Ok(body);
    }
    Err(Failure::Failed(match serde_json::from_value::<Problem>(body) {
        // The API speaks of its bodies; a person at a terminal has flags.
        Ok(problem) if problem.code == "settings" => format!(
            "the server says: {}\n  fix: --settings FILE, a JSON file with settings that fit plugin.yaml",
            problem.detail
        ),
        Ok(problem) => format!("the server says: {}\n  fix: {}", problem.detail, problem.fix),
        Err(_) => format!("the server answered {} and no reason; is this its admin address?", answer.status),
    }))
}
