//! The admin API: HTTP on a port of its own, for people and programs that run the place.
//!
//! Nouns: a **principal** (who asks), an **action** on an **object** (what is asked), the **token** (shown once, kept as
//! a salted hash, compared in constant time).
//!
//! What holds:
//! * Nothing is answered to anybody without a token or a session but that it is missing, and what people sign in by. Every request passes
//!   one function before its handler: [`access::authorise`] below `/admin`, and `v1::permit` below `/api/v1`, which asks the catalog.
//! * Where a session lets a request in, a page of this server has sent it: nothing is changed for one of another site.
//! * `/livez` and `/readyz` are answered to everybody, and `/metrics` to whoever shows its token, or as the settings say.
//! * Every body, wait, list and queue is bounded.
//! * Every refusal is a problem of RFC 9457 with a `code` and a `fix`, and settings marked secret are never shown.
//! * `/api/openapi.json` is made from the handlers and the types that they take and give.
//! * Pages for people are no part of it: whoever builds it brings them ([`AdminPages`]), and they ask it what they show.
//! * There is no CORS: no web page of another origin can ask anything.
//!
//! Three doors, like every source: [`AdminSettings`] are checked by whoever builds them, [`AdminApi::open`] binds, [`AdminApi::run`]
//! serves. This part does not know how events flow.

pub mod access;
mod alerts;
mod archive;
mod builds;
mod change;
mod consents;
pub mod conservation;
mod cookies;
mod destinations;
mod engines;
mod extract;
mod functions;
mod health;
mod recent_answer;
mod login;
mod logs;
mod masked_fields;
mod metrics;
mod open_streams;
mod openapi;
mod page_asker;
mod quarantine;
mod queries;
mod refusal;
mod reload;
mod scripts;
mod sent_blobs;
mod shared_body;
mod sign_in_tries;
mod streams;
mod traces;
mod tries;
mod v1;
mod write_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use parking_lot::Mutex;
use serde_json::Value;
use tidegate_api_types::path;
use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::FolderDocument;
use tidegate_catalog::{Catalog, CatalogError, ObjectKind, WantedObject};
use tidegate_delivery::DestinationLogs;
use tidegate_log::LogPartitions;
use tidegate_metrics::EngineMetrics;
use tidegate_net::{self as net, Caller, HttpReply, Network, Peer, Port, PortTls, ReplyBody, RequestBody, Service};
use tidegate_oidc::LoginSettings;
use tidegate_pipeline::sync::Consent;
use tidegate_pipeline::tap::EventTaps;
use tidegate_process::clock;
use tidegate_registry::VersionStore;
use tidegate_source::http::Entrance;
use tidegate_source::streams::StreamSources;
use tidegate_state::{self as state, State};
use tokio::sync::{Notify, mpsc, watch};
use tower_service::Service as _;

pub use access::WORKSPACE_DEFAULT;
use access::{Denied, Guard, Principal};
pub use alerts::{AlertOrder, AskedAlerts};
pub use archive::{LookIntoArchive, LookingIntoArchive};
pub use consents::withhold_pending;
use conservation::RecountEvents;
use cookies::{CookieUse, RequestOrigin};
use login::LoginState;
pub use masked_fields::MaskedField;
use metrics::MetricsReader;
pub use metrics::MetricsSettings;
use open_streams::OpenStreams;
pub use open_streams::StreamRoom;
pub use page_asker::{AdminPages, PageAsker, wants_page};
pub use quarantine::{FindOriginal, ProposedChange, TryEntriesOrder, TryQuarantined, TryingEntries, entry_filter_of};
pub use queries::{QueryRefusal, WarehouseQueries};
use recent_answer::RecentAnswer;
use refusal::ApiRefusal;
pub use refusal::TOKEN_MAY_NOT;
pub use reload::{ALL_THAT_END, OrderDone, OrderedChange, ReloadRefusal, ReloadRequest};
use sent_blobs::SentBlobs;
use shared_body::{SharedBody, reply};
pub use streams::shown_stream;
pub use traces::{TraceEvents, TraceOrder, TracingEvents};
pub use tries::{
    TriedCode, TriedSample, TryFunctionOrder, TryFunctions, TryObjects, TryOrder, TryRefusal, Trying, TryingFunction,
};
pub use write_keys::KeyOrder;

/// Opens the state file for one request.
pub type OpenState = Box<dyn Fn() -> Result<State, state::StateError> + Send + Sync>;

/// Says when a record of a partition was received, microseconds since the epoch.
pub type ReceivedAt = Box<dyn Fn(u16, u64) -> Option<i64> + Send + Sync>;

/// All that the API needs to know.
pub struct AdminSettings {
    /// Where the token's hash is.
    pub token_file: PathBuf,
    /// The environments that run, by their workspaces: that of the server's own folder is [`WORKSPACE_DEFAULT`].
    pub engines: BTreeMap<String, Arc<EngineSettings>>,
    /// Takes orders to have the door take the write keys of the catalog as they are now.
    pub write_keys: mpsc::Sender<KeyOrder>,
    pub catalog: CatalogSettings,
    pub login: LoginSettings,
    /// Where clients send events to, as people are told.
    pub events_url: String,
    /// Whose word counts for the address of a client, and for whether it speaks TLS.
    pub trusted_proxies: Vec<Network>,
    pub limits: AdminLimits,
    pub connections: net::ConnectionLimits,
    pub metrics: MetricsSettings,
    /// How the port speaks TLS, if it does.
    pub tls: Option<Arc<PortTls>>,
}

/// An environment that runs.
pub struct EngineSettings {
    /// Where the files of its objects are.
    pub folder: PathBuf,
    /// Who may send events.
    pub entrance: watch::Receiver<Arc<Entrance>>,
    pub names: watch::Receiver<Arc<WorkspaceNames>>,
    /// Takes orders to change what runs; a few may wait.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Tries objects out.
    pub tries: TryObjects,
    /// Tries functions out.
    pub function_tries: TryFunctions,
    /// Tries quarantined events.
    pub entry_tries: TryQuarantined,
    /// Finds out what has become of events.
    pub traces: TraceEvents,
    /// Where events are offered to whoever listens.
    pub taps: EventTaps,
    /// What it counts while it works.
    pub metrics: EngineMetrics,
    pub log: LogPartitions,
    /// When the first record of a partition at or behind an offset was received, as far as that can be told.
    pub received_at: ReceivedAt,
    /// Finds the records that quarantined events came in.
    pub originals: FindOriginal,
    /// Counts the records of the log once more.
    pub recount: RecountEvents,
    /// Looks for texts in the archive of the log, where there is one.
    pub archive: Option<LookIntoArchive>,
    /// Told that a job of the quarantine has begun.
    pub retries: Arc<Notify>,
    /// Told that a job has begun that forgets somebody.
    pub forgets: Arc<Notify>,
    /// Told that a replay has begun, or is over.
    pub replays: Arc<Notify>,
    pub alerts: AskedAlerts,
    /// Told that a rebuild has begun, shall swap, or is over.
    pub rebuilds: Arc<Notify>,
    pub queries: WarehouseQueries,
    /// The data directory.
    pub data: PathBuf,
    /// The streams that its sources read.
    pub streams: StreamSources,
    pub store: VersionStore,
    pub running: Running,
    pub open_state: OpenState,
}

impl EngineSettings {
    /// The fields of events that stay masked for somebody who may see them otherwise.
    fn masked_for(&self, is_admin: bool) -> Vec<MaskedField> {
        if is_admin { Vec::new() } else { self.names.borrow().masked.clone() }
    }
}

/// What the workspace that runs says of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceNames {
    /// The sources that a function may be attached to.
    pub sources: BTreeSet<String>,
    /// The functions of the workspace's files.
    pub functions: BTreeSet<String>,
    /// Of each destination plugin that the workspace has a file for, the syncs that use it.
    pub syncs: BTreeMap<String, Vec<String>>,
    /// Of each sync, its source.
    pub sync_sources: BTreeMap<String, String>,
    /// Syncs that deliver nothing for now: they are paused, or their destinations are.
    pub paused_syncs: BTreeSet<String>,
    /// Of each function, the tables that the workspace grants it.
    pub granted: BTreeMap<String, BTreeSet<String>>,
    /// Of each sync, what becomes of an event that goes to its destination once more.
    pub repeats: BTreeMap<String, SyncRepeats>,
    /// The consent that syncs need, of those that need any.
    pub consents: BTreeMap<String, Consent>,
    /// Fields of events that only admins of the workspace see.
    pub masked: Vec<MaskedField>,
}

/// What becomes of an event that goes to a destination once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncRepeats {
    /// It is known by its id, and is no second row.
    KnownById,
    /// It is a second row.
    StoredAgain,
    /// It is a second message of a stream.
    WrittenAgain,
    /// A plugin sends it again.
    SentAgain,
}

/// Makes of a document of a folder what it wants of a workspace of the catalog.
pub type WantedOf = dyn Fn(&str, &FolderDocument) -> WantedObject + Send + Sync;

/// The catalog, and what is known of folders.
pub struct CatalogSettings {
    pub catalog: Arc<Catalog>,
    /// What a document of a folder wants of the catalog, in this workspace; no secret is in it any more.
    pub wanted: Box<WantedOf>,
    /// The first field of a spec in which a secret is written down.
    pub written_secret: fn(ObjectKind, &Value) -> Option<String>,
    /// The first field of a spec that holds the fingerprint of a secret, which is written down in a file.
    pub masked_field: fn(&Value) -> Option<String>,
    /// The fields of a source's spec that hold its write keys.
    pub write_key_fields: [&'static str; 2],
    /// The file of a folder that an object is in.
    pub folder_file: fn(ObjectKind, &str) -> Option<String>,
    /// The file that a spec names, which is sent with it.
    pub named_file: fn(ObjectKind, &Value) -> Option<String>,
    /// The field of a spec that holds which files were sent with it.
    pub files_field: &'static str,
    /// Where files are kept that are sent.
    pub files: PathBuf,
}

/// What runs, as far as it has followed the releases of the store, and what it says.
#[derive(Debug, Clone)]
pub struct Running {
    pub functions: watch::Receiver<TakenRevision>,
    pub destinations: watch::Receiver<TakenRevision>,
    pub destination_logs: DestinationLogs,
    /// What was last put in place.
    pub report: watch::Receiver<Arc<RunningNow>>,
}

/// How far the releases are followed.
#[derive(Debug, Clone, Default)]
pub struct TakenRevision {
    /// Every change up to this one is in place, or refused.
    pub revision: u64,
    /// By name: why a version could not be put in place; the one before it goes on.
    pub refused: BTreeMap<String, String>,
}

/// Bounds on what a client may send and how slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminLimits {
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

impl Default for AdminLimits {
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

/// Has browsers come over TLS alone for a year.
const HTTPS_ALONE: &str = "max-age=31536000";

/// The media type of answers that go on.
const EVENT_STREAM: &str = "text/event-stream";

/// Connections at once, unless file descriptors are short.
pub const CONNECTIONS_MAX: usize = 64;

/// A bound listener.
pub struct AdminApi {
    port: Port,
    door: Arc<AdminDoor>,
}

/// What handlers need.
struct SharedApi {
    settings: AdminSettings,
    login: LoginState,
    sent: SentBlobs,
    /// The numbers of the server, as they were scraped last.
    scraped: RecentAnswer<Bytes>,
    /// What keeps it from accepting events.
    unready: RecentAnswer<Vec<Value>>,
    /// What activity was asked for of late.
    activities: v1::RecentActivities,
    streams: OpenStreams,
}

/// The port: the API, and the pages beside it.
struct AdminDoor {
    api: Arc<ApiDoor>,
    pages: AdminPages,
}

struct ApiDoor {
    shared: Arc<SharedApi>,
    guard: Guard,
    router: Router,
}

impl AdminApi {
    /// Binds `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn open(listen: SocketAddr, settings: AdminSettings, pages: AdminPages) -> std::io::Result<Self> {
        let port = Port::open(listen, settings.connections.clone(), settings.trusted_proxies.clone())?;
        let port = port.with_tls(settings.tls.clone());
        let guard = Guard::new(settings.token_file.clone(), settings.limits.wrong_tokens_max);
        let key = settings.catalog.catalog.derived_key("signing in");
        let login = LoginState::new(settings.login.clone(), &key, settings.trusted_proxies.clone());
        let (sent, scraped, unready) = (SentBlobs::default(), RecentAnswer::default(), RecentAnswer::default());
        let streams = OpenStreams::new(settings.connections.connections_max);
        let activities = v1::RecentActivities::default();
        let shared = Arc::new(SharedApi { settings, login, sent, scraped, unready, activities, streams });
        let router = router(&shared);
        let api = Arc::new(ApiDoor { shared, guard, router });
        Ok(Self { port, door: Arc::new(AdminDoor { api, pages }) })
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

fn router(shared: &Arc<SharedApi>) -> Router {
    let (router, document) = openapi::routes();
    let document: Bytes = document.to_json().map(Bytes::from).unwrap_or_default();
    let shown = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    router
        .route(path::OPENAPI, axum::routing::get(async move || (shown, document)))
        .route_layer(middleware::from_fn_with_state(Arc::clone(shared), authorised))
        // These say themselves who may have them.
        .route(path::METRICS, axum::routing::get(metrics::show))
        .route(path::LIVE, axum::routing::get(health::live))
        .route(path::READY, axum::routing::get(health::ready))
        .fallback(async || ApiRefusal::not_found())
        .method_not_allowed_fallback(async || ApiRefusal::wrong_method())
        .with_state(Arc::clone(shared))
}

/// Who asks is known; whether they may is decided here, for every path, before its handler sees the request.
async fn authorised(
    shared: axum::extract::State<Arc<SharedApi>>,
    matched: MatchedPath,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiRefusal> {
    // What axum says of a request by itself is no problem with a code.
    let params = params.map_err(|_| ApiRefusal::name("what the path names is not UTF-8"))?;
    if let Some(rule) = v1::rule(request.method(), matched.as_str()) {
        v1::permit(&shared, rule, &params, &mut request).await?;
        return Ok(next.run(request).await);
    }
    let name = params.iter().next().map(|(_, value)| value);
    let asked = access::asked(request.method(), matched.as_str(), name);
    let (principal, (action, object)) =
        request.extensions().get::<Principal>().zip(asked).ok_or_else(ApiRefusal::forbidden)?;
    let workspace = engines::asked_workspace(request.uri());
    let workspace = workspace.as_deref().unwrap_or(WORKSPACE_DEFAULT);
    access::authorise(principal, action, &object, workspace).map_err(|Denied| ApiRefusal::forbidden())?;
    Ok(next.run(request).await)
}

impl Service for AdminDoor {
    async fn answer(&self, request: hyper::Request<RequestBody>, peer: Peer) -> HttpReply {
        let (mut head, body) = request.into_parts();
        let body = SharedBody(Arc::new(Mutex::new(body)));
        let is_for_https_alone = peer.over_tls && !login::is_of_this_machine(&head.headers);
        let sent = axum::body::Body::new(body.clone());
        let response = if self.pages.are_at(&head) {
            let asker = PageAsker::new(&self.api, &head, peer);
            head.extensions.insert(asker);
            answered(&self.pages.router, Request::from_parts(head, sent)).await
        } else {
            self.api.call(head, sent, peer).await
        };
        self.api.drain(body).await;
        let (mut head, body) = response.into_parts();
        if is_for_https_alone {
            head.headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ALONE));
        }
        if head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == EVENT_STREAM) {
            return reply(head, ReplyBody::streamed(body));
        }
        reply(head, ReplyBody::whole(body.collect().await.map(|body| body.to_bytes()).unwrap_or_default()))
    }

    fn too_slow(&self) -> HttpReply {
        let (head, body) = ApiRefusal::too_slow().into_answer().into_parts();
        reply(head, ReplyBody::whole(body))
    }
}

/// What a router answers: it is always ready and never fails.
async fn answered(router: &Router, request: Request) -> Response {
    router.clone().call(request).await.unwrap_or_else(|never| match never {})
}

impl ApiDoor {
    /// Answers a request that came from `peer`.
    async fn call(&self, mut head: Parts, body: axum::body::Body, peer: Peer) -> Response {
        match self.admit(&mut head, peer).await {
            Ok(()) => answered(&self.router, Request::from_parts(head, body)).await,
            Err(refusal) => refusal.into_response(),
        }
    }

    /// Tells who asks, and from where: handlers find it with the request. Whoever wants to sign in is nobody yet.
    async fn admit(&self, head: &mut Parts, peer: Peer) -> Result<(), ApiRefusal> {
        let login = &self.shared.login;
        let (address, over_tls) =
            (login.address(&head.headers, peer.address.ip()), login.over_tls(&head.headers, peer));
        head.extensions.insert(v1::AskedFrom(address.to_string()));
        head.extensions.insert(over_tls);
        let asked = head.uri.path();
        if v1::is_open(asked) || health::is_probe(asked) {
            return Ok(());
        }
        if asked == path::METRICS && self.shared.settings.metrics.admits(&head.headers) {
            head.extensions.insert(MetricsReader);
            return Ok(());
        }
        // A token in a header counts before a cookie, and never both.
        let cookie = CookieUse::Session.of(&head.headers, over_tls).filter(|cookie| !cookie.is_empty());
        let cookie = cookie.filter(|_| !head.headers.contains_key(header::AUTHORIZATION));
        let Some(session) = cookie.map(|cookie| v1::session_of(cookie).0.to_owned()) else {
            let principal = self.principal(&head.headers, address.into()).await?;
            head.extensions.insert(principal);
            return Ok(());
        };
        let origin = RequestOrigin::of(&head.headers, login.public_url.as_ref(), over_tls);
        if !head.method.is_safe() && origin != RequestOrigin::Own {
            return Err(v1::cross_site());
        }
        match self.shared.settings.catalog.catalog.session(&session, clock::now_us()).await {
            Ok(acting) => head.extensions.insert(Principal::Acting(Arc::new(acting))),
            Err(CatalogError::Credential(_)) => return Err(ApiRefusal::session_over()),
            Err(error) => return Err(ApiRefusal::failed("the catalog could not tell whose session it is", &error)),
        };
        head.extensions.insert(v1::ShownSession(session));
        Ok(())
    }

    async fn principal(&self, headers: &HeaderMap, caller: Caller) -> Result<Principal, ApiRefusal> {
        let token = bearer(headers);
        match token.filter(|token| tidegate_catalog::is_token_text(token)) {
            Some(token) => self.acting(token, caller).await,
            None => self.guard.admit(token, caller).map_err(ApiRefusal::from),
        }
    }

    /// Whose token of the catalog this is.
    async fn acting(&self, token: &str, caller: Caller) -> Result<Principal, ApiRefusal> {
        match self.shared.settings.catalog.catalog.authenticate_token(token, clock::now_us()).await {
            Ok(acting) => Ok(Principal::Acting(Arc::new(acting))),
            Err(CatalogError::Credential(_)) => Err(self.guard.wrong(caller).into()),
            Err(error) => Err(ApiRefusal::failed("the catalog could not tell whose token it is", &error)),
        }
    }

    /// The most bytes that a component may have, wherever it is sent.
    fn component_bytes_max(&self) -> usize {
        let stores = self.shared.settings.engines.values().map(|engine| engine.store.limits().component_bytes_max);
        stores.max().unwrap_or_default()
    }

    /// Reads what nobody read, and keeps nothing of it: a connection that is closed on a client in the middle of its body
    /// may take the answer with it. Bounded by time and by what a component may have.
    async fn drain(&self, mut body: SharedBody) {
        let bytes_max = self.component_bytes_max();
        let read = async {
            let mut left = bytes_max;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if bytes > left {
                    return;
                }
                left -= bytes;
            }
        };
        let _ = tokio::time::timeout(self.shared.settings.limits.unwanted_timeout, read).await;
    }
}

/// The token that a request shows in its header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
