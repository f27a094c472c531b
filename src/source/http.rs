//! The HTTP source: one port, every SDK dialect.
//!
//! Three doors: [`Settings`] are checked by whoever builds them, [`Server::open`] binds the address, [`Server::run`]
//! serves until told to stop and then lets requests in flight finish.

mod accept;
mod address;
mod answer;
mod body;
mod cors;
mod key;
mod pixel;
mod route;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use address::Network;
pub use key::Keys;

use crate::clock;
use crate::intake::{AppendError, Log};
use accept::Stamp;
use answer::{Answer, Reply};
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
    /// Time for a request's head, and for the next request on an idle connection.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Connections at once; more wait in the kernel's backlog.
    pub connections_max: usize,
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
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            connections_max: 4096,
        }
    }
}

/// All that the server needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    pub keys: Keys,
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
    listener: TcpListener,
    door: Arc<Door>,
}

struct Door {
    settings: Settings,
    log: Log,
    counts: Arc<Counts>,
}

impl Server {
    /// Binds `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn open(listen: SocketAddr, settings: Settings, log: Log, counts: Arc<Counts>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        Ok(Self { listener, door: Arc::new(Door { settings, log, counts }) })
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true; then takes no new connection and waits for the requests in flight.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(self.door.settings.limits.connections_max));
        loop {
            let permit = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                permit = Arc::clone(&connections).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely; the next one may fare better after a moment.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let door = Arc::clone(&self.door);
            let mut stop = stop.clone();
            tokio::spawn(async move {
                let limits = &door.settings.limits;
                let service = service_fn(|request| {
                    let door = Arc::clone(&door);
                    async move { Ok::<_, Infallible>(door.answer(request, peer).await) }
                });
                let mut server = hyper::server::conn::http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(64 << 10);
                let connection = server.serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                let stopping = tokio::select! {
                    // A client that breaks off is its own business.
                    _ = connection.as_mut() => false,
                    _ = stop.wait_for(|stop| *stop) => true,
                };
                if stopping {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.as_mut().await;
                }
                drop(permit);
            });
        }
        drop(self.listener);
        // All permits back means that all connections have ended.
        let all = u32::try_from(self.door.settings.limits.connections_max).unwrap_or(u32::MAX);
        let _ = connections.acquire_many(all).await;
    }
}

impl Door {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let origin = request.headers().get(header::ORIGIN).cloned();
        if request.method() == Method::OPTIONS {
            return cors::preflight(request.headers());
        }
        let head = request.method() == Method::HEAD;
        let answer = self.dispatch(request, peer).await;
        match answer {
            Answer::TooBusy | Answer::DiskFull | Answer::Stopping => {
                self.counts.shed.fetch_add(1, Ordering::Relaxed);
            }
            Answer::Bad { .. } | Answer::UnknownKey => {
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
                None => Answer::NotFound("no source has this write key"),
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

    async fn take(&self, request: Request<Incoming>, peer: SocketAddr, kind: Option<crate::event::Kind>) -> Answer {
        let (parts, incoming) = request.into_parts();
        let body = match body::read(&parts.headers, incoming, &self.settings.limits).await {
            Ok(body) => body,
            Err(bad) => return bad,
        };
        let mut candidates = key::outside(&parts.headers, parts.uri.query());
        let ip = address::client(&parts.headers, peer.ip(), &self.settings.trusted_proxies);
        let survey = match accept::survey(&body, kind, &self.settings.limits) {
            Ok(survey) => survey,
            Err(bad) => {
                // An unknown key outranks a bad body, so that nobody learns more than that.
                let unknown = !candidates.is_empty() && self.settings.keys.choose(&candidates).is_none();
                return if unknown { Answer::UnknownKey } else { bad };
            }
        };
        candidates.extend(survey.write_keys(&body));
        let Some(source) = self.settings.keys.choose(&candidates) else { return Answer::UnknownKey };
        let stamp = Stamp { source: &source, ip: &ip, received_at_us: clock::now_us(), route: kind };
        let accepted = survey.frames(&body, &stamp, &self.settings.limits);
        self.append(accepted).await
    }

    async fn pixel(&self, request: &Request<Incoming>, peer: SocketAddr, kind: crate::event::Kind) -> Answer {
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
        match self.append(survey.frames(body.as_bytes(), &stamp, &self.settings.limits)).await {
            Answer::Success => Answer::Gif,
            other => other,
        }
    }

    async fn append(&self, accepted: accept::Accepted) -> Answer {
        let events = accepted.frames.count();
        if events == 0 {
            return Answer::Success;
        }
        match self.log.append(accepted.frames).await {
            Ok(_) => {
                self.counts.accepted.fetch_add(events, Ordering::Relaxed);
                self.counts.flawed.fetch_add(accepted.flawed, Ordering::Relaxed);
                Answer::Success
            }
            Err(AppendError::Overloaded) => Answer::TooBusy,
            Err(AppendError::DiskFull) => Answer::DiskFull,
            Err(AppendError::Closed | AppendError::Poisoned) => Answer::Stopping,
        }
    }

    /// What the Segment family asks for at start. The host that the client used is echoed, because some SDKs
    /// replace their configured host with the one they find here.
    fn settings_for(&self, request: &Request<Incoming>, key: &str) -> Answer {
        if self.settings.keys.find(key).is_none() {
            return Answer::NotFound("no source has this write key");
        }
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let api = serde_json::json!(format!("{host}/v1"));
        let key = serde_json::json!(key);
        Answer::Json(
            format!(
                r#"{{"integrations":{{"Hightouch.io":{{"apiKey":{key},"apiHost":{api}}},"Segment.io":{{"apiKey":{key},"apiHost":{api},"unbundledIntegrations":[],"addBundledMetadata":true,"maybeBundledConfigIds":{{}}}}}},"plan":{{"track":{{"__default":{{"enabled":true,"integrations":{{}}}}}},"identify":{{"__default":{{"enabled":true}}}},"group":{{"__default":{{"enabled":true}}}}}},"edgeFunction":{{}},"middlewareSettings":{{}},"enabledMiddleware":{{}},"metrics":{{"sampleRate":0}},"legacyVideoPluginsEnabled":false,"remotePlugins":[],"consentSettings":{{"allCategories":[]}},"analyticsNextEnabled":true}}"#
            )
            .into(),
        )
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

/// A header value that was written here.
const fn fixed(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}
