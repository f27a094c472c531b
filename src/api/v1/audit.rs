//! The audit log: asked, exported, verified.

use axum::extract::State;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tidegate_api_types::control::{
    AuditEntries, AuditQuery, AuditVerdict, ShownAuditResult, ShownCheckpoint, VerifyAudit,
};
use tidegate_api_types::path;
use tidegate_catalog::{
    Actor, AuditCheckpoint, AuditFilter, AuditRecord, AuditResult, ObjectId, SERVER_WORKSPACE, VerifiedAudit,
};
use tidegate_event::time;

use super::asker::{BREAK_GLASS, OfApi, Requester};
use super::permit::named_kind;
use super::shown::limit;
use crate::api::extract::{Json, Query};
use crate::api::refusal::ApiRefusal;

/// The action of entries that tell of exports.
const EXPORTED: &str = "audit_exported";

/// Entries of the audit log, newest first. `who` is the name of who did it.
#[utoipa::path(get, path = path::AUDIT, tag = "audit", operation_id = "list_audit",
    params(AuditQuery), responses((status = 200, body = AuditEntries), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<AuditEntries>, ApiRefusal> {
    let filter = filter(&query)?;
    let page = shared.settings.catalog.catalog.audit(&filter, query.from, limit(query.limit)).await;
    let page = page.map_err(|error| shared.refused(error))?;
    let mut entries: Vec<Value> =
        page.entries.iter().map(|entry| serde_json::to_value(entry).unwrap_or_default()).collect();
    let names = shared.names_of(entries.iter().filter_map(by).collect()).await?;
    for entry in &mut entries {
        let is_by_holder = entry["agent"].as_str().is_some_and(|agent| agent.starts_with(BREAK_GLASS));
        let who = names.of(by(entry)).or_else(|| is_by_holder.then(|| BREAK_GLASS.to_owned()));
        if let (Value::Object(fields), Some(who)) = (entry, who) {
            fields.insert("who".to_owned(), who.into());
        }
    }
    Ok(axum::Json(AuditEntries { entries, next: page.next }))
}

/// The id of the token that was shown, else of the user.
fn by(entry: &Value) -> Option<&str> {
    entry["token"].as_str().or_else(|| entry["principal"].as_str())
}

/// Entries as lines of JSON, oldest first; the next ones follow on `from` with the `seq` of the last line. Each answer that has any is an
/// entry of the log itself.
#[utoipa::path(get, path = path::AUDIT_EXPORT, tag = "audit", operation_id = "export_audit", params(AuditQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), ApiRefusal))]
pub(super) async fn export(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<AuditQuery>,
) -> Result<([(HeaderName, HeaderValue); 1], String), ApiRefusal> {
    let filter = filter(&query)?;
    let catalog = &shared.settings.catalog.catalog;
    let exported = catalog.export_audit(&filter, query.from, limit(query.limit)).await;
    let (lines, _) = exported.map_err(|error| shared.refused(error))?;
    if lines.lines().any(|line| !is_export(line, &asker.actor)) {
        let record = AuditRecord {
            workspace: query.workspace.clone().unwrap_or_else(|| SERVER_WORKSPACE.to_owned()),
            action: EXPORTED.to_owned(),
            kind: None,
            object: None,
            name: None,
            result: AuditResult::Done,
            revision: None,
            detail: json!({ "from": query.from, "entries": lines.lines().count() }),
        };
        catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| shared.refused(error))?;
    }
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], lines))
}

/// Whether a line of the log says that these lines were exported by whoever asks. A page of nothing else leaves no entry: else an export that
/// follows the log would never come to its end.
fn is_export(line: &str, actor: &Actor) -> bool {
    let Ok(entry) = serde_json::from_str::<Value>(line) else { return false };
    let is_by = |field: &str, id: Option<&ObjectId>| entry[field].as_str() == id.map(ObjectId::as_str);
    entry["action"] == EXPORTED && is_by("principal", actor.principal.as_ref()) && is_by("token", actor.token.as_ref())
}

/// Whether the log is as it was written, and agrees with checkpoints that were kept outside.
#[utoipa::path(post, path = path::AUDIT_VERIFY, tag = "audit", operation_id = "verify_audit",
    request_body = VerifyAudit, responses((status = 200, body = AuditVerdict), ApiRefusal))]
pub(super) async fn verify(
    State(shared): OfApi,
    asker: Requester,
    Json(asked): Json<VerifyAudit>,
) -> Result<axum::Json<AuditVerdict>, ApiRefusal> {
    let known = asked.checkpoints.into_iter();
    let known: Vec<AuditCheckpoint> =
        known.map(|ShownCheckpoint { seq, hash }| AuditCheckpoint { seq, hash, at_us: asker.at_us }).collect();
    let verified = shared.settings.catalog.catalog.verify_audit(asker.at_us, &known).await;
    Ok(axum::Json(match verified.map_err(|error| shared.refused(error))? {
        Ok(VerifiedAudit { entries, head }) => AuditVerdict {
            whole: true,
            entries,
            head: Some(ShownCheckpoint { seq: head.seq, hash: head.hash }),
            altered_at: None,
            what: None,
        },
        Err(found) => AuditVerdict {
            whole: false,
            entries: found.seq.saturating_sub(1),
            head: None,
            altered_at: Some(found.seq),
            what: Some(found.what.to_owned()),
        },
    }))
}

fn filter(query: &AuditQuery) -> Result<AuditFilter, ApiRefusal> {
    let id = |field: &'static str, text: &Option<String>| {
        let parsed = text.as_deref().map(ObjectId::parse).transpose();
        parsed.map_err(|error| ApiRefusal::bad("query", error.to_string(), "write an id").in_field(field))
    };
    let at = |field: &'static str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let wrong = || {
            let detail = format!("`{field}` is no time with its offset from UTC");
            ApiRefusal::bad("query", detail, "write it as 2026-12-31T00:00:00Z").in_field(field)
        };
        time::parse(text).map(Some).ok_or_else(wrong)
    };
    Ok(AuditFilter {
        workspace: query.workspace.clone(),
        principal: id("principal", &query.principal)?,
        action: query.action.clone(),
        kind: query.kind.as_deref().map(named_kind).transpose()?,
        object: id("object", &query.object)?,
        result: query.result.map(|result| match result {
            ShownAuditResult::Done => AuditResult::Done,
            ShownAuditResult::Denied => AuditResult::Denied,
            ShownAuditResult::Failed => AuditResult::Failed,
        }),
        since_us: at("since", &query.since)?,
        until_us: at("until", &query.until)?,
    })
}
