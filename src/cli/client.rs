//! How commands speak to a running server: [`AdminClient`] to its admin API, [`IngestClient`] to the port for events.
//!
//! The admin client has a method for each endpoint that a command uses. It takes and gives the types of
//! `tidegate-api-types`, where the paths stand as well; what the server refuses comes back as its problem document. Both
//! speak HTTP and HTTPS, trust whom everything here trusts and whom `--ca-file` names, and go through the proxies of the
//! environment. The admin token goes in clear to this machine alone, unless somebody says so, and stands in no message.

mod address;
mod admin;
mod alerts;
mod contexts;
mod control;
mod drafts;
mod error;
mod http;
mod ingest;
mod queries;
mod rebuilds;
mod replays;
mod sign_in;
mod token;
mod violations;

pub(super) use address::ConnectArgs;
pub(super) use admin::AdminClient;
pub(super) use contexts::{KeptContext, KeptContexts};
pub(super) use control::{CatalogClient, WriteManner};
pub(super) use error::ClientError;
pub(super) use http::ServerAnswer;
pub(super) use ingest::IngestClient;
pub(super) use sign_in::SignInClient;
pub(super) use token::{ServerArgs, TokenArgs, server_default};
