//! Write keys of a source: made and shown once, listed without their texts, replaced without losing a client, revoked.
//!
//! The catalog names a key `source/key`, since names are unique in a workspace there, and paths and answers name it `key`. Keys in the
//! files of a folder are listed and never changed here. Every change is committed first; then the answer waits for the door to go by it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, State};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use serde::Deserialize as _;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::write_key::{
    CreateWriteKey, CreatedWriteKey, RevokedWriteKey, RotateWriteKey, SourceWriteKey, SourceWriteKeys, WriteKeyFrom,
};
use tidegate_catalog::{
    CatalogError, CatalogObject, IssuedCredential, NewWriteKey, ObjectEdit, ObjectKind, SecretValue, StoreError,
    WriteKeySpec,
};
use tidegate_event::time;
use tidegate_source::http::{Entrance, KeyOrigin, WriteKey};

use super::asker::{OfApi, Requester};
use super::permit::NamedObject;
use super::refused::{NO_OBJECT, absent};
use super::streams::refuse_stream;
use crate::api::SharedApi;
use crate::api::extract::{Json, Query};
use crate::api::refusal::ApiRefusal;

/// Keys of one source in the catalog.
const KEYS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 63;
/// Of the name of a key, in the name of the one that replaces it.
const STEM_CHARS_MAX: usize = 56;
/// 7 days.
const GRACE_SECONDS: u64 = 7 * 24 * 3_600;
/// 400 days.
const GRACE_SECONDS_MAX: u64 = 400 * 24 * 3_600;

/// A key of the catalog.
struct KeptKey {
    object: CatalogObject,
    spec: WriteKeySpec,
    /// Within its source.
    name: String,
}

/// The key that a path names: by its name within its source, or by its id.
pub(super) struct KeyInPath(String);

/// The write keys of a source, by name: those of its file, and those that were made over the API.
#[utoipa::path(get, path = path::SOURCE_WRITE_KEYS, tag = "sources", operation_id = "list_source_write_keys",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = SourceWriteKeys), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<axum::Json<SourceWriteKeys>, ApiRefusal> {
    let keys = shared.keys_of(&source).await?;
    let entrance = shared.entrance(&source);
    let file = (shared.settings.catalog.folder_file)(ObjectKind::Source, &source.content.name);
    let in_file = at_door(entrance.as_deref(), &source, KeyOrigin::File);
    let mut write_keys: Vec<SourceWriteKey> =
        in_file.map(|key| shown_of_file(key, file.as_ref(), asker.at_us)).collect();
    for key in &keys {
        let counted =
            at_door(entrance.as_deref(), &source, KeyOrigin::Catalog).find(|at_door| *at_door.name == *key.name);
        write_keys.push(shown(key, &keys, counted, asker.at_us));
    }
    write_keys.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(axum::Json(SourceWriteKeys { write_keys }))
}

/// Makes a write key. It is in the answer and nowhere else, and opens the source when the answer comes.
#[utoipa::path(post, path = path::SOURCE_WRITE_KEYS, tag = "sources", operation_id = "create_source_write_key",
    params(("name" = String, Path), WorkspaceQuery), request_body = CreateWriteKey,
    responses((status = 201, body = CreatedWriteKey), ApiRefusal))]
pub(super) async fn create(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    Query(_): Query<WorkspaceQuery>,
    (headers, Json(asked)): (HeaderMap, Json<CreateWriteKey>),
) -> Result<(StatusCode, axum::Json<CreatedWriteKey>), ApiRefusal> {
    refuse_repeats(&headers)?;
    refuse_stream(&source)?;
    let keys = shared.keys_of(&source).await?;
    let name = asked.name.clone();
    let new = shared.new_key(&asker, &source, &keys, asked)?;
    let issued = shared.settings.catalog.catalog.create_write_key(&new).await;
    let issued = issued.map_err(|error| shared.not_made(error))?;
    let created = created(name, &new, &issued);
    Ok((StatusCode::CREATED, axum::Json(shared.in_force(created).await)))
}

/// Makes a write key in the place of another one, which clients may use until the time of grace is over.
#[utoipa::path(post, path = path::SOURCE_WRITE_KEY_ROTATE, tag = "sources", operation_id = "rotate_source_write_key",
    params(("name" = String, Path), ("key" = String, Path), WorkspaceQuery), request_body = RotateWriteKey,
    responses((status = 201, body = CreatedWriteKey), ApiRefusal))]
pub(super) async fn rotate(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    KeyInPath(named): KeyInPath,
    (Query(_), headers, Json(asked)): (Query<WorkspaceQuery>, HeaderMap, Json<RotateWriteKey>),
) -> Result<(StatusCode, axum::Json<CreatedWriteKey>), ApiRefusal> {
    refuse_repeats(&headers)?;
    refuse_stream(&source)?;
    let RotateWriteKey { grace_seconds, name, ends_at, value } = asked;
    let grace_us = grace_us(grace_seconds)?;
    let keys = shared.keys_of(&source).await?;
    let old = shared.key_named(&source, &keys, &named)?;
    if let Some(next) = &old.spec.replaced_by {
        let detail =
            format!("the write key {:?} was replaced by {:?} already", old.name, name_of(next.as_str(), &keys));
        let fix = "rotate that one; or DELETE this one, which ends its time of grace";
        return Err(ApiRefusal::new(StatusCode::CONFLICT, "already-rotated", detail, fix));
    }
    let name = name.unwrap_or_else(|| shared.successor(&source, &keys, &old.name));
    let new = shared.new_key(&asker, &source, &keys, CreateWriteKey { name: name.clone(), ends_at, value })?;
    let issued = shared.settings.catalog.catalog.rotate_write_key(&old.object.id, &new, grace_us).await;
    let issued = issued.map_err(|error| shared.not_made(error))?;
    let mut created = created(name, &new, &issued);
    created.replaces = Some(old.name.clone());
    created.grace_until = Some(time::format(new.at_us.saturating_add(grace_us)));
    Ok((StatusCode::CREATED, axum::Json(shared.in_force(created).await)))
}

/// Revokes a write key: when the answer is 200, it opens nothing any more. 202 says that this is committed, and the door does not go by it yet.
#[utoipa::path(delete, path = path::SOURCE_WRITE_KEY, tag = "sources", operation_id = "revoke_source_write_key",
    params(("name" = String, Path), ("key" = String, Path), WorkspaceQuery),
    responses((status = 200, body = RevokedWriteKey), (status = 202, body = RevokedWriteKey), ApiRefusal))]
pub(super) async fn revoke(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(source): NamedObject,
    KeyInPath(named): KeyInPath,
    Query(_): Query<WorkspaceQuery>,
) -> Result<(StatusCode, axum::Json<RevokedWriteKey>), ApiRefusal> {
    let keys = shared.keys_of(&source).await?;
    let key = shared.key_named(&source, &keys, &named)?;
    let id = key.object.id.clone();
    let edit = ObjectEdit::Delete { id: id.clone(), expected: None };
    let change = asker.change(&source.workspace, vec![edit], false);
    let committed = shared.settings.catalog.catalog.commit(&change).await;
    let revision = committed.map_err(|error| shared.refused(error))?.revision;
    let taken = shared.take_keys().await;
    let status = if taken.is_ok() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let revoked = RevokedWriteKey {
        id: id.to_string(),
        source: source.content.name.clone(),
        name: key.name.clone(),
        revision,
        in_force: taken.is_ok(),
        note: taken.err(),
    };
    Ok((status, axum::Json(revoked)))
}

impl KeptKey {
    fn of(source: &CatalogObject, object: CatalogObject) -> Option<Self> {
        let spec = WriteKeySpec::deserialize(&object.content.spec).ok()?;
        let local = object.content.name.strip_prefix(&*source.content.name).and_then(|rest| rest.strip_prefix('/'));
        let name = local.unwrap_or(&object.content.name).to_owned();
        Some(Self { object, spec, name })
    }
}

impl SharedApi {
    /// Who may send to the sources of the environment that a source is of; none where that does not run.
    fn entrance(&self, source: &CatalogObject) -> Option<Arc<Entrance>> {
        self.settings.engines.get(&source.workspace).map(|engine| engine.entrance())
    }

    /// The keys of a source that the catalog has.
    async fn keys_of(&self, source: &CatalogObject) -> Result<Vec<KeptKey>, ApiRefusal> {
        let (kind, name) = source.key();
        let users = self.settings.catalog.catalog.used_by(&source.workspace, kind, name).await;
        let users = users.map_err(|error| self.refused(error))?;
        let keys = users.into_iter().filter(|object| object.content.kind == ObjectKind::WriteKey);
        Ok(keys.filter_map(|object| KeptKey::of(source, object)).collect())
    }

    /// The one of `keys` that a path names. One in a file is changed there.
    fn key_named<'k>(
        &self,
        source: &CatalogObject,
        keys: &'k [KeptKey],
        named: &str,
    ) -> Result<&'k KeptKey, ApiRefusal> {
        if let Some(key) = keys.iter().find(|key| key.name == named || key.object.id.as_str() == named) {
            return Ok(key);
        }
        if !is_in_file(self.entrance(source).as_deref(), source, named) {
            return Err(absent(NO_OBJECT));
        }
        let file = (self.settings.catalog.folder_file)(ObjectKind::Source, &source.content.name);
        let file = file.unwrap_or_else(|| "the file of its source".to_owned());
        let detail = format!("the write key {named:?} is in {file}, which alone changes it");
        let fix = format!(
            "change {file} and run `tidegate reload`: add another key below `write_keys`, give this one an `ends`, or take it away"
        );
        Err(ApiRefusal::new(StatusCode::CONFLICT, "managed-by-file", detail, fix))
    }

    /// A free name for the key that replaces `old`: `mobile-2` for `mobile`, `mobile-3` for that.
    fn successor(&self, source: &CatalogObject, keys: &[KeptKey], old: &str) -> String {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let stem = old.rsplit_once('-').filter(|(_, last)| is_number(last)).map_or(old, |(stem, _)| stem);
        let stem: String = stem.chars().take(STEM_CHARS_MAX).collect();
        let entrance = self.entrance(source);
        let is_in_file = |name: &str| is_in_file(entrance.as_deref(), source, name);
        let is_free = |name: &String| !keys.iter().any(|key| key.name == *name) && !is_in_file(name);
        let mut names = (2_u64..).map(|number| format!("{stem}-{number}"));
        names.find(is_free).unwrap_or(stem)
    }

    /// The key that is asked for, held against all that the transaction does not look at.
    fn new_key(
        &self,
        asker: &Requester,
        source: &CatalogObject,
        keys: &[KeptKey],
        asked: CreateWriteKey,
    ) -> Result<NewWriteKey, ApiRefusal> {
        let CreateWriteKey { name, ends_at, value } = asked;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
            let detail = format!("{shown:?} cannot be the name of a write key");
            let refusal = ApiRefusal::unprocessable("content", detail, "use up to 63 letters, digits, - and _");
            return Err(refusal.in_field("name"));
        }
        let entrance = self.entrance(source);
        if keys.iter().any(|key| key.name == name) || is_in_file(entrance.as_deref(), source, &name) {
            let detail = format!("the source {:?} has a write key {name:?} already", source.content.name);
            let fix = "choose another name, or rotate the key that is there";
            return Err(ApiRefusal::new(StatusCode::CONFLICT, "name-taken", detail, fix).in_field("name"));
        }
        if keys.len() >= KEYS_MAX {
            let detail = format!(
                "the source {:?} has {} write keys, and {KEYS_MAX} are the most",
                source.content.name,
                keys.len()
            );
            return Err(ApiRefusal::unprocessable("too-many", detail, "revoke keys that have ended"));
        }
        let is_taken = |value: &String| self.settings.engines.values().any(|it| it.entrance().key_of(value).is_some());
        if value.as_ref().is_some_and(is_taken) {
            return Err(taken());
        }
        Ok(NewWriteKey {
            workspace: source.workspace.clone(),
            source: source.content.name.clone(),
            name: format!("{}/{name}", source.content.name),
            ends_at_us: ends_at.as_deref().map(|text| end(text, asker.at_us)).transpose()?,
            value: value.map(SecretValue::from),
            authority: asker.authority(),
            actor: asker.actor.clone(),
            at_us: asker.at_us,
        })
    }

    /// Why no key was made.
    fn not_made(&self, error: CatalogError) -> ApiRefusal {
        match error {
            CatalogError::Store(StoreError::Taken { .. }) => taken(),
            CatalogError::Credential(_) => self.refused(error).in_field("value"),
            error => self.refused(error),
        }
    }

    /// Waits until the door goes by a key that was made.
    async fn in_force(&self, created: CreatedWriteKey) -> CreatedWriteKey {
        let taken = self.take_keys().await;
        CreatedWriteKey { in_force: taken.is_ok(), note: taken.err(), ..created }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KeyInPath {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        let key = params.iter().find(|(name, _)| *name == "key").map(|(_, value)| value.to_owned());
        key.map(Self).ok_or_else(ApiRefusal::not_found)
    }
}

/// What is shown once cannot be shown again to a request that is repeated.
fn refuse_repeats(headers: &HeaderMap) -> Result<(), ApiRefusal> {
    if !headers.contains_key("idempotency-key") {
        return Ok(());
    }
    let detail = "a write key is shown once, so the answer to a request for one cannot be given again";
    let fix = "leave the header out: of two requests for one name the second is refused (409, `name-taken`)";
    Err(ApiRefusal::unprocessable("idempotency-key", detail, fix).in_field("Idempotency-Key"))
}

fn taken() -> ApiRefusal {
    let detail = "this text is a write key already, of a file or of the catalog, and a key opens one source";
    let fix = "send another `value`, or none, and the server makes one";
    ApiRefusal::new(StatusCode::CONFLICT, "write-key-taken", detail, fix).in_field("value")
}

fn end(text: &str, now_us: i64) -> Result<i64, ApiRefusal> {
    let refused = |detail: String| {
        let fix = "write a time to come with its offset from UTC, such as 2026-12-31T00:00:00Z; or leave it out";
        ApiRefusal::unprocessable("ends-at", detail, fix).in_field("ends_at")
    };
    let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
    let end = time::parse(text).ok_or_else(|| refused(format!("{shown:?} is not a time with its offset from UTC")))?;
    if end <= now_us { Err(refused(format!("{shown:?} is over already"))) } else { Ok(end) }
}

fn grace_us(asked: Option<u64>) -> Result<i64, ApiRefusal> {
    let seconds = asked.unwrap_or(GRACE_SECONDS);
    let fits = i64::try_from(seconds).ok().filter(|_| seconds <= GRACE_SECONDS_MAX);
    fits.map(|seconds| seconds * 1_000_000).ok_or_else(|| {
        let detail = format!("{seconds} seconds are more than 400 days");
        let fix = "send 0 to 34560000; a key that shall work on needs no rotation";
        ApiRefusal::unprocessable("grace-seconds", detail, fix).in_field("grace_seconds")
    })
}

/// The keys of a source at the door; of a source in a workspace that does not run none is there.
fn at_door<'e>(
    entrance: Option<&'e Entrance>,
    source: &CatalogObject,
    origin: KeyOrigin,
) -> impl Iterator<Item = &'e WriteKey> {
    let keys = entrance.into_iter().flat_map(Entrance::write_keys);
    keys.filter(move |key| key.origin == origin && *key.source == *source.content.name)
}

fn is_in_file(entrance: Option<&Entrance>, source: &CatalogObject, name: &str) -> bool {
    at_door(entrance, source, KeyOrigin::File).any(|key| *key.name == *name)
}

/// The name of a key by its id; the id of one that is gone.
fn name_of(id: &str, keys: &[KeptKey]) -> String {
    let found = keys.iter().find(|key| key.object.id.as_str() == id);
    found.map_or_else(|| id.to_owned(), |key| key.name.clone())
}

fn created(name: String, new: &NewWriteKey, issued: &IssuedCredential) -> CreatedWriteKey {
    CreatedWriteKey {
        id: issued.id.to_string(),
        source: new.source.clone(),
        name,
        key: issued.value.expose_text().unwrap_or_default().to_owned(),
        ends_at: new.ends_at_us.map(time::format),
        replaces: None,
        grace_until: None,
        in_force: false,
        note: None,
    }
}

/// A key in a file.
fn shown_of_file(key: &WriteKey, file: Option<&String>, now_us: i64) -> SourceWriteKey {
    SourceWriteKey {
        source: key.source.to_string(),
        name: key.name.to_string(),
        from: WriteKeyFrom::File,
        file: file.cloned(),
        id: None,
        last4: None,
        created: key.known_since_us().map(time::format),
        ends_at: key.ends_at_us.map(time::format),
        grace_until: None,
        replaced_by: None,
        ended: key.has_ended(now_us),
        events: key.uses.events(),
        first_used: key.uses.first_us().map(time::format),
        last_used: key.uses.last_us().map(time::format),
    }
}

/// A key of the catalog, with what the door has counted for it.
fn shown(key: &KeptKey, keys: &[KeptKey], counted: Option<&WriteKey>, now_us: i64) -> SourceWriteKey {
    let KeptKey { object, spec, name } = key;
    let uses = counted.map(|key| &key.uses);
    SourceWriteKey {
        source: spec.source.clone(),
        name: name.clone(),
        from: WriteKeyFrom::Api,
        file: None,
        id: Some(object.id.to_string()),
        last4: Some(spec.last4.clone()),
        created: Some(time::format(object.created_at_us)),
        ends_at: spec.ends_at_us.map(time::format),
        grace_until: spec.grace_until_us.map(time::format),
        replaced_by: spec.replaced_by.as_ref().map(|next| name_of(next.as_str(), keys)),
        ended: spec.end_us().is_some_and(|end| end <= now_us),
        events: uses.map_or(0, |uses| uses.events()),
        first_used: uses.and_then(|uses| uses.first_us()).map(time::format),
        last_used: uses.and_then(|uses| uses.last_us()).map(time::format),
    }
}
