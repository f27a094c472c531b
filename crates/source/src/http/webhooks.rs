//! Webhooks at the door: who may send is known by a write key or, once the body is there, by its signature; the message becomes
//! records of the log, the answer comes when they are on disk.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use tidegate_event::value::{JsonObject, Value};
use tidegate_message::{self as message, TooManyParts, UpstreamMessage};
use tidegate_process::clock;

use super::accept::Accepted;
use super::answer::HttpAnswer;
use super::body::WireBody;
use super::environments::{DoorEnvironments, OpenedSource};
use super::key::{self, CANDIDATES_MAX};
use super::mapped_frames::MappedFrames;
use super::route::WebhookPath;
use super::webhook_entrance::WebhookEntrance;
use super::{AdmittedEvents, IngestDoor, LARGE_BODY_BYTES, RequestLimits};
use crate::webhook::{ChallengeAnswer, SignatureProblem, WEBHOOK_KIND};

/// A request that may go on to its body.
struct WebhookRequest {
    /// Sources that it may be for: of each environment one at the most, and one in all where a write key was shown.
    candidates: Vec<WebhookCandidate>,
    /// A write key was right; else the signature must tell.
    is_known: bool,
    headers: HeaderMap,
    ip: IpAddr,
}

/// A source that a message may be for.
struct WebhookCandidate {
    opened: OpenedSource,
    webhook: Arc<WebhookEntrance>,
}

/// What a webhook said.
enum HeardWebhook {
    Events(AdmittedEvents),
    /// It asked whether we are there, and waits for this text.
    Question(String),
}

impl IngestDoor {
    /// Takes a message.
    pub(super) async fn webhook(
        &self,
        parts: &Parts,
        wire: &mut WireBody,
        ip: IpAddr,
        path: &WebhookPath,
    ) -> HttpAnswer {
        let request = match WebhookRequest::admitted(&self.environments, (parts, ip), path) {
            Ok(request) => request,
            Err(answer) => return answer,
        };
        let meter = match request.candidates.first() {
            Some(known) if request.is_known => known.opened.meter(),
            _ => self.environments.meter_of_unknown(),
        };
        if let Some(wait) = meter.in_debt(std::time::Instant::now()) {
            return HttpAnswer::RateLimited(wait);
        }
        let room = if request.is_known { &self.unfinished.known } else { &self.unfinished.unknown };
        let limits = &self.settings.limits;
        let share = (room.enter(ip), request.is_known);
        let body = match wire.read(&parts.headers, share, &self.decoders, limits).await {
            Ok(body) => body,
            Err(bad) => return bad,
        };
        let read = if body.len() <= LARGE_BODY_BYTES {
            request.read(&body, limits, &self.environments)
        } else {
            let turn = meter.turn().await;
            let (settings, environments) = (Arc::clone(&self.settings), self.environments.clone());
            let work = move || {
                let _turn = turn;
                request.read(&body, &settings.limits, &environments)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(read) => read,
                Err(_) => return HttpAnswer::Stopping,
            }
        };
        match read {
            Ok(HeardWebhook::Events(admitted)) => self.append(admitted, parts).await,
            Ok(HeardWebhook::Question(text)) => HttpAnswer::Echo(text),
            Err(answer) => answer,
        }
    }

    /// Answers a question that comes with GET.
    pub(super) fn webhook_question(&self, parts: &Parts, path: &WebhookPath) -> HttpAnswer {
        let now_us = clock::now_us();
        let mut asked = Vec::new();
        for (_, entrance) in self.environments.entrances() {
            match (&path.source, &path.key) {
                (Some(source), None) => asked.extend(entrance.webhook(source).cloned()),
                (source, Some(key)) => {
                    let key = entrance.webhook_key(key, source.as_deref(), now_us);
                    asked.extend(key.and_then(|key| entrance.webhook(&key.source).cloned()));
                }
                (None, None) => return HttpAnswer::WrongMethod,
            }
        }
        if asked.is_empty() {
            return if path.key.is_some() { HttpAnswer::UnknownKey } else { no_webhook() };
        }
        let query = parts.uri.query().unwrap_or_default();
        let mut answer = HttpAnswer::WrongMethod;
        for webhook in asked {
            match webhook.settings.challenge.as_ref().map(|challenge| challenge.answer(query)) {
                Some(ChallengeAnswer::Echo(text)) => return HttpAnswer::Echo(text),
                Some(ChallengeAnswer::WrongToken) => {
                    let reason = "the token is not the `secret` of this source's `challenge`".to_owned();
                    answer = HttpAnswer::WrongSignature(reason);
                }
                Some(ChallengeAnswer::Nothing) | None => {}
            }
        }
        answer
    }
}

fn no_webhook() -> HttpAnswer {
    HttpAnswer::NotFound("no source of this name takes webhooks; see docs/sources.md")
}

/// A source that a message was not signed for, and why not.
type UnsignedSource = (Arc<WebhookEntrance>, SignatureProblem);

/// Nobody's message: says so to whoever reads the log, once a minute, and to whoever sends.
fn not_signed(sources: &[UnsignedSource]) -> HttpAnswer {
    let mut answer = HttpAnswer::UnknownKey;
    for (webhook, problem) in sources {
        let reason = problem.to_string();
        if webhook.may_tell(clock::now_us()) {
            tracing::warn!(source = &*webhook.source, reason, "a webhook was not signed as its source says");
        }
        answer = HttpAnswer::WrongSignature(reason);
    }
    answer
}

impl WebhookRequest {
    /// Looks who sends, as far as the head of the request says it.
    fn admitted(
        environments: &DoorEnvironments,
        (parts, ip): (&Parts, IpAddr),
        path: &WebhookPath,
    ) -> Result<Self, HttpAnswer> {
        let now_us = clock::now_us();
        let mut candidates = Vec::new();
        let (mut is_named, mut is_known) = (false, false);
        for (at, entrance) in environments.entrances() {
            let named = path.source.as_deref().and_then(|source| entrance.webhook(source));
            is_named |= named.is_some();
            let shown = match &path.key {
                Some(key) => vec![key.clone()],
                None => shown(parts, named.map(|webhook| &**webhook)),
            };
            let key = if shown.is_empty() {
                // Who has no write key must be able to sign.
                named.and_then(|webhook| entrance.signing_key(webhook))
            } else {
                is_known = true;
                let of_source = |key: &String| entrance.webhook_key(key, path.source.as_deref(), now_us);
                shown.iter().take(CANDIDATES_MAX).find_map(of_source)
            };
            let Some(key) = key else { continue };
            let Some(webhook) = entrance.webhook(&key.source).cloned() else { continue };
            candidates.push(WebhookCandidate { opened: OpenedSource { at, entrance, key }, webhook });
            if is_known {
                break;
            }
        }
        if path.source.is_some() && path.key.is_none() && !is_named {
            return Err(no_webhook());
        }
        if candidates.is_empty() {
            return Err(HttpAnswer::UnknownKey);
        }
        // With others, the signature says whether it is for one that is paused.
        if candidates.iter().all(WebhookCandidate::is_paused) {
            return Err(HttpAnswer::SourcePaused);
        }
        let mut unsigned = Vec::new();
        candidates.retain(|candidate| match candidate.is_signature_present(&parts.headers) {
            Ok(()) => true,
            Err(problem) => {
                unsigned.push((Arc::clone(&candidate.webhook), problem));
                false
            }
        });
        if candidates.is_empty() {
            return Err(not_signed(&unsigned));
        }
        Ok(Self { candidates, is_known, headers: parts.headers.clone(), ip })
    }

    /// Checks the signature and makes records of the message.
    fn read(
        self,
        body: &[u8],
        limits: &RequestLimits,
        environments: &DoorEnvironments,
    ) -> Result<HeardWebhook, HttpAnswer> {
        let now_us = clock::now_us();
        let Self { candidates, is_known, headers, ip } = self;
        let (mut chosen, mut unsigned) = (None, Vec::new());
        for candidate in candidates {
            match candidate.check(&headers, body, now_us) {
                Ok(()) => {
                    chosen = Some(candidate);
                    break;
                }
                Err(problem) => unsigned.push((candidate.webhook, problem)),
            }
        }
        let Some(chosen) = chosen else { return Err(not_signed(&unsigned)) };
        if chosen.is_paused() {
            return Err(HttpAnswer::SourcePaused);
        }
        let WebhookCandidate { opened, webhook } = chosen;
        let settings = &webhook.settings;
        if let Some(text) = settings.url_verification(body) {
            return Ok(HeardWebhook::Question(text));
        }
        if !is_known {
            opened.key.uses.note_shown(now_us);
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let headers: Vec<(String, String)> = headers.iter().map(header_texts).collect();
        let meta: JsonObject = [("ip", Value::from(ip.to_string()))].into_iter().collect();
        let position = settings.position(body);
        let message = UpstreamMessage {
            bytes: body,
            content_type: content_type.unwrap_or_default(),
            headers: &headers,
            meta: &meta,
            is_http: true,
            position: &position,
        };
        let bounds = limits.of_message(limits.request_events_max);
        let too_many =
            |TooManyParts(max)| HttpAnswer::bad("too-many-events", format!("the message has more than {max} events"));
        let events = settings.mapping.map(&message, &bounds).map_err(too_many)?;
        let partitioner = environments.at(opened.at).log.partitioner();
        let mut frames = MappedFrames::new(&webhook.source, limits, partitioner, now_us);
        for event in &events {
            let kept = settings.kept(&message, &event.delivery_id);
            frames.push(event, &message::context(WEBHOOK_KIND, kept, event.unmappable.as_deref()));
            if frames.bytes() > limits.request_expanded_bytes_max {
                return Err(expands_too_far(limits));
            }
        }
        let malformed = frames.malformed();
        let accepted = Accepted { parts: frames.into_parts(), malformed };
        Ok(HeardWebhook::Events(AdmittedEvents { opened, accepted, received_at_us: now_us }))
    }
}

impl WebhookCandidate {
    fn is_paused(&self) -> bool {
        self.opened.entrance.is_paused(&self.webhook.source)
    }

    /// Whether the headers have what the signature of the source stands in.
    fn is_signature_present(&self, headers: &HeaderMap) -> Result<(), SignatureProblem> {
        self.webhook.settings.signature.as_ref().map_or(Ok(()), |signature| signature.is_present(headers))
    }

    /// Whether the body is signed as the source says.
    fn check(&self, headers: &HeaderMap, body: &[u8], now_us: i64) -> Result<(), SignatureProblem> {
        self.webhook.settings.signature.as_ref().map_or(Ok(()), |signature| signature.check(headers, body, now_us))
    }
}

/// Write keys outside of the path: those of the SDKs' places, and that of the header which the source names.
fn shown(parts: &Parts, named: Option<&WebhookEntrance>) -> Vec<String> {
    let mut shown = key::outside(&parts.headers, parts.uri.query());
    let header = named.and_then(|webhook| webhook.settings.key_header.as_deref());
    let value = header.and_then(|header| parts.headers.get(header)?.to_str().ok());
    shown.extend(value.map(str::to_owned).filter(|key| !key.is_empty()));
    shown
}

fn header_texts((name, value): (&header::HeaderName, &header::HeaderValue)) -> (String, String) {
    let bytes = value.as_bytes();
    // What is not UTF-8 is ISO 8859-1, as HTTP had it: no two values are taken for one.
    let of_latin = || -> String { bytes.iter().map(|byte| char::from(*byte)).collect() };
    (name.as_str().to_owned(), std::str::from_utf8(bytes).map_or_else(|_| of_latin(), str::to_owned))
}

fn expands_too_far(limits: &RequestLimits) -> HttpAnswer {
    let max = limits.request_expanded_bytes_max;
    HttpAnswer::TooLarge {
        code: "expands-too-far",
        message: format!(
            "the events of the message come to more than {max} bytes, which are never taken in one request"
        ),
    }
}
