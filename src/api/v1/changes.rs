//! Changing objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use sha2::{Digest as _, Sha256};
use tidegate_api_types::object::{ChangeDone, ChangeQuery, DeleteQuery, NewObject};
use tidegate_api_types::path;
use tidegate_api_types::reload::Reloaded;
use tidegate_api_types::workspace::SyncEnding;
use tidegate_catalog::{
    CatalogChange, CatalogObject, CatalogOrder, IdempotencyKey, ObjectContent, ObjectEdit, ObjectId, ObjectKind,
};

use super::asker::{OfApi, Requester, workspace_of};
use super::objects::owner;
use super::permit::{KindInPath, NamedObject};
use super::shown::{done, etag};
use crate::api::SharedApi;
use crate::api::extract::{Json, Query};
use crate::api::refusal::ApiRefusal;

/// A change that was made, as it is answered.
pub(super) type ChangeAnswer = (StatusCode, HeaderMap, axum::Json<ChangeDone>);

pub(super) type Changed = Result<ChangeAnswer, ApiRefusal>;

/// How a change is to be made.
pub(super) struct ChangeManner {
    query: ChangeQuery,
    idempotency: Option<IdempotencyKey>,
    /// Of a sync that ends by it, or of a source: what becomes of what waits.
    endings: BTreeMap<String, SyncEnding>,
}

impl From<ChangeQuery> for ChangeManner {
    fn from(query: ChangeQuery) -> Self {
        Self { query, idempotency: None, endings: BTreeMap::new() }
    }
}

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
    shared.refuse_unknown_blobs(&asker, &workspace, &new.spec).await?;
    let content = shared.content(kind, new)?;
    let id = shared.settings.catalog.catalog.new_id(kind);
    let edit = ObjectEdit::Create { id, content };
    shared.change_object(&asker, &workspace, edit, ChangeManner { idempotency, ..query.into() }).await
}

/// Says anew what an object is: all of it. With `If-Match`, only if it is still what that ETag stands for.
#[utoipa::path(put, path = path::OBJECT, tag = "objects", operation_id = "update_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    request_body = NewObject, responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn update(State(shared): OfApi, asked: AskedEdit, Json(new): Json<NewObject>) -> Changed {
    shared.refuse_unknown_blobs(&asked.asker, &asked.object.workspace, &new.spec).await?;
    let content = shared.content(asked.object.content.kind, new)?;
    let edit = ObjectEdit::Update { id: asked.id(), expected: asked.expected, content };
    asked.make(&shared, edit).await
}

/// Deletes an object. What it was stays in its history. Where events wait for a sync that ends by it, `drain` or `abandon` says what becomes
/// of them.
#[utoipa::path(delete, path = path::OBJECT, tag = "objects", operation_id = "delete_object",
    params(("kind" = String, Path), ("name" = String, Path), DeleteQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn delete(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(query): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Changed {
    let edit = ObjectEdit::Delete { id: object.id.clone(), expected: expected(&headers)? };
    let (endings, dry_run) = (endings(&object, &query)?, query.dry_run);
    let query = ChangeQuery { workspace: query.workspace, dry_run, force: query.force };
    let manner = ChangeManner { endings, ..query.into() };
    let deleted = shared.change_object(&asker, &object.workspace, edit, manner).await?;
    if object.content.kind == ObjectKind::WriteKey && !dry_run {
        shared.keys_taken().await?;
    }
    Ok(deleted)
}

/// Takes an object out of the hands of a folder: from then on it is changed here.
#[utoipa::path(post, path = path::OBJECT_RELEASE, tag = "objects", operation_id = "release_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn release(State(shared): OfApi, asked: AskedEdit) -> Changed {
    let edit = ObjectEdit::Release { id: asked.id(), expected: asked.expected };
    asked.make(&shared, edit).await
}

/// Gives an object back to the folder: from then on its file says what it is.
#[utoipa::path(post, path = path::OBJECT_ADOPT, tag = "objects", operation_id = "adopt_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn adopt(State(shared): OfApi, asked: AskedEdit) -> Changed {
    let edit = ObjectEdit::Adopt { id: asked.id(), expected: asked.expected };
    asked.make(&shared, edit).await
}

/// An edit of the object that a path names, as somebody asks for it.
pub(super) struct AskedEdit {
    pub(super) asker: Requester,
    pub(super) object: Arc<CatalogObject>,
    /// The revision that the object still has to have.
    pub(super) expected: Option<u64>,
    pub(super) query: ChangeQuery,
}

impl<S: Send + Sync> FromRequestParts<S> for AskedEdit {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let asker = Requester::from_request_parts(parts, state).await?;
        let NamedObject(object) = NamedObject::from_request_parts(parts, state).await?;
        let Query(query) = Query::<ChangeQuery>::from_request_parts(parts, state).await?;
        Ok(Self { asker, object, expected: expected(&parts.headers)?, query })
    }
}

impl AskedEdit {
    pub(super) fn id(&self) -> ObjectId {
        self.object.id.clone()
    }

    async fn make(self, shared: &SharedApi, edit: ObjectEdit) -> Changed {
        shared.change_object(&self.asker, &self.object.workspace, edit, self.query.into()).await
    }
}

impl SharedApi {
    /// Makes a change of one edit, or says what it would do.
    async fn change_object(
        &self,
        asker: &Requester,
        workspace: &str,
        edit: ObjectEdit,
        manner: ChangeManner,
    ) -> Changed {
        Ok(self.change_and_follow(asker, workspace, edit, manner).await?.0)
    }

    /// The same, with what runs then; none where nothing of it runs.
    pub(super) async fn change_and_follow(
        &self,
        asker: &Requester,
        workspace: &str,
        edit: ObjectEdit,
        ChangeManner { query, idempotency, endings }: ChangeManner,
    ) -> Result<(ChangeAnswer, Option<Reloaded>), ApiRefusal> {
        let is_new = matches!(edit, ObjectEdit::Create { .. });
        let change = CatalogChange {
            idempotency: idempotency.filter(|_| !query.dry_run),
            ..asker.change(workspace, vec![edit], query.force)
        };
        let ordered = self.execute_with(CatalogOrder::Change(change), endings, query.dry_run).await?;
        let committed = done(ordered.committed, query.dry_run);
        let mut headers = HeaderMap::new();
        if let Some(object) = committed.objects.first() {
            headers.insert(header::ETAG, etag(object.revision));
            let at = path::OBJECT.replace("{kind}", &object.kind).replace("{name}", &object.id);
            if let (true, Ok(at)) = (is_new && !query.dry_run, HeaderValue::try_from(at)) {
                headers.insert(header::LOCATION, at);
            }
        }
        let status = if is_new && !query.dry_run { StatusCode::CREATED } else { StatusCode::OK };
        Ok(((status, headers, axum::Json(committed)), ordered.running))
    }

    /// What was sent, as the catalog keeps it. No secret comes into a spec.
    pub(super) fn content(&self, kind: ObjectKind, new: NewObject) -> Result<ObjectContent, ApiRefusal> {
        let elsewhere = match kind {
            ObjectKind::Secret => Some("PUT /api/v1/secrets/NAME"),
            ObjectKind::Token => Some("POST /api/v1/tokens"),
            ObjectKind::WriteKey => Some("POST /api/v1/sources/NAME/write-keys, or the file of its source"),
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

/// What becomes of what waits for syncs that end when an object is deleted.
fn endings(object: &CatalogObject, query: &DeleteQuery) -> Result<BTreeMap<String, SyncEnding>, ApiRefusal> {
    let ending = match (query.drain, query.abandon) {
        (false, false) => return Ok(BTreeMap::new()),
        (true, false) => SyncEnding::Drain,
        (false, true) => SyncEnding::Abandon,
        (true, true) => {
            let detail = "what waits is either delivered first or given up";
            let refusal = ApiRefusal::unprocessable("two-endings", detail, "send one of `drain` and `abandon`");
            return Err(refusal.in_field("abandon"));
        }
    };
    let kind = object.content.kind;
    if !matches!(kind, ObjectKind::Source | ObjectKind::Sync) {
        let detail = format!("nothing waits for a {kind}: syncs end, and sources with their syncs");
        return Err(ApiRefusal::unprocessable("no-ending", detail, "leave `drain` and `abandon` away"));
    }
    Ok(BTreeMap::from([(object.content.name.clone(), ending)]))
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
