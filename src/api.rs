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
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::state::{self, State};
use crate::store::Store;
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
    pub open_state: OpenState,
    pub limits: Limits,
}

/// Bounds on what a client may send and how slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's head, and the next request on an idle connection.
    pub header_timeout: Duration,
    /// A request's body.
    pub body_timeout: Duration,
    /// A JSON body.
    pub json_bytes_max: usize,
    /// How long a request may wait for a build.
    pub wait_max: Duration,
    /// How long a body that nobody wants is read, so that its sender gets to read why.
    pub unwanted_timeout: Duration,
    pub connections_max: usize,
    /// Wrong tokens in a minute; further ones are told to wait.
    pub wrong_tokens_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(120),
            json_bytes_max: 256 << 10,
            wait_max: Duration::from_secs(25),
            unwanted_timeout: Duration::from_secs(5),
            connections_max: 64,
            wrong_tokens_max: 10,
        }
    }
}

/// A bound listener.
pub struct Api {
    listener: TcpListener,
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
    pub async fn open(listen: SocketAddr, settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let guard = Guard::new(settings.token_file.clone(), settings.limits.wrong_tokens_max);
        Ok(Self { listener, door: Arc::new(Door { settings, guard }) })
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true; requests in flight are answered.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(self.door.settings.limits.connections_max));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { break };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely; the next one may fare better after a moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (door, stop) = (Arc::clone(&self.door), stop.clone());
            tokio::spawn(async move {
                door.serve(stream, stop).await;
                drop(permit);
            });
        }
    }
}

impl Door {
    async fn serve(self: Arc<Self>, stream: tokio::net::TcpStream, mut stop: watch::Receiver<bool>) {
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.settings.limits.header_timeout).max_buf_size(64 << 10);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let stopping = tokio::select! {
            _ = connection.as_mut() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if stopping {
            connection.as_mut().graceful_shutdown();
            let _ = connection.as_mut().await;
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        self.dispatch(request).await.unwrap_or_else(|refusal| refusal).into_reply()
    }

    /// Who, then what, then whether.
    async fn dispatch(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let Route { call, query } = match self.admitted(&request) {
            Ok(route) => route,
            Err(refusal) => {
                self.swallow(request).await;
                return Err(refusal);
            }
        };
        match call {
            Call::Push { shelf, name } => self.push(request, shelf, name).await,
            Call::Build { id } => self.build(&id, &query).await,
            Call::List { shelf } => Ok(self.list(shelf)),
            Call::Show { shelf, name } => self.show(shelf, &name).await,
            Call::Logs { name } => self.logs(name, &query).await,
            Call::Flip { shelf, name, flip } => {
                let body = self.json(request).await?;
                self.flip(shelf, name, flip, body).await
            }
        }
    }

    fn admitted(&self, request: &Request<Incoming>) -> Result<Route, Answer> {
        let principal = self.principal(request)?;
        let route = route::find(request.method(), request.uri().path(), request.uri().query())?;
        let (action, object) = route.call.asks();
        access::authorise(&principal, action, &object).map_err(|Denied| Answer::forbidden())?;
        Ok(route)
    }

    fn principal(&self, request: &Request<Incoming>) -> Result<Principal, Answer> {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        self.guard.admit(token).map_err(Answer::from)
    }
}
