//! Streams that sources read: how they are, and where they go on.

use axum::extract::State;
use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::stream::{STREAM_KINDS, SeekStream, SeekTo, ShownStream, StreamSought};
use tidegate_catalog::{AuditRecord, AuditResult, CatalogObject};
use tidegate_event::time;
use tidegate_source::streams::{SeekProblem, StreamSources};
use tidegate_stream::{SeekTarget, StreamError};

use super::asker::{OfApi, Requester};
use super::permit::NamedObject;
use crate::api::SharedApi;
use crate::api::extract::{Json, Query};
use crate::api::refusal::ApiRefusal;
use crate::api::streams::shown_stream;

/// What becomes of messages that were read before.
const SOUGHT_NOTE: &str = "messages that were read before have the same positions: within the dedup window they are duplicates, and \
                           not delivered again";

/// How the stream of a source is: what it does, how far it is in each partition, and what went wrong.
#[utoipa::path(get, path = path::SOURCE_STREAM, tag = "sources", operation_id = "show_source_stream",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownStream), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownStream>, ApiRefusal> {
    let name = &source.content.name;
    let report = shared.streams_of(&source)?.report(name, asker.at_us).ok_or_else(|| not_running(&source))?;
    Ok(axum::Json(shown_stream(name, report)))
}

/// Has the stream of a source go on elsewhere. It is answered when it does. Messages that were read before come again with the
/// same positions: within the dedup window they are duplicates.
#[utoipa::path(post, path = path::SOURCE_SEEK, tag = "sources", operation_id = "seek_source_stream",
    params(("name" = String, Path), WorkspaceQuery), request_body = SeekStream,
    responses((status = 200, body = StreamSought), ApiRefusal))]
pub(super) async fn seek(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    (Query(_), Json(asked)): (Query<WorkspaceQuery>, Json<SeekStream>),
) -> Result<axum::Json<StreamSought>, ApiRefusal> {
    let SeekStream { to } = asked;
    let name = &source.content.name;
    let streams = shared.streams_of(&source)?;
    let target = target(&to, kind_of(&source))?;
    streams.seek(name, target).await.map_err(|problem| refused(&source, problem))?;
    let record = AuditRecord {
        workspace: source.workspace.clone(),
        action: "sought".to_owned(),
        kind: Some(source.content.kind),
        object: Some(source.id.clone()),
        name: Some(name.clone()),
        result: AuditResult::Done,
        revision: None,
        detail: json!({ "to": to }),
    };
    let catalog = &shared.settings.catalog.catalog;
    catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| shared.refused(error))?;
    Ok(axum::Json(StreamSought { source: name.clone(), to, note: SOUGHT_NOTE.to_owned() }))
}

impl SharedApi {
    /// The streams of the environment that a source is of, which reads one.
    fn streams_of(&self, source: &CatalogObject) -> Result<StreamSources, ApiRefusal> {
        let kind = kind_of(source);
        if !STREAM_KINDS.contains(&kind) {
            let detail = format!("the source {:?} is of the kind {kind:?} and reads no stream", source.content.name);
            let fix = format!("name a source of one of the kinds {}", STREAM_KINDS.join(", "));
            return Err(ApiRefusal::unprocessable("no-stream", detail, fix));
        }
        match self.settings.engines.get(&source.workspace) {
            Some(engine) => Ok(engine.streams.clone()),
            None => {
                let detail = format!("nothing of the workspace {:?} runs on this server", source.workspace);
                let fix = "name a source of a workspace that runs here: the environments of tidegate.yaml";
                Err(ApiRefusal::unprocessable("not-this-way", detail, fix).in_field("workspace"))
            }
        }
    }
}

/// The kind of a source, as its document says it.
fn kind_of(source: &CatalogObject) -> &str {
    source.content.spec.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// A source that reads a stream takes no write keys.
///
/// # Errors
/// It is one.
pub(super) fn refuse_stream(source: &CatalogObject) -> Result<(), ApiRefusal> {
    let kind = kind_of(source);
    if !STREAM_KINDS.contains(&kind) {
        return Ok(());
    }
    let name = &source.content.name;
    let detail = format!("the source {name:?} reads a stream ({kind}): nobody sends to it, and it takes no write keys");
    Err(ApiRefusal::unprocessable("no-write-keys", detail, "make a source of kind http for SDKs, and its write keys"))
}

fn not_running(source: &CatalogObject) -> ApiRefusal {
    let detail = format!("the stream of the source {:?} does not run", source.content.name);
    let fix = "see GET /api/v1/running for the reason; let the source go on if it is paused";
    ApiRefusal::new(StatusCode::CONFLICT, "not-running", detail, fix)
}

fn refused(source: &CatalogObject, problem: SeekProblem) -> ApiRefusal {
    let name = &source.content.name;
    match problem {
        SeekProblem::NoStream | SeekProblem::NotRunning => not_running(source),
        SeekProblem::TookLong => {
            let detail = format!("the stream of the source {name:?} has not answered; it may go on there yet");
            let fix = "look at GET /api/v1/sources/NAME/stream, and ask again if it has not";
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", detail, fix)
        }
        SeekProblem::Refused(StreamError::Retry(reason)) => {
            let detail = format!("the stream of the source {name:?} could not go on there: {reason}");
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-connected", detail, "try again when it is connected")
        }
        SeekProblem::Refused(StreamError::Stop { reason, advice }) => {
            let detail = format!("the stream of the source {name:?} cannot go on there: {reason}");
            ApiRefusal::unprocessable("cannot-seek", detail, advice).in_field("to")
        }
    }
}

/// Where somebody wants to go on.
fn target(to: &SeekTo, kind: &str) -> Result<SeekTarget, ApiRefusal> {
    match to {
        SeekTo::Earliest => Ok(SeekTarget::Earliest),
        SeekTo::Latest => Ok(SeekTarget::Latest),
        SeekTo::Time(text) => match time::parse(text) {
            Some(at_us) => Ok(SeekTarget::Time(at_us)),
            None => {
                let fix = "write a time with its offset from UTC, such as 2026-11-30T12:00:00Z";
                Err(ApiRefusal::unprocessable("time", "`to.time` is no time", fix).in_field("to.time"))
            }
        },
        SeekTo::Position(text) => position(text, kind).ok_or_else(|| {
            let fix =
                "write topic/partition/at, as `context` of an event and GET /api/v1/sources/NAME/stream have them";
            ApiRefusal::unprocessable("position", "`to.position` is no position of this carrier", fix)
                .in_field("to.position")
        }),
    }
}

/// `topic/partition/at`, or `topic/at` where the carrier has no partitions.
fn position(text: &str, kind: &str) -> Option<SeekTarget> {
    let (before, at) = text.rsplit_once('/')?;
    let (topic, partition) = if kind == "pubsub" { (before, "") } else { before.rsplit_once('/')? };
    if topic.is_empty() || at.is_empty() {
        return None;
    }
    Some(SeekTarget::Position { topic: topic.to_owned(), partition: partition.to_owned(), at: at.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_its_end() {
        let at = |topic: &str, partition: &str, at: &str| {
            let (topic, partition, at) = (topic.to_owned(), partition.to_owned(), at.to_owned());
            Some(SeekTarget::Position { topic, partition, at })
        };
        assert_eq!(position("orders/3/42", "kafka"), at("orders", "3", "42"));
        assert_eq!(
            position("clicks/shardId-000000000001/4957", "kinesis"),
            at("clicks", "shardId-000000000001", "4957")
        );
        assert_eq!(position("projects/p/subscriptions/s/17", "pubsub"), at("projects/p/subscriptions/s", "", "17"));
        for wrong in ["", "orders", "orders/", "/3/4", "orders/3"] {
            assert_eq!(position(wrong, "kafka"), None, "{wrong:?}");
        }
    }
}
