//! The HTTP source: one port, every SDK dialect.
//!
//! Three doors: [`Settings`] are checked by whoever builds them, [`Server::open`] binds the address, [`Server::run`]
//! serves until told to stop and then lets requests in flight finish. Connections and their limits are `net`'s.

mod accept;
mod address;
mod answer;
mod body;
mod cors;
mod host;
mod key;
mod pixel;
mod rate;
mod route;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use tokio::sync::watch;

pub use crate::net::Network;
pub use host::public as public_host;
pub use key::Keys;
pub use rate::Rate;

use crate::clock;
use crate::event::Kind;
use crate::intake::{AppendError, Log};
use crate::net::{self, Caller, InFlight, Peer, Port, RequestBody as Incoming, Service, WrongTries};
use accept::Stamp;
use answer::{Answer, Reply};
use rate::Meters;
use route::Route;

/// Bounds on what a client may send and how slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// One event, as it came.
    pub event_bytes_max: usize,
    /// One request body on the wire.
    pub request_bytes_max: usize,
    /// One request body after inflating.
    pub inflated_bytes_max: usize,
    /// Inflated bytes for each byte on the wire.
    pub inflate_ratio_max: usize,
    /// Containers within containers in one event.
    pub event_depth_max: usize,
    /// Object keys at any depth in one event.
    pub event_keys_max: usize,
    /// Events in one request.
    pub request_events_max: usize,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Requests at once of one client behind a trusted proxy.
    pub requests_address_max: usize,
    /// Wrong write keys in a minute from one address; further ones are told to wait.
    pub wrong_keys_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 32 << 10,
            request_bytes_max: 512_000,
            inflated_bytes_max: 5 << 20,
            inflate_ratio_max: 100,
            event_depth_max: 64,
            event_keys_max: 10_000,
            request_events_max: 5_000,
            body_timeout: Duration::from_secs(30),
            requests_address_max: 256,
            wrong_keys_max: 60,
        }
    }
}

/// All that the server needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub connections: net::Limits,
    /// Peers whose `X-Forwarded-For` or `Forwarded` is believed.
    pub trusted_proxies: Vec<Network>,
    pub keys: Keys,
    /// How much each source may send.
    pub rates: Vec<(String, Rate)>,
    /// Host and path that SDKs are told to send to.
    pub public_host: Option<String>,
}

/// What came through the door since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub requests: AtomicU64,
    pub accepted: AtomicU64,
    /// Of the accepted: plainly wrong, on their way to quarantine.
    pub flawed: AtomicU64,
    pub refused: AtomicU64,
    pub shed: AtomicU64,
}

/// A bound listener.
pub struct Server {
    port: Port,
    door: Arc<Door>,
}

struct Door {
    settings: Arc<Settings>,
    log: Log,
    counts: Arc<Counts>,
    meters: Meters,
    /// Requests of clients behind trusted proxies.
    proxied: InFlight,
    wrong_keys: WrongTries,
    /// A host that is not known to be ours was asked for, and that was said.
    told_of_host: AtomicBool,
}

impl Server {
    /// Binds `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn open(listen: SocketAddr, settings: Settings, log: Log, counts: Arc<Counts>) -> std::io::Result<Self> {
        let port = Port::open(listen, settings.connections.clone(), settings.trusted_proxies.clone())?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let rates = settings.rates.iter().map(|(source, rate)| (source.as_str(), rate));
        let door = Door {
            meters: Meters::new(rates, cores, Instant::now()),
            proxied: InFlight::new(settings.limits.requests_address_max),
            wrong_keys: WrongTries::new(settings.limits.wrong_keys_max),
            told_of_host: AtomicBool::new(false),
            settings: Arc::new(settings),
            log,
            counts,
        };
        Ok(Self { port, door: Arc::new(door) })
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.port.address()
    }

    /// Serves until `stop` turns true; then takes no new connection and waits for the requests in flight.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        self.port.run(self.door, stop).await;
    }
}

impl Service for Door {
    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Reply {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let origin = request.headers().get(header::ORIGIN).cloned();
        if request.method() == Method::OPTIONS {
            return cors::preflight(request.headers());
        }
        let head = request.method() == Method::HEAD;
        let client = address::client_ip(request.headers(), peer.address.ip(), &self.settings.trusted_proxies);
        request.extensions_mut().insert(peer);
        let answer = self.bounded(request, peer, client.into()).await;
        match answer {
            Answer::TooBusy
            | Answer::DiskFull
            | Answer::Stopping
            | Answer::RateLimited(_)
            | Answer::TooManyRequests => {
                self.counts.shed.fetch_add(1, Ordering::Relaxed);
            }
            Answer::Bad { .. } | Answer::UnknownKey | Answer::NoSource | Answer::TooManyWrongKeys(_) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        let mut reply = answer.into_reply(head);
        if let Some(origin) = origin {
            cors::allow(reply.headers_mut(), origin);
        }
        reply
    }

    fn too_slow(&self) -> Reply {
        Answer::Slow.into_reply(false)
    }
}

impl Door {
    /// Answers, unless the client has too much in flight or has sent too many wrong keys.
    async fn bounded(&self, request: Request<Incoming>, peer: Peer, client: Caller) -> Answer {
        let _started = if client == Caller::from(peer.address.ip()) {
            None
        } else {
            match self.proxied.start(client) {
                Some(started) => Some(started),
                None => {
                    request.into_body().swallow(self.settings.limits.request_bytes_max).await;
                    return Answer::TooManyRequests;
                }
            }
        };
        let answer = self.dispatch(request, peer.address).await;
        if matches!(answer, Answer::UnknownKey | Answer::NoSource) {
            let (count, wait) = self.wrong_keys.note(client, Instant::now());
            if count == self.settings.limits.wrong_keys_max.saturating_add(1) {
                tracing::warn!(client = ?client, wrong = count, "somebody sends wrong write keys; they are told to wait");
            }
            if let Some(wait) = wait {
                return Answer::TooManyWrongKeys(wait);
            }
        }
        answer
    }

    async fn dispatch(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let route = route::find(request.uri().path());
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match (route, read) {
            (Route::Single(kind), false) => self.take(request, peer, Some(kind)).await,
            (Route::Batch, false) => self.take(request, peer, None).await,
            (Route::Discard, false) => {
                // Telemetry of the SDKs about themselves: nobody here reads it, and refusing it would be retried.
                let (parts, incoming) = request.into_parts();
                let _ = body::read(&parts.headers, incoming, &self.settings.limits).await;
                Answer::Success
            }
            (Route::Pixel(kind), true) => self.pixel(&request, peer, kind).await,
            (Route::Settings(key), true) => self.settings_for(&request, &key),
            (Route::Integrations(key), true) => match self.settings.keys.find(&key) {
                Some(_) => Answer::Json(b"[]".as_slice().into()),
                None => Answer::NoSource,
            },
            (Route::SourceConfig, true) => self.source_config(&request),
            (Route::Health, true) => self.health(),
            (Route::Version, true) => {
                Answer::Json(format!(r#"{{"name":"tidegate","version":"{}"}}"#, env!("CARGO_PKG_VERSION")).into())
            }
            (Route::Robots, true) => Answer::Text("User-agent: *\nDisallow: /\n"),
            (Route::Index, true) => Answer::Text("Tidegate is running. Point an SDK at this address.\n"),
            (Route::Unknown, _) => Answer::NotFound("no such path; see the list of routes in docs/http.md"),
            _ => Answer::WrongMethod,
        }
    }

    fn health(&self) -> Answer {
        if self.log.is_poisoned() {
            return Answer::Stopping;
        }
        Answer::Json(b"{\"status\":\"ok\"}".as_slice().into())
    }

    async fn take(&self, request: Request<Incoming>, peer: SocketAddr, kind: Option<Kind>) -> Answer {
        let (parts, incoming) = request.into_parts();
        let candidates = key::outside(&parts.headers, parts.uri.query());
        let outside = self.settings.keys.choose(&candidates);
        let meter = self.meters.of(outside.as_deref());
        if let Some(wait) = meter.in_debt(Instant::now()) {
            incoming.swallow(self.settings.limits.request_bytes_max).await;
            return Answer::RateLimited(wait);
        }
        let body = match body::read(&parts.headers, incoming, &self.settings.limits).await {
            Ok(body) => body,
            Err(bad) => return bad,
        };
        let ip = address::client(&parts.headers, peer.ip(), &self.settings.trusted_proxies);
        let read = if body.len() <= LARGE_BODY_BYTES {
            framed(&body, kind, candidates, &ip, &self.settings)
        } else {
            // A large body must not hold up the small ones that share an async thread, nor those of other sources.
            let turn = meter.turn().await;
            let settings = Arc::clone(&self.settings);
            let work = move || {
                let _turn = turn;
                framed(&body, kind, candidates, &ip, &settings)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(read) => read,
                Err(_) => return Answer::Stopping,
            }
        };
        match read {
            Ok((source, accepted)) => self.append(&source, accepted).await,
            Err(answer) => answer,
        }
    }

    async fn pixel(&self, request: &Request<Incoming>, peer: SocketAddr, kind: Kind) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        let Some(source) = self.settings.keys.choose(&key::outside(request.headers(), Some(query))) else {
            return Answer::UnknownKey;
        };
        let body = pixel::event(query);
        let survey = match accept::survey(body.as_bytes(), Some(kind), &self.settings.limits) {
            Ok(survey) => survey,
            Err(bad) => return bad,
        };
        let ip = address::client(request.headers(), peer.ip(), &self.settings.trusted_proxies);
        let stamp = Stamp { source: &source, ip: &ip, received_at_us: clock::now_us(), route: Some(kind) };
        match self.append(&source, survey.frames(body.as_bytes(), &stamp, &self.settings.limits)).await {
            Answer::Success => Answer::Gif,
            other => other,
        }
    }

    async fn append(&self, source: &str, accepted: accept::Accepted) -> Answer {
        let (events, bytes) = (accepted.frames.count(), accepted.frames.bytes());
        if events == 0 {
            return Answer::Success;
        }
        let meter = self.meters.of(Some(source));
        if let Some(wait) = meter.charge(events, bytes, Instant::now()) {
            return Answer::RateLimited(wait);
        }
        let refusal = match self.log.append_in_lane(meter.lane, accepted.frames).await {
            Ok(_) => {
                self.counts.accepted.fetch_add(events, Ordering::Relaxed);
                self.counts.flawed.fetch_add(accepted.flawed, Ordering::Relaxed);
                return Answer::Success;
            }
            Err(AppendError::Overloaded) => Answer::TooBusy,
            Err(AppendError::DiskFull) => Answer::DiskFull,
            Err(AppendError::Closed | AppendError::Poisoned) => Answer::Stopping,
        };
        meter.give_back(events, bytes);
        refusal
    }

    /// What the Segment family asks for at start. Some SDKs replace their configured host by the one that they find
    /// here; without one they keep theirs.
    fn settings_for(&self, request: &Request<Incoming>, key: &str) -> Answer {
        if self.settings.keys.find(key).is_none() {
            return Answer::NoSource;
        }
        let api = match self.own_host(request) {
            Some(host) => format!(r#","apiHost":{}"#, serde_json::json!(format!("{host}/v1"))),
            None => String::new(),
        };
        let key = serde_json::json!(key);
        Answer::Json(
            format!(
                r#"{{"integrations":{{"Hightouch.io":{{"apiKey":{key}{api}}},"Segment.io":{{"apiKey":{key}{api},"unbundledIntegrations":[],"addBundledMetadata":true,"maybeBundledConfigIds":{{}}}}}},"plan":{{"track":{{"__default":{{"enabled":true,"integrations":{{}}}}}},"identify":{{"__default":{{"enabled":true}}}},"group":{{"__default":{{"enabled":true}}}}}},"edgeFunction":{{}},"middlewareSettings":{{}},"enabledMiddleware":{{}},"metrics":{{"sampleRate":0}},"legacyVideoPluginsEnabled":false,"remotePlugins":[],"consentSettings":{{"allCategories":[]}},"analyticsNextEnabled":true}}"#
            )
            .into(),
        )
    }

    /// The name under which SDKs reach us: what the configuration says, else the `Host` that was asked for, if it names
    /// this server.
    fn own_host(&self, request: &Request<Incoming>) -> Option<String> {
        if let Some(host) = &self.settings.public_host {
            return Some(host.clone());
        }
        let host = request.headers().get(header::HOST)?.to_str().ok()?;
        let local = request.extensions().get::<Peer>()?.local;
        if host::is_ours(host, local) {
            return Some(host.to_owned());
        }
        if !self.told_of_host.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                host = ?host.chars().take(255).collect::<String>(),
                "an SDK asked for its settings under a name that is not known to be ours, so they name no host; set public_url in tidegate.yaml"
            );
        }
        None
    }

    /// What the RudderStack family asks for at start.
    fn source_config(&self, request: &Request<Incoming>) -> Answer {
        let candidates = key::outside(request.headers(), request.uri().query());
        let Some((source, key)) = candidates.iter().find_map(|key| Some((self.settings.keys.find(key)?, key))) else {
            return Answer::UnknownKey;
        };
        let body = serde_json::json!({
            "source": {
                "id": &*source, "name": &*source, "writeKey": key, "enabled": true, "workspaceId": "tidegate",
                "sourceDefinitionId": "tidegate", "updatedAt": "2026-01-01T00:00:00.000Z",
                "config": {"statsCollection": {"errors": {"enabled": false}, "metrics": {"enabled": false}}},
                "destinations": [], "connections": [], "dataplanes": {},
            },
            "updatedAt": "2026-01-01T00:00:00.000Z",
        });
        Answer::Json(body.to_string().into())
    }
}

/// Bodies up to this size are read where they came in; the way to another thread costs more.
const LARGE_BODY_BYTES: usize = 64 << 10;

/// From a body to records of a source.
fn framed(
    body: &[u8],
    kind: Option<Kind>,
    mut candidates: Vec<String>,
    ip: &str,
    settings: &Settings,
) -> Result<(Arc<str>, accept::Accepted), Answer> {
    let survey = accept::survey(body, kind, &settings.limits).map_err(|bad| {
        // An unknown key outranks a bad body, so that nobody learns more than that.
        let unknown = !candidates.is_empty() && settings.keys.choose(&candidates).is_none();
        if unknown { Answer::UnknownKey } else { bad }
    })?;
    candidates.extend(survey.write_keys(body));
    let source = settings.keys.choose(&candidates).ok_or(Answer::UnknownKey)?;
    let stamp = Stamp { source: &source, ip, received_at_us: clock::now_us(), route: kind };
    let accepted = survey.frames(body, &stamp, &settings.limits);
    Ok((source, accepted))
}

/// A header value that was written here.
const fn fixed(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}
