//! The admin token, for every command that asks a server's admin API.

use std::path::PathBuf;

use super::address::ConnectArgs;
use super::admin::AdminClient;
use crate::cli::CommandFailure;

/// How a server is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TokenArgs {
    /// The admin token, which the server showed at its first start
    #[arg(long, env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token; it counts before the variable
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send the token over http to another machine too, in a network that you trust
    #[arg(long)]
    allow_http: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl TokenArgs {
    /// A client of the admin API at `server` that knows the token; nothing is connected yet.
    pub(in crate::cli) fn client(&self, server: &str) -> Result<AdminClient, CommandFailure> {
        let from_file = self.token_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))
        });
        // The variable reaches us as `token`, and what was asked for on the command line beats it.
        let Some(token) = from_file.or(self.token.clone().map(Ok)).transpose()? else {
            let message = "no admin token: give --token or --token-file, or set TIDEGATE_ADMIN_TOKEN; the server showed it at \
                 its first start, and `tidegate admin token --reset` makes another";
            return Err(CommandFailure::Failed(message.to_owned()));
        };
        Ok(AdminClient::new(server, &token, self.allow_http, &self.connect)?)
    }
}

/// Where the server is and how it is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ServerArgs {
    /// The server's admin API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8089")]
    server: String,
    #[command(flatten)]
    access: TokenArgs,
}

impl ServerArgs {
    /// A client that knows the token; nothing is connected yet.
    pub(in crate::cli) fn client(&self) -> Result<AdminClient, CommandFailure> {
        self.access.client(&self.server)
    }
}
