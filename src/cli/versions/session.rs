//! A conversation with a server's admin API about functions or destinations.

use std::time::Duration;

use indicatif::ProgressBar;
use tidegate_api_types::build::{Build, BuildQuery, BuildState, PushQuery};
use tidegate_api_types::logs::{LogQuery, Logs};
use tidegate_api_types::version::{MakeLive, Version};
use tidegate_registry::PluginKind;

use super::shown::{Listed, Shown};
use crate::cli::CommandFailure;
pub(super) use crate::cli::client::ServerArgs;
use crate::cli::client::{AdminClient, ClientError};

/// A client, and whether functions or destinations are meant.
pub(super) struct AdminSession {
    client: AdminClient,
    plugin_kind: PluginKind,
}

impl AdminSession {
    pub(super) fn new(args: &ServerArgs, plugin_kind: PluginKind) -> Result<Self, CommandFailure> {
        Ok(Self { client: args.client()?, plugin_kind })
    }

    /// What functions alone can be asked.
    pub(super) const fn client(&self) -> &AdminClient {
        &self.client
    }

    pub(super) async fn list(&self) -> Result<Listed, ClientError> {
        Ok(match self.plugin_kind {
            PluginKind::Functions => Listed::Functions(self.client.functions().await?),
            PluginKind::Destinations => Listed::Destinations(self.client.destinations().await?),
        })
    }

    pub(super) async fn show(&self, name: &str) -> Result<Shown, ClientError> {
        Ok(match self.plugin_kind {
            PluginKind::Functions => Shown::Function(self.client.function(name).await?),
            PluginKind::Destinations => Shown::Destination(self.client.destination(name).await?),
        })
    }

    pub(super) async fn make_live(&self, name: &str, asked: &MakeLive) -> Result<Shown, ClientError> {
        Ok(match self.plugin_kind {
            PluginKind::Functions => Shown::Function(self.client.make_function_live(name, asked).await?),
            PluginKind::Destinations => Shown::Destination(self.client.make_destination_live(name, asked).await?),
        })
    }

    pub(super) async fn roll_back(&self, name: &str) -> Result<Shown, ClientError> {
        Ok(match self.plugin_kind {
            PluginKind::Functions => Shown::Function(self.client.roll_function_back(name).await?),
            PluginKind::Destinations => Shown::Destination(self.client.roll_destination_back(name).await?),
        })
    }

    pub(super) async fn logs(&self, name: &str, query: &LogQuery) -> Result<Logs, ClientError> {
        match self.plugin_kind {
            PluginKind::Functions => self.client.function_logs(name, query).await,
            PluginKind::Destinations => self.client.destination_logs(name, query).await,
        }
    }

    /// Uploads a version and waits for the end of its build, saying how far it is.
    pub(super) async fn push(
        &self,
        name: &str,
        query: PushQuery,
        version: Vec<u8>,
        quiet: bool,
    ) -> Result<Version, CommandFailure> {
        let pushed = match self.plugin_kind {
            PluginKind::Functions => self.client.push_function(name, query, version).await?,
            PluginKind::Destinations => self.client.push_destination(name, query, version).await?,
        };
        let spinner = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        spinner.enable_steady_tick(Duration::from_millis(100));
        // No state has this name: the first answer comes at once.
        let mut from = String::new();
        loop {
            let from_now = Some(std::mem::take(&mut from));
            let query = BuildQuery { wait_ms: 10_000, from: from_now, ..BuildQuery::default() };
            let build = self.client.build(&pushed.build, &query).await?;
            match (build.state, build.seconds) {
                (BuildState::Ready | BuildState::Failed, _) => {
                    spinner.finish_and_clear();
                    return outcome(build);
                }
                (BuildState::Compiling, seconds) => {
                    spinner.set_message(format!("compiling on the server ({} s)", seconds.unwrap_or(0)));
                }
                (state, _) => spinner.set_message(state.as_str()),
            }
            build.state.as_str().clone_into(&mut from);
        }
    }
}

/// What a build came to.
fn outcome(build: Build) -> Result<Version, CommandFailure> {
    if let Some(version) = build.version {
        return Ok(version);
    }
    let error = build.error;
    let message = error.as_ref().map_or("the server gave no reason", |error| &error.message);
    let fix = match error.as_ref().map(|error| error.code.as_str()) {
        Some("smoke") => {
            "\n  fix: mend it, or write what comes out as what is expected: `tidegate function test --update`; --force takes it as it is"
        }
        _ => "",
    };
    Err(CommandFailure::Failed(format!("the server refused it: {message}{fix}")))
}
