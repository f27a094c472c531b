//! Changing objects.

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use tidegate_api_types::object::{ChangeDone, ChangeQuery, NewObject};
use tidegate_api_types::path;
use tidegate_catalog::{CatalogChange, ChangeOrigin, IdempotencyKey, ObjectContent, ObjectEdit, ObjectKind};

use super::asker::{OfApi, Requester, workspace_of};
use super::objects::owner;
use super::permit::{KindInPath, NamedObject};
use super::shown::{done, etag};
use crate::api::SharedApi;
use crate::api::extract::{Json, Query};
use crate::api::refusal::ApiRefusal;

pub(super) type Changed = Result<(StatusCode, HeaderMap, axum::Json<ChangeDone>), ApiRefusal>;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Makes an object.
#[utoipa::path(post, path = path::OBJECTS, tag = "objects", operation_id = "create_object",
    params(("kind" = String, Path), ChangeQuery, ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewObject,
    responses((status = 201, body = ChangeDone), (status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn create(
    State(shared): OfApi,
    asker: Requester,
    KindInPath(kind): KindInPath,
    Query(query): Query<ChangeQuery>,
    (headers, Json(new)): (HeaderMap, Json<NewObject>),
) -> Changed {
    let workspace = workspace_of(kind, query.workspace.as_deref());
    let request = serde_json::to_vec(&new).unwrap_or_default();
    let idempotency = idempotency(&headers, &[b"create", kind.name().as_bytes(), workspace.as_bytes(), &request])?;
    let content = shared.content(kind, new)?;
    let id = shared.settings.catalog.catalog.new_id(kind);
    let edit = ObjectEdit::Create { id, content };
    shared.change_object(&asker, &workspace, edit, (&query, idempotency)).await
}

/// Says anew what an object is: all of it. With `If-Match`, only if it is still what that ETag stands for.
#[utoipa::path(put, path = path::OBJECT, tag = "objects", operation_id = "update_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    request_body = NewObject, responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn update(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(query): Query<ChangeQuery>,
    (headers, Json(new)): (HeaderMap, Json<NewObject>),
) -> Changed {
    let content = shared.content(object.content.kind, new)?;
    let edit = ObjectEdit::Update { id: object.id.clone(), expected: expected(&headers)?, content };
    shared.change_object(&asker, &object.workspace, edit, (&query, None)).await
}

/// Deletes an object. What it was stays in its history.
#[utoipa::path(delete, path = path::OBJECT, tag = "objects", operation_id = "delete_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn delete(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Changed {
    let edit = ObjectEdit::Delete { id: object.id.clone(), expected: expected(&headers)? };
    shared.change_object(&asker, &object.workspace, edit, (&query, None)).await
}

/// Takes an object out of the hands of a folder: from then on it is changed here.
#[utoipa::path(post, path = path::OBJECT_RELEASE, tag = "objects", operation_id = "release_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn release(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Changed {
    let edit = ObjectEdit::Release { id: object.id.clone(), expected: expected(&headers)? };
    shared.change_object(&asker, &object.workspace, edit, (&query, None)).await
}

/// Gives an object back to the folder: from then on its file says what it is.
#[utoipa::path(post, path = path::OBJECT_ADOPT, tag = "objects", operation_id = "adopt_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn adopt(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Changed {
    let edit = ObjectEdit::Adopt { id: object.id.clone(), expected: expected(&headers)? };
    shared.change_object(&asker, &object.workspace, edit, (&query, None)).await
}

impl SharedApi {
    /// Makes a change of one edit, or says what it would do.
    pub(super) async fn change_object(
        &self,
        asker: &Requester,
        workspace: &str,
        edit: ObjectEdit,
        (query, idempotency): (&ChangeQuery, Option<IdempotencyKey>),
    ) -> Changed {
        let is_new = matches!(edit, ObjectEdit::Create { .. });
        let change = CatalogChange {
            workspace: workspace.to_owned(),
            edits: vec![edit],
            expected_revision: None,
            origin: ChangeOrigin::Api { is_forced: query.force },
            authority: asker.authority(),
            actor: asker.actor.clone(),
            at_us: asker.at_us,
            idempotency: idempotency.filter(|_| !query.dry_run),
        };
        let catalog = &self.settings.catalog.catalog;
        let committed = if query.dry_run { catalog.dry_run(&change).await } else { catalog.commit(&change).await };
        let committed = done(committed.map_err(|error| self.refused(error))?, query.dry_run);
        let mut headers = HeaderMap::new();
        if let Some(object) = committed.objects.first() {
            headers.insert(header::ETAG, etag(object.revision));
            let at = path::OBJECT.replace("{kind}", &object.kind).replace("{name}", &object.id);
            if let (true, Ok(at)) = (is_new && !query.dry_run, HeaderValue::try_from(at)) {
                headers.insert(header::LOCATION, at);
            }
        }
        let status = if is_new && !query.dry_run { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, headers, axum::Json(committed)))
    }

    /// What was sent, as the catalog keeps it. No secret comes into a spec.
    pub(super) fn content(&self, kind: ObjectKind, new: NewObject) -> Result<ObjectContent, ApiRefusal> {
        let elsewhere = match kind {
            ObjectKind::Secret => Some("PUT /api/v1/secrets/NAME"),
            ObjectKind::Token => Some("POST /api/v1/tokens"),
            ObjectKind::WriteKey => Some("the file of its source"),
            _ => None,
        };
        if let Some(elsewhere) = elsewhere {
            let detail = format!("a {kind} has a value that is in no spec");
            return Err(ApiRefusal::unprocessable("not-this-way", detail, format!("use {elsewhere}")));
        }
        if let Some(field) = (self.settings.catalog.written_secret)(kind, &new.spec) {
            let detail = format!("`spec.{field}` holds a secret, and a spec is shown to everybody who may view it");
            let fix = "keep the value with PUT /api/v1/secrets/NAME, and write `secret:NAME` here";
            return Err(ApiRefusal::unprocessable("written-secret", detail, fix).in_field(format!("spec.{field}")));
        }
        let owner = new.owner.as_deref().map(owner).transpose()?;
        Ok(ObjectContent { kind, name: new.name, labels: new.labels, owner, spec: new.spec })
    }
}

/// The revision of `If-Match`; none for `*`, and where there is no such header.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<u64>, ApiRefusal> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let quoted = || text.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    let wrong = || {
        let fix = "send the ETag of the object, with its quotation marks: `If-Match: \"12\"`";
        ApiRefusal::bad("if-match", "If-Match holds no ETag of an object", fix).in_field("If-Match")
    };
    if text == "*" { Ok(None) } else { quoted().map(Some).ok_or_else(wrong) }
}

/// The idempotency key of a request, with what the request is.
fn idempotency(headers: &HeaderMap, parts: &[&[u8]]) -> Result<Option<IdempotencyKey>, ApiRefusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.trim().is_empty()).map(str::to_owned);
    let key = key.ok_or_else(|| {
        let detail = "the idempotency key is empty, or holds something else than visible ASCII";
        ApiRefusal::bad("idempotency-key", detail, "send a random text, such as a UUID").in_field("Idempotency-Key")
    })?;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(Some(IdempotencyKey { key, request_sha256: hash.finalize().into() }))
}
