//! The HTTP source: one port, every SDK dialect.
//!
//! Three doors: [`IngestSettings`] are checked by whoever builds them, [`IngestServer::open`] binds the address, [`IngestServer::run`]
//! serves until told to stop and then lets requests in flight finish. Connections and their limits are `net`'s.

mod accept;
mod address;
mod answer;
mod body;
mod browser_cookies;
mod browser_sdk;
mod cors;
mod entrance;
mod environments;
mod host;
mod inflate;
mod key;
mod mapped_frames;
mod pixel;
mod rate;
mod remote;
mod route;
mod scan;
mod unfinished;
mod webhook_entrance;
mod webhooks;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use tokio::sync::watch;

pub use address::client as client_address;
pub use browser_cookies::{BrowserCookies, COOKIE_AGE_MAX, cookie_domain, cookie_origin};
pub use entrance::{Entrance, EntranceSettings};
pub use environments::DoorEnvironment;
pub use host::public as public_host;
pub use key::{KEY_BYTES_MAX, KeyHasher, KeyOrigin, KeyUses, WriteKey, WriteKeys};
pub use mapped_frames::MappedFrames;
pub(crate) use rate::Meter;
pub use rate::Rate;
pub use tidegate_net::Network;
pub use webhook_entrance::WebhookEntrance;

use accept::{Accepted, Stamp};
use answer::{HttpAnswer, HttpReply};
use body::{Decoders, WireBody};
use environments::{DoorEnvironments, OpenedSource};
use route::HttpRoute;
use tidegate_event::EventKind;
use tidegate_log::{AppendError, Partitioner};
use tidegate_message::MessageLimits;
use tidegate_metrics::{SeriesFamily, TraceContext};
use tidegate_net::{self as net, Caller, InFlight, Peer, Port, PortTls, RequestBody, Service, WrongTries};
use tidegate_process::clock;
use unfinished::UnfinishedBodies;

/// Bounds on what a client may send and how slowly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
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
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Requests at once of one client behind a trusted proxy.
    pub requests_address_max: usize,
    /// Wrong write keys in a minute from one address; further ones are told to wait.
    pub wrong_keys_max: u32,
}

impl Default for RequestLimits {
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
            body_timeout: Duration::from_secs(30),
            requests_address_max: 256,
            wrong_keys_max: 60,
        }
    }
}

/// A part of a message that is larger is not read. It is more than an event may have, since a mapping may take little of a message.
const PART_BYTES_MAX: usize = 1 << 20;

impl RequestLimits {
    /// What is read of a message that may have so many parts.
    #[must_use]
    pub fn of_message(&self, parts_max: usize) -> MessageLimits {
        MessageLimits {
            parts_max,
            bytes_max: self.event_bytes_max.max(PART_BYTES_MAX),
            depth_max: self.event_depth_max,
            keys_max: self.event_keys_max,
        }
    }
}

/// All that the server needs to know.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    pub limits: RequestLimits,
    pub connections: net::ConnectionLimits,
    /// Peers whose `X-Forwarded-For` or `Forwarded` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Host and path that SDKs are told to send to.
    pub public_host: Option<String>,
    /// Who may use the cookie service, and how.
    pub browser_cookies: BrowserCookies,
    /// How the port speaks TLS, if it does.
    pub tls: Option<Arc<PortTls>>,
}

/// What came through the door since the start.
#[derive(Debug, Default)]
pub struct IntakeCounts {
    pub requests: AtomicU64,
    pub accepted: AtomicU64,
    /// Of the accepted: plainly wrong, on their way to quarantine.
    pub malformed: AtomicU64,
    pub refused: AtomicU64,
    pub shed: AtomicU64,
    /// Those that were refused or shed, by the code of the answer.
    pub refusals: SeriesFamily<AtomicU64>,
}

/// A bound listener.
pub struct IngestServer {
    port: Port,
    door: Arc<IngestDoor>,
}

struct IngestDoor {
    settings: Arc<IngestSettings>,
    environments: DoorEnvironments,
    counts: Arc<IntakeCounts>,
    unfinished: UnfinishedBodies,
    decoders: Decoders,
    /// Requests of clients behind trusted proxies.
    proxied: InFlight,
    wrong_keys: WrongTries,
    /// A host that is not known to be ours was asked for, and that was said.
    told_of_host: AtomicBool,
}

impl IngestServer {
    /// Binds `listen`. A write key is looked for in `environments`, of which there is at least one, in their order.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn open(
        listen: SocketAddr,
        settings: IngestSettings,
        environments: Vec<DoorEnvironment>,
        counts: Arc<IntakeCounts>,
    ) -> std::io::Result<Self> {
        let port = Port::open(listen, settings.connections.clone(), settings.trusted_proxies.clone())?;
        let port = port.with_tls(settings.tls.clone());
        let door = IngestDoor {
            unfinished: UnfinishedBodies::new(&settings.limits),
            decoders: Decoders::new(),
            proxied: InFlight::new(settings.limits.requests_address_max),
            wrong_keys: WrongTries::new(settings.limits.wrong_keys_max),
            told_of_host: AtomicBool::new(false),
            settings: Arc::new(settings),
            environments: DoorEnvironments::new(environments),
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

impl Service for IngestDoor {
    async fn answer(&self, request: Request<RequestBody>, peer: Peer) -> HttpReply {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, incoming) = request.into_parts();
        let mut wire = WireBody::new(&parts.headers, incoming);
        let reader = cors::reader(&parts.headers, parts.uri.path(), &self.settings.browser_cookies);
        let mut reply = if parts.method == Method::OPTIONS {
            cors::preflight(&parts.headers, reader)
        } else {
            let answer = self.bounded(&parts, &mut wire, peer).await;
            self.count(&answer);
            let mut reply = answer.into_reply(parts.method == Method::HEAD);
            if let Some(origin) = reader {
                cors::allow(reply.headers_mut(), origin);
            }
            reply
        };
        // A client that is still sending would find its connection reset instead of an answer.
        if !wire.finish().await {
            reply.headers_mut().insert(header::CONNECTION, fixed("close"));
        }
        reply
    }

    fn too_slow(&self) -> HttpReply {
        self.count(&HttpAnswer::Slow);
        HttpAnswer::Slow.into_reply(false)
    }
}

impl IngestDoor {
    fn count(&self, answer: &HttpAnswer) {
        if let Some(reason) = answer.refusal() {
            self.counts.refusals.of(&[reason]).fetch_add(1, Ordering::Relaxed);
        }
        match answer {
            HttpAnswer::TooBusy(_)
            | HttpAnswer::DiskFull
            | HttpAnswer::Stopping
            | HttpAnswer::RateLimited(_)
            | HttpAnswer::SourcePaused
            | HttpAnswer::TooManyRequests => {
                self.counts.shed.fetch_add(1, Ordering::Relaxed);
            }
            HttpAnswer::Bad { .. }
            | HttpAnswer::TooLarge { .. }
            | HttpAnswer::UnknownKey
            | HttpAnswer::WrongSignature(_)
            | HttpAnswer::KeyOutside
            | HttpAnswer::NoSource
            | HttpAnswer::TooManyWrongKeys(_) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Answers, unless the client has too much in flight or has sent too many wrong keys.
    async fn bounded(&self, parts: &Parts, wire: &mut WireBody, peer: Peer) -> HttpAnswer {
        let ip = address::client(&parts.headers, peer.address.ip(), &self.settings.trusted_proxies);
        let client = Caller::from(ip);
        let is_proxied = client != Caller::from(peer.address.ip());
        let started = if is_proxied { self.proxied.start(client) } else { None };
        if is_proxied && started.is_none() {
            return HttpAnswer::TooManyRequests;
        }
        let answer = self.dispatch(parts, wire, peer, ip).await;
        if matches!(answer, HttpAnswer::UnknownKey | HttpAnswer::NoSource | HttpAnswer::WrongSignature(_)) {
            let (count, wait) = self.wrong_keys.note(client, Instant::now());
            if count == self.settings.limits.wrong_keys_max.saturating_add(1) {
                tracing::warn!(client = ?client, wrong = count, "somebody sends wrong write keys or signatures; they are told to wait");
            }
            if let Some(wait) = wait {
                return HttpAnswer::TooManyWrongKeys(wait);
            }
        }
        answer
    }

    async fn dispatch(&self, parts: &Parts, wire: &mut WireBody, peer: Peer, ip: IpAddr) -> HttpAnswer {
        let route = route::find(parts.uri.path());
        let read = matches!(parts.method, Method::GET | Method::HEAD);
        match (route, read) {
            (HttpRoute::Single(kind), false) => self.take(parts, wire, ip, Some(kind)).await,
            (HttpRoute::Batch, false) => self.take(parts, wire, ip, None).await,
            // Telemetry of the SDKs about themselves: nobody here reads it, and refusing it would be retried. What it
            // sends is read to its end before the answer, and nothing of it is kept.
            (HttpRoute::Discard, false) => HttpAnswer::Success,
            (HttpRoute::Pixel(kind), true) => self.pixel(parts, ip, kind).await,
            (HttpRoute::Webhook(path), false) => self.webhook(parts, wire, ip, &path).await,
            (HttpRoute::Webhook(path), true) => self.webhook_question(parts, &path),
            (HttpRoute::Settings(key), true) => self.settings_for(&parts.headers, peer, &key),
            (HttpRoute::Integrations(key), true) => match self.environments.find(&key, clock::now_us()) {
                Some(_) => HttpAnswer::Json(b"[]".as_slice().into()),
                None => HttpAnswer::NoSource,
            },
            (HttpRoute::SourceConfig, true) => self.source_config(parts),
            (HttpRoute::Sdk(file), true) => browser_sdk::answer(&file, &parts.headers),
            (HttpRoute::Cookies(call), false) => self.settings.browser_cookies.answer(call, &parts.headers),
            (HttpRoute::Health, true) => self.health(),
            (HttpRoute::Conservation, true) if self.environments.has_breach() => HttpAnswer::Breach,
            (HttpRoute::Conservation, true) => HttpAnswer::Json(b"{\"status\":\"ok\"}".as_slice().into()),
            (HttpRoute::Version, true) => {
                HttpAnswer::Json(format!(r#"{{"name":"tidegate","version":"{}"}}"#, env!("CARGO_PKG_VERSION")).into())
            }
            (HttpRoute::Robots, true) => HttpAnswer::Text("User-agent: *\nDisallow: /\n"),
            (HttpRoute::Index, true) => HttpAnswer::Text("Tidegate is running. Point an SDK at this address.\n"),
            (HttpRoute::Unknown, _) => HttpAnswer::NotFound("no such path; see the list of routes in docs/http.md"),
            _ => HttpAnswer::WrongMethod,
        }
    }

    fn health(&self) -> HttpAnswer {
        if self.environments.is_poisoned() {
            return HttpAnswer::Stopping;
        }
        HttpAnswer::Json(b"{\"status\":\"ok\"}".as_slice().into())
    }

    async fn take(&self, parts: &Parts, wire: &mut WireBody, ip: IpAddr, kind: Option<EventKind>) -> HttpAnswer {
        let outside = key::outside(&parts.headers, parts.uri.query());
        let known = match self.environments.open(&outside, clock::now_us()) {
            Ok(None) if !outside.is_empty() => return HttpAnswer::UnknownKey,
            Ok(known) => known,
            Err(paused) => return paused,
        };
        let meter = known.as_ref().map_or_else(|| self.environments.meter_of_unknown(), OpenedSource::meter);
        if let Some(wait) = meter.in_debt(Instant::now()) {
            return HttpAnswer::RateLimited(wait);
        }
        let room = if known.is_some() { &self.unfinished.known } else { &self.unfinished.unknown };
        let limits = &self.settings.limits;
        let body = match wire.read(&parts.headers, (room.enter(ip), known.is_some()), &self.decoders, limits).await {
            Ok(body) => body,
            Err(bad) => return bad,
        };
        let read = if body.len() <= LARGE_BODY_BYTES {
            // What waits for the disk has a budget of its own: the body goes.
            framed(&body, kind, known, ip, (limits, &self.environments))
        } else {
            // A large body must not hold up the small ones that share an async thread, nor those of other sources.
            let turn = meter.turn().await;
            let (settings, environments) = (Arc::clone(&self.settings), self.environments.clone());
            let work = move || {
                let _turn = turn;
                framed(&body, kind, known, ip, (&settings.limits, &environments))
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(read) => read,
                Err(_) => return HttpAnswer::Stopping,
            }
        };
        match read {
            Ok(admitted) => self.append(admitted, parts).await,
            Err(answer) => answer,
        }
    }

    async fn pixel(&self, parts: &Parts, ip: IpAddr, kind: EventKind) -> HttpAnswer {
        let query = parts.uri.query().unwrap_or_default();
        let received_at_us = clock::now_us();
        let opened = match self.environments.open(&key::outside(&parts.headers, Some(query)), received_at_us) {
            Ok(Some(opened)) => opened,
            Ok(None) => return HttpAnswer::UnknownKey,
            Err(paused) => return paused,
        };
        let limits = &self.settings.limits;
        let partitioner = self.environments.at(opened.at).log.partitioner();
        let ip = ip.to_string();
        let stamp = Stamp { source: &opened.key.source, partitioner, ip: &ip, received_at_us, route: Some(kind) };
        let accepted =
            pixel::scan(query, kind, limits).and_then(|(body, scan)| scan.frames_within(&body, &stamp, limits));
        let answer = match accepted {
            Ok(accepted) => self.append(AdmittedEvents { opened, accepted, received_at_us }, parts).await,
            Err(bad) => return bad,
        };
        if answer == HttpAnswer::Success { HttpAnswer::Gif } else { answer }
    }

    /// Appends what an entrance let in, if the entrance of now lets it in too.
    async fn append(&self, admitted: AdmittedEvents, parts: &Parts) -> HttpAnswer {
        let AdmittedEvents { opened, accepted, received_at_us } = admitted;
        let OpenedSource { at, mut entrance, mut key } = opened;
        let environment = self.environments.at(at);
        let changed = {
            let now = environment.entrance.borrow();
            (!Arc::ptr_eq(&now, &entrance)).then(|| Arc::clone(&now))
        };
        if let Some(changed) = changed {
            key = match changed.admits(&key, received_at_us) {
                Ok(key) => key,
                Err(refusal) => return refusal,
            };
            entrance = changed;
        } else if key.has_ended(received_at_us) {
            return HttpAnswer::UnknownKey;
        }
        let (events, bytes) = (accepted.events(), accepted.bytes());
        if events == 0 {
            return HttpAnswer::Success;
        }
        if !environment.log.can_ever_take(&accepted.parts) {
            let message = format!(
                "the request needs {bytes} bytes in the log, more than log.pending_bytes_max lets wait for the disk in \
                 one partition; send smaller batches"
            );
            return HttpAnswer::TooLarge { code: "expands-too-far", message };
        }
        let meter = entrance.meter(Some(&key.source));
        if let Some(wait) = meter.charge(events, bytes, Instant::now()) {
            return HttpAnswer::RateLimited(wait);
        }
        let metrics = &environment.metrics;
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        let trace = metrics.spans.begin(traceparent, &key.source, received_at_us);
        let began = Instant::now();
        let appended = environment.log.append(meter.lane, accepted.parts).await;
        if let Some(trace) = trace {
            finish_accept(environment, &key.source, (trace, received_at_us), (events, appended.is_ok()));
        }
        let refusal = match appended {
            Ok(()) => {
                let numbers = metrics.ingest.of(&[&*key.source]);
                numbers.acknowledge.observe(began.elapsed());
                numbers.events.fetch_add(events, Ordering::Relaxed);
                numbers.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                self.counts.accepted.fetch_add(events, Ordering::Relaxed);
                self.counts.malformed.fetch_add(accepted.malformed, Ordering::Relaxed);
                key.uses.note_accepted(events);
                return HttpAnswer::Success;
            }
            Err(AppendError::Overloaded) => HttpAnswer::TooBusy("the disk cannot keep up; try again"),
            Err(AppendError::DiskFull) => HttpAnswer::DiskFull,
            Err(AppendError::Closed | AppendError::Poisoned) => HttpAnswer::Stopping,
        };
        meter.give_back(events, bytes);
        refusal
    }
}

/// The span of a request whose events are on disk, or are not.
fn finish_accept(
    environment: &DoorEnvironment,
    source: &str,
    (trace, received_at_us): (TraceContext, i64),
    (events, is_accepted): (u64, bool),
) {
    let mut span = trace.own("accept", (received_at_us, clock::now_us()));
    span = span.text("tidegate.source", source).number("messaging.batch.message_count", events);
    if !is_accepted {
        span.error = Some("the log did not take the events".to_owned());
    }
    environment.metrics.spans.finish(span);
}

/// Bodies up to this size are read where they came in; the way to another thread costs more.
const LARGE_BODY_BYTES: usize = 64 << 10;

/// Records of a request, and what let them in.
struct AdmittedEvents {
    opened: OpenedSource,
    accepted: Accepted,
    received_at_us: i64,
}

/// From a body to records of a source: the one whose key stood outside the body, else the one that the body names.
fn framed(
    body: &[u8],
    kind: Option<EventKind>,
    known: Option<OpenedSource>,
    ip: IpAddr,
    (limits, environments): (&RequestLimits, &DoorEnvironments),
) -> Result<AdmittedEvents, HttpAnswer> {
    let scan = scan::scan(body, kind, limits)?;
    let received_at_us = clock::now_us();
    let opened = match known {
        Some(opened) => opened,
        None => environments.open(&scan.write_keys(body), received_at_us)?.ok_or(HttpAnswer::UnknownKey)?,
    };
    let ip = ip.to_string();
    let partitioner = environments.at(opened.at).log.partitioner();
    let stamp = Stamp { source: &opened.key.source, partitioner, ip: &ip, received_at_us, route: kind };
    let accepted = scan.frames_within(body, &stamp, limits)?;
    Ok(AdmittedEvents { opened, accepted, received_at_us })
}

/// What the door makes of a body, without a socket: the events that it finds. For fuzzing.
///
/// # Errors
/// The code of the refusal.
#[doc(hidden)]
pub fn try_body(kind: Option<EventKind>, body: &[u8]) -> Result<u64, &'static str> {
    let limits = RequestLimits::default();
    let code = |answer| match answer {
        HttpAnswer::Bad { code, .. } | HttpAnswer::TooLarge { code, .. } => code,
        _ => "other",
    };
    let stamp =
        Stamp { source: "fuzz", partitioner: Partitioner::ONE, ip: "127.0.0.1", received_at_us: 0, route: kind };
    let scan = scan::scan(body, kind, &limits).map_err(code)?;
    let _ = scan.write_keys(body);
    scan.frames_within(body, &stamp, &limits).map(|accepted| accepted.events()).map_err(code)
}

/// A header value that was written here.
const fn fixed(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}

#[cfg(test)]
mod tests;
