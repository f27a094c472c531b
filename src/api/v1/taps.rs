//! Listening to events while they pass: server-sent events, for as long as the connection lasts.
//!
//! Who may view a source may hear of its events; who may not see them gets their fields without the values.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tidegate_api_types::path;
use tidegate_api_types::trace::{LostTapSteps, SampledTapSteps, ShownTapStep, TapQuery};
use tidegate_catalog::ActingPrincipal;
use tidegate_document::pointer;
use tidegate_event::{EventKind, time};
use tidegate_pipeline::tap::{
    LISTENERS_MAX, TapFilter, TapListener, TapOutcome, TapSample, TapStage, TapStep, TappedSteps,
};
use tidegate_process::clock;
use tokio::time::Instant;

use super::asker::{OfApi, Requester};
use super::event_rights::{AskedEvents, EventRights};
use super::refused::absent;
use super::tries::mask_value;
use super::visitor::Visitor;
use crate::api::extract::Query;
use crate::api::masked_fields::covers_pointer;
use crate::api::refusal::ApiRefusal;
use crate::api::{EVENT_STREAM, MaskedField, SharedApi, StreamRoom, bearer};

/// After so long without a step something is said, so that both sides know of one another.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A listener asks again after this: whoever may not listen any more ends then.
const LISTEN_MAX: Duration = Duration::from_secs(600);
/// Whoever finds no room asks again after this.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Between two looks whether who listens is still signed in, and may do what they could when they began.
const LOOK: Duration = Duration::from_secs(10);
/// Between two pieces of an answer, so that a flood wakes nobody for each of its steps.
const GAP: Duration = Duration::from_millis(100);
/// Bytes of the value that a filter names.
const VALUE_BYTES_MAX: usize = 1_000;

/// Events while they pass: one `step` event for each, `lost` with a number where the reader is too slow, and about each second `sampled` where there are more
/// than are shown (`rate`): then the steps are a sample. It goes on until the connection or the session ends,
/// ten minutes at most: then ask again. Nothing waits for whoever listens. Send `Accept: text/event-stream`.
#[utoipa::path(get, path = path::TAP, tag = "traces", operation_id = "tap_events", params(TapQuery),
    responses((status = 200, body = ShownTapStep, content_type = "text/event-stream"), ApiRefusal))]
pub(super) async fn listen(
    State(shared): OfApi,
    asker: Requester,
    visitor: Visitor,
    Query(query): Query<TapQuery>,
) -> Result<Response, ApiRefusal> {
    let asked = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let accepted = visitor.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepted.contains(EVENT_STREAM) {
        let detail = "this answers with a stream that goes on, for whoever asks for one";
        let fix = "send `Accept: text/event-stream`";
        return Err(ApiRefusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail, fix));
    }
    let filter = filter(&query, &asked)?;
    if let Some(sync) = query.sync.as_deref().filter(|sync| !asked.rights.views(sync, true)) {
        return Err(absent(format!("there is no sync {sync:?} that you may see")));
    }
    let rate = query.rate.unwrap_or(TapQuery::RATE);
    if !(1..=TapQuery::RATE_MAX).contains(&rate) {
        let detail = format!("`rate` is not a number from 1 to {}", TapQuery::RATE_MAX);
        return Err(ApiRefusal::bad("query", detail, format!("send 1 to {}", TapQuery::RATE_MAX)).in_field("rate"));
    }
    let Some(room) = shared.streams.room() else {
        return Err(too_many("as many answers go on as may: listeners and open pages".to_owned()));
    };
    let Some(listener) = asked.engine.taps.listen(filter, rate) else {
        return Err(too_many(format!("{LISTENERS_MAX} listen already, which is as many as may")));
    };
    let detail = json!({ "source": query.source, "sync": query.sync, "steps": query.steps });
    shared.note_done(&asker, &asked.workspace, ("events_tapped", detail)).await?;
    let AskedEvents { rights, masked, .. } = asked;
    let token = bearer(&visitor.headers).map(str::to_owned);
    let session = visitor.session.map(|session| session.0);
    let asked_by = ListenerRights { acting: asker.acting().map(Arc::clone), session, token, shared };
    let (until, look_at) = (Instant::now() + LISTEN_MAX, Instant::now() + LOOK);
    let tapped = TappedStream {
        listener,
        rights,
        fields: masked,
        asked_by,
        until,
        look_at,
        next_at: Instant::now(),
        has_begun: false,
        _room: room,
    };
    let mut response = Response::new(Body::from_stream(stream::unfold(tapped, TappedStream::next)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    // Proxies that gather answers would hold it back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn too_many(detail: String) -> ApiRefusal {
    ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "end one of them").after(BUSY_WAIT)
}

fn filter(query: &TapQuery, asked: &AskedEvents) -> Result<TapFilter, ApiRefusal> {
    let rights = &asked.rights;
    let place = match &query.filter {
        None => None,
        Some(text) => Some(place(text).ok_or_else(|| {
            let detail = "`filter` is no JSON pointer with a value behind `=`";
            ApiRefusal::bad("query", detail, "write it as /properties/plan=pro").in_field("filter")
        })?),
    };
    let kind = match &query.kind {
        None => None,
        Some(word) => Some(EventKind::parse(word).ok_or_else(|| {
            let kinds = EventKind::ALL.map(EventKind::as_str).join(", ");
            ApiRefusal::bad("query", "`type` is no kind of event", format!("send one of {kinds}")).in_field("type")
        })?),
    };
    // Whether an event comes would tell what stands in it.
    let is_of_values = query.event.is_some() || kind.is_some() || query.user.is_some() || place.is_some();
    let nothing = is_of_masked(query, &asked.masked).then(BTreeSet::new);
    Ok(TapFilter {
        source: query.source.clone(),
        sync: query.sync.clone(),
        event: query.event.clone(),
        kind,
        user: query.user.clone(),
        place,
        has_steps: query.steps,
        sources: nothing.or_else(|| rights.sources(is_of_values)),
        syncs: rights.syncs(is_of_values),
    })
}

/// Whether a condition is of a field that stays masked.
fn is_of_masked(query: &TapQuery, masked: &[MaskedField]) -> bool {
    let any = |pointers: &[&str]| pointers.iter().any(|pointer| covers_pointer(masked, pointer));
    let at = query.filter.as_deref().and_then(|text| text.split_once('=')).map(|(at, _)| at);
    (query.user.is_some() && any(&["/userId", "/anonymousId"]))
        || (query.event.is_some() && any(&["/event", "/name"]))
        || at.is_some_and(|at| any(&[at]))
}

/// A place in an event, and the text of its value.
fn place(text: &str) -> Option<(Vec<String>, String)> {
    let (at, value) = text.split_once('=')?;
    let steps: Vec<String> = pointer::steps(at.strip_prefix('/')?).collect();
    let is_bounded = value.len() <= VALUE_BYTES_MAX && steps.first().is_some_and(|first| !first.is_empty());
    is_bounded.then(|| (steps, value.to_owned()))
}

/// By what whoever listens is known, and what they could when they began.
struct ListenerRights {
    /// None for the admin token.
    acting: Option<Arc<ActingPrincipal>>,
    session: Option<String>,
    token: Option<String>,
    shared: Arc<SharedApi>,
}

impl ListenerRights {
    /// Whether all of it is as it was. Whoever has signed out, or has other roles now, asks again.
    async fn are_the_same(&self) -> bool {
        let Some(acting) = &self.acting else { return true };
        let catalog = &self.shared.settings.catalog.catalog;
        let now = match (&self.session, &self.token) {
            (Some(session), _) => catalog.session(session, clock::now_us()).await,
            (None, Some(token)) => catalog.authenticate_token(token, clock::now_us()).await,
            (None, None) => return false,
        };
        now.is_ok_and(|now| now == **acting)
    }
}

/// What is said to one listener.
struct TappedStream {
    listener: TapListener,
    rights: EventRights,
    /// They stay masked in what may be seen.
    fields: Vec<MaskedField>,
    asked_by: ListenerRights,
    until: Instant,
    look_at: Instant,
    /// The next piece is not said before.
    next_at: Instant,
    has_begun: bool,
    /// Until this is dropped, one more answer goes on.
    _room: StreamRoom,
}

impl TappedStream {
    /// The next piece, and itself.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if Instant::now() >= self.until {
            return None;
        }
        if !self.has_begun {
            self.has_begun = true;
            return Some((Ok(Bytes::from_static(b": listening\n\n")), self));
        }
        if Instant::now() >= self.look_at {
            if !self.asked_by.are_the_same().await {
                return None;
            }
            self.look_at = Instant::now() + LOOK;
        }
        tokio::time::sleep_until(self.next_at).await;
        let text = match tokio::time::timeout(SILENCE_MAX, self.listener.next()).await {
            Ok(tapped) => self.text(tapped),
            Err(_) => ": still listening\n\n".to_owned(),
        };
        self.next_at = Instant::now() + GAP;
        Some((Ok(Bytes::from(text)), self))
    }

    fn text(&self, TappedSteps { steps, lost, sample }: TappedSteps) -> String {
        let mut text = String::new();
        for step in steps {
            add(&mut text, TapQuery::STEP, &serde_json::to_string(&self.shown(step)).unwrap_or_default());
        }
        // What was lost came behind these.
        if lost > 0 {
            add(&mut text, TapQuery::LOST, &serde_json::to_string(&LostTapSteps { lost }).unwrap_or_default());
        }
        if let Some(sample) = sample {
            add(&mut text, TapQuery::SAMPLED, &serde_json::to_string(&shown_sample(sample)).unwrap_or_default());
        }
        text
    }

    fn shown(&self, step: TapStep) -> ShownTapStep {
        let TapStep { id, source, received_at_us, stage, outcome, before, after } = step;
        let (stage, name, sync) = match stage {
            TapStage::Accepted => ("accepted", None, None),
            TapStage::Function { name, sync } => ("function", Some(name), sync.map(|sync| sync.to_string())),
            TapStage::Sync(name) => ("sync", Some(name.to_string()), None),
        };
        let (outcome, why) = match outcome {
            TapOutcome::Passed => ("passed", None),
            TapOutcome::Duplicate => ("duplicate", None),
            TapOutcome::Filtered(why) => ("filtered", Some(why)),
            TapOutcome::Dropped(why) => ("dropped", Some(why)),
            TapOutcome::Quarantined(code) => ("quarantined", Some(code)),
        };
        let of_sync = if stage == "sync" { name.as_deref() } else { sync.as_deref() };
        let masked = !self.rights.sees(&source, false) || of_sync.is_some_and(|sync| !self.rights.sees(sync, true));
        let value = |text: &String| {
            let mut value: Value = serde_json::from_str(text).unwrap_or_default();
            if masked {
                mask_value(&mut value);
            } else {
                self.fields.iter().for_each(|field| field.mask(&mut value));
            }
            value
        };
        ShownTapStep {
            position: id.position.to_string(),
            part: id.part,
            source: source.to_string(),
            received_at: time::format(received_at_us),
            stage: stage.to_owned(),
            outcome: outcome.to_owned(),
            why: why.filter(|_| outcome != "dropped" || (!masked && self.fields.is_empty())),
            before: Some(value(&before)),
            after: after.iter().filter(|after| **after != before).map(value).collect(),
            name,
            sync,
            masked,
        }
    }
}

fn shown_sample(sample: TapSample) -> SampledTapSteps {
    let TapSample { seen, shown, errors_seen, errors_shown, took } = sample;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    SampledTapSteps { seen, shown, errors_seen, errors_shown, took_ms }
}

fn add(text: &mut String, event: &str, data: &str) {
    for part in ["event: ", event, "\ndata: ", data, "\n\n"] {
        text.push_str(part);
    }
}
