//! With which token, and which server, a command asks: what the command line says, what `tidegate login` has kept, what the environment
//! says, in this order.

use std::path::PathBuf;

use super::address::{self, ConnectArgs};
use super::admin::AdminClient;
use super::contexts::{KeptContext, KeptContexts, is_same};
use crate::cli::CommandFailure;
use crate::config::{ADMIN_LISTEN_DEFAULT, environment};

/// The variable of the token.
const VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

/// How an address looks.
const USUAL: &str = "http://127.0.0.1:8089";

/// How a server is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TokenArgs {
    /// An API token, or the admin token, which the server showed at its first start [default: that of the context, else
    /// the variable TIDEGATE_ADMIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token; it counts before --token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What `tidegate login` has kept under this name [default: the one in use]
    #[arg(long, env = "TIDEGATE_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Send the token over http to another machine too, in a network that you trust
    #[arg(long)]
    allow_http: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl TokenArgs {
    /// A client of the admin API at `server`, which was named; nothing is connected yet.
    pub(in crate::cli) fn client(&self, server: &str) -> Result<AdminClient, CommandFailure> {
        self.client_or(Some(server), || Ok(server.to_owned()))
    }

    /// The same where no server may have been named: then it is that of the context, or `otherwise`.
    pub(in crate::cli) fn client_or(
        &self,
        server: Option<&str>,
        otherwise: impl FnOnce() -> Result<String, CommandFailure>,
    ) -> Result<AdminClient, CommandFailure> {
        let given = self.given()?;
        let named = self.context.as_deref();
        // Whoever says everything needs no file.
        let kept = match (server, &given, named) {
            (Some(_), Some(_), None) => KeptContexts::default(),
            _ => KeptContexts::read()?,
        };
        let chosen = kept.chosen(named)?;
        let (server, context) = match (server, chosen) {
            (None, Some((_, context))) => (context.server.clone(), Some(context)),
            (None, None) => {
                let server = otherwise()?;
                let context = kept.of_server(&server);
                (server, context)
            }
            (Some(server), Some((name, context))) if named.is_some() && !is_same(&context.server, server) => {
                let of = &context.server;
                let message = format!(
                    "the context {name:?} is of {of}, and the server that is named is {server}: leave one of them out"
                );
                return Err(CommandFailure::Failed(message));
            }
            // A token goes to the server that it is of, and to no other.
            (Some(server), _) => (server.to_owned(), kept.of_server(server)),
        };
        // That is said first: a command that gets a token there could not either.
        address::parse(&server, USUAL)?;
        let token = given.or_else(|| context.map(|context: &KeptContext| context.token.clone()));
        let Some(token) = token.or_else(|| environment(VARIABLE)) else {
            let message = format!(
                "no token for {server}: `tidegate login --server {server}` signs you in; or give --token or --token-file, or set \
                 {VARIABLE} (the server showed its admin token at its first start, and `tidegate admin token --reset` makes another)"
            );
            return Err(CommandFailure::Failed(message));
        };
        let connect = context.map_or_else(|| self.connect.clone(), |context| self.connect.or(&context.connect));
        Ok(AdminClient::new(&server, &token, self.allow_http, &connect)?)
    }

    /// What the command line says.
    fn given(&self) -> Result<Option<String>, CommandFailure> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let text = std::fs::read_to_string(path);
        text.map(Some).map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))
    }
}

/// Where the server is and how it is asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ServerArgs {
    /// The server's admin API [default: that of the context, else http://127.0.0.1:8089]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The environment, and the workspace of the catalog [default: default]
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    #[command(flatten)]
    access: TokenArgs,
}

impl ServerArgs {
    /// The workspace that was named.
    pub(in crate::cli) fn workspace(&self) -> Option<&str> {
        self.workspace.as_deref()
    }

    /// A client that knows the token; nothing is connected yet.
    pub(in crate::cli) fn client(&self) -> Result<AdminClient, CommandFailure> {
        let client = self.access.client_or(self.server.as_deref(), || Ok(server_default()))?;
        Ok(client.in_workspace(self.workspace.clone()))
    }
}

/// A server on this machine, where it listens unless told otherwise.
pub(in crate::cli) fn server_default() -> String {
    format!("http://{ADMIN_LISTEN_DEFAULT}")
}
