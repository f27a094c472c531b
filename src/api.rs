//! The admin API: HTTP on a port of its own, for people and programs that run the place.
//!
//! Nouns: a **principal** (who asks), an **action** on an **object** (what is asked), the **token** (shown once, kept as
//! a salted hash, compared in constant time).
//!
//! What holds:
//! * Nothing is answered to anybody without the token but that it is missing. Every request passes one function,
//!   [`access::authorise`], with its principal, action and object; that is where roles will stand.
//! * Every body, wait, list and queue is bounded.
//! * Every refusal is `{"error": {"code", "message", "fix"}}`, and settings marked secret are never shown.
//! * There is no CORS: no web page of another origin can ask anything.
//!
//! Three doors, like every source: [`Settings`] are checked by whoever builds them, [`Api::open`] binds, [`Api::run`]
//! serves. This room does not know how events flow.

pub mod access;
mod answer;
mod logs;
mod route;
mod shelf;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, StatusCode, header};
use tidegate_delivery::Logbook;
use tidegate_net::{self as net, Caller, Peer, Port, RequestBody as Incoming, Service};
use tidegate_registry::Store;
use tidegate_state::{self as state, State};
use tokio::sync::watch;

use access::{Denied, Guard, Principal};
use answer::{Answer, Reply};
use route::{Call, Route};

/// Opens the state file for one request.
pub type OpenState = Box<dyn Fn() -> Result<State, state::Error> + Send + Sync>;

/// All that the API needs to know.
pub struct Settings {
    /// Where the token's hash is.
    pub token_file: PathBuf,
    /// The sources that a function may be attached to.
    pub sources: BTreeSet<String>,
    /// The functions of the workspace's files.
    pub functions: BTreeSet<String>,
    /// Of each destination plugin that the workspace has a file for, the syncs that use it.
    pub syncs: BTreeMap<String, Vec<String>>,
    /// Of each function, the tables that the workspace lends it.
    pub lent: BTreeMap<String, BTreeSet<String>>,
    pub store: Store,
    pub running: Running,
    pub open_state: OpenState,
    pub limits: Limits,
    pub connections: net::Limits,
}

/// What runs, as far as it has followed the pointers of the store, and what it says.
#[derive(Debug, Clone)]
pub struct Running {
    pub functions: watch::Receiver<Taken>,
    pub destinations: watch::Receiver<Taken>,
    pub logbook: Logbook,
}

/// How far the pointers are followed.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Every change up to this one is in place, or refused.
    pub revision: u64,
    /// By name: why a version could not be put in place; the one before it goes on.
    pub refused: BTreeMap<String, String>,
}

/// Bounds on what a client may send and how slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's body.
    pub body_timeout: Duration,
    /// A JSON body.
    pub json_bytes_max: usize,
    /// How long a request may wait for a build.
    pub wait_max: Duration,
    /// How long a body that nobody wants is read, so that its sender gets to read why.
    pub unwanted_timeout: Duration,
    /// Wrong tokens in a minute from one address; further ones are told to wait.
    pub wrong_tokens_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(120),
            json_bytes_max: 256 << 10,
            wait_max: Duration::from_secs(25),
            unwanted_timeout: Duration::from_secs(5),
            wrong_tokens_max: 10,
        }
    }
}

/// Connections at once, unless file descriptors are short.
pub const CONNECTIONS_MAX: usize = 64;

/// A bound listener.
pub struct Api {
    port: Port,
    door: Arc<Door>,
}

struct Door {
    settings: Settings,
    guard: Guard,
}

impl Api {
    /// Binds `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn open(listen: SocketAddr, settings: Settings) -> std::io::Result<Self> {
        // Proxies are trusted by nobody here: no address that a header names counts for anything.
        let port = Port::open(listen, settings.connections.clone(), Vec::new())?;
        let guard = Guard::new(settings.token_file.clone(), settings.limits.wrong_tokens_max);
        Ok(Self { port, door: Arc::new(Door { settings, guard }) })
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.port.address()
    }

    /// Serves until `stop` turns true; requests in flight are answered.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        self.port.run(self.door, stop).await;
    }
}

impl Service for Door {
    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Reply {
        let caller = peer.address.ip().into();
        self.dispatch(request, caller).await.unwrap_or_else(|refusal| refusal).into_reply()
    }

    fn too_slow(&self) -> Reply {
        let message = "the body came too slowly";
        Answer::error(StatusCode::REQUEST_TIMEOUT, "body-timeout", message, "send it again").into_reply()
    }
}

impl Door {
    /// Who, then what, then whether.
    async fn dispatch(&self, request: Request<Incoming>, caller: Caller) -> Result<Answer, Answer> {
        let Route { call, query } = match self.admitted(&request, caller) {
            Ok(route) => route,
            Err(refusal) => {
                self.swallow(request).await;
                return Err(refusal);
            }
        };
        match call {
            Call::Push { shelf, name } => self.push(request, shelf, name, query.get("force") == Some("true")).await,
            Call::Build { id } => self.build(&id, &query).await,
            Call::List { shelf } => Ok(self.list(shelf)),
            Call::Show { shelf, name } => self.show(shelf, &name).await,
            Call::Logs { shelf, name } => self.logs(shelf, name, &query).await,
            Call::Flip { shelf, name, flip } => {
                let body = self.json(request).await?;
                self.flip(shelf, name, flip, body).await
            }
        }
    }

    fn admitted(&self, request: &Request<Incoming>, caller: Caller) -> Result<Route, Answer> {
        let principal = self.principal(request, caller)?;
        let route = route::find(request.method(), request.uri().path(), request.uri().query())?;
        let (action, object) = route.call.asks();
        access::authorise(&principal, action, &object).map_err(|Denied| Answer::forbidden())?;
        Ok(route)
    }

    fn principal(&self, request: &Request<Incoming>, caller: Caller) -> Result<Principal, Answer> {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        self.guard.admit(token, caller).map_err(Answer::from)
    }
}
