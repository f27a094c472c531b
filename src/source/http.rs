//! The HTTP source: one port, every SDK dialect.
//!
//! Three doors: [`Settings`] are checked by whoever builds them, [`Server::open`] binds the address, [`Server::run`]
//! serves until told to stop and then lets requests in flight finish.

mod accept;
mod address;
mod answer;
mod body;
mod cors;
mod inflate;
mod key;
mod pixel;
mod route;
mod slim;
mod survey;
mod unfinished;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use address::Network;
pub use key::Keys;

use crate::clock;
use crate::event::Kind;
use crate::intake::{AppendError, Log};
use accept::Stamp;
use answer::{Answer, Reply};
use body::{Decoders, Wire};
use route::Route;
use slim::Slim;
use unfinished::Unfinished;

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
    /// The events of one request, each with what the batch says for all of them.
    pub request_expanded_bytes_max: usize,
    /// Bodies that have not arrived whole, of all connections together.
    pub unfinished_bytes_max: usize,
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
            request_expanded_bytes_max: 20 << 20,
            unfinished_bytes_max: 64 << 20,
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
    unfinished: Unfinished,
    decoders: Decoders,
}

impl Server {
    /// Binds `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn open(listen: SocketAddr, settings: Settings, log: Log, counts: Arc<Counts>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let unfinished = Unfinished::new(&settings.limits);
        let door = Door { settings, log, counts, unfinished, decoders: Decoders::new() };
        Ok(Self { listener, door: Arc::new(door) })
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
                let connection = server.serve_connection(TokioIo::new(Slim(stream)), service);
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
        let (parts, incoming) = request.into_parts();
        let mut wire = Wire::new(&parts.headers, incoming);
        let mut reply = if parts.method == Method::OPTIONS {
            cors::preflight(&parts.headers)
        } else {
            let answer = self.dispatch(&parts, &mut wire, peer).await;
            self.count(&answer);
            let mut reply = answer.into_reply(parts.method == Method::HEAD);
            if let Some(origin) = parts.headers.get(header::ORIGIN) {
                cors::allow(reply.headers_mut(), origin.clone());
            }
            reply
        };
        // A client that is still sending would find its connection reset instead of an answer.
        if !wire.finish().await {
            reply.headers_mut().insert(header::CONNECTION, fixed("close"));
        }
        reply
    }

    fn count(&self, answer: &Answer) {
        match answer {
            Answer::TooBusy(_) | Answer::DiskFull | Answer::Stopping => {
                self.counts.shed.fetch_add(1, Ordering::Relaxed);
            }
            Answer::Bad { .. } | Answer::TooLarge { .. } | Answer::UnknownKey | Answer::KeyOutside => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    async fn dispatch(&self, parts: &Parts, wire: &mut Wire, peer: SocketAddr) -> Answer {
        let route = route::find(parts.uri.path());
        let read = matches!(parts.method, Method::GET | Method::HEAD);
        match (route, read) {
            (Route::Single(kind), false) => self.take(parts, wire, peer, Some(kind)).await,
            (Route::Batch, false) => self.take(parts, wire, peer, None).await,
            // Telemetry of the SDKs about themselves: nobody here reads it, and refusing it would be retried. What it
            // sends is read to its end before the answer, and nothing of it is kept.
            (Route::Discard, false) => Answer::Success,
            (Route::Pixel(kind), true) => self.pixel(parts, peer, kind).await,
            (Route::Settings(key), true) => self.settings_for(&parts.headers, &key),
            (Route::Integrations(key), true) => match self.settings.keys.find(&key) {
                Some(_) => Answer::Json(b"[]".as_slice().into()),
                None => Answer::NotFound("no source has this write key"),
            },
            (Route::SourceConfig, true) => self.source_config(parts),
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

    async fn take(&self, parts: &Parts, wire: &mut Wire, peer: SocketAddr, kind: Option<Kind>) -> Answer {
        let outside = key::outside(&parts.headers, parts.uri.query());
        let known = self.settings.keys.choose(&outside);
        if known.is_none() && !outside.is_empty() {
            return Answer::UnknownKey;
        }
        let ip = address::client(&parts.headers, peer.ip(), &self.settings.trusted_proxies);
        let room = if known.is_some() { &self.unfinished.known } else { &self.unfinished.strangers };
        let share = room.enter(ip.parse().unwrap_or(peer.ip()));
        let limits = &self.settings.limits;
        let body = match wire.read(&parts.headers, (share, known.is_some()), &self.decoders, limits).await {
            Ok(body) => body,
            Err(bad) => return bad,
        };
        let survey = match survey::survey(&body, kind, limits) {
            Ok(survey) => survey,
            Err(bad) => return bad,
        };
        let source = known.or_else(|| self.settings.keys.choose(&survey.write_keys(&body)));
        let Some(source) = source else { return Answer::UnknownKey };
        let stamp = Stamp { source: &source, ip: &ip, received_at_us: clock::now_us(), route: kind };
        let accepted = survey.frames_within(&body, &stamp, limits);
        // What waits for the disk has a budget of its own.
        drop((survey, body));
        self.append(accepted).await
    }

    async fn pixel(&self, parts: &Parts, peer: SocketAddr, kind: Kind) -> Answer {
        let query = parts.uri.query().unwrap_or_default();
        let Some(source) = self.settings.keys.choose(&key::outside(&parts.headers, Some(query))) else {
            return Answer::UnknownKey;
        };
        let limits = &self.settings.limits;
        let (body, survey) = match pixel::survey(query, kind, limits) {
            Ok(found) => found,
            Err(bad) => return bad,
        };
        let ip = address::client(&parts.headers, peer.ip(), &self.settings.trusted_proxies);
        let stamp = Stamp { source: &source, ip: &ip, received_at_us: clock::now_us(), route: Some(kind) };
        match self.append(survey.frames_within(&body, &stamp, limits)).await {
            Answer::Success => Answer::Gif,
            other => other,
        }
    }

    async fn append(&self, accepted: Result<accept::Accepted, Answer>) -> Answer {
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(bad) => return bad,
        };
        let events = accepted.frames.count();
        if events == 0 {
            return Answer::Success;
        }
        let bytes = accepted.frames.bytes();
        if !self.log.can_ever_take(bytes) {
            let message = format!(
                "the request needs {bytes} bytes in the log, more than log.pending_bytes_max lets wait for the disk; \
                 send smaller batches"
            );
            return Answer::TooLarge { code: "expands-too-far", message };
        }
        match self.log.append(accepted.frames).await {
            Ok(_) => {
                self.counts.accepted.fetch_add(events, Ordering::Relaxed);
                self.counts.flawed.fetch_add(accepted.flawed, Ordering::Relaxed);
                Answer::Success
            }
            Err(AppendError::Overloaded) => Answer::TooBusy("the disk cannot keep up; try again"),
            Err(AppendError::DiskFull) => Answer::DiskFull,
            Err(AppendError::Closed | AppendError::Poisoned) => Answer::Stopping,
        }
    }

    /// What the Segment family asks for at start. The host that the client used is echoed, because some SDKs
    /// replace their configured host with the one they find here.
    fn settings_for(&self, headers: &HeaderMap, key: &str) -> Answer {
        if self.settings.keys.find(key).is_none() {
            return Answer::NotFound("no source has this write key");
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
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
    fn source_config(&self, parts: &Parts) -> Answer {
        let candidates = key::outside(&parts.headers, parts.uri.query());
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

/// What the door makes of a body, without a socket: the events that it finds. For fuzzing.
///
/// # Errors
/// The code of the refusal.
#[doc(hidden)]
pub fn try_body(kind: Option<Kind>, body: &[u8]) -> Result<u64, &'static str> {
    let limits = Limits::default();
    let code = |answer| match answer {
        Answer::Bad { code, .. } | Answer::TooLarge { code, .. } => code,
        _ => "other",
    };
    let stamp = Stamp { source: "fuzz", ip: "127.0.0.1", received_at_us: 0, route: kind };
    let survey = survey::survey(body, kind, &limits).map_err(code)?;
    let _ = survey.write_keys(body);
    survey.frames_within(body, &stamp, &limits).map(|accepted| accepted.frames.count()).map_err(code)
}

/// A header value that was written here.
const fn fixed(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}
