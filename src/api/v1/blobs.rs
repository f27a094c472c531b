//! Files that documents name, by their content: sent before a folder is applied, and given to whoever may see what names them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_api_types::control::StoredBlob;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_catalog::{
    ActingPrincipal, CatalogSnapshot, Labels, ObjectContent, ObjectKind, RightsTarget, Verb, authorise,
};
use tidegate_process::whole_file;

use super::asker::{OfApi, Requester, workspace_of};
use super::permit::{AskedThing, denied_in_log, may};
use super::refused::absent;
use crate::api::extract::{Query, blocking, body};
use crate::api::refusal::ApiRefusal;
use crate::api::sent_blobs::SentBlobs;
use crate::api::{CatalogSettings, SharedApi};

/// As large as a component may be that is read from a folder.
pub(super) const BLOB_BYTES_MAX: usize = 64 << 20;
/// Files that are kept. Those that nothing names any more are among them.
const BLOBS_MAX: usize = 10_000;
/// What to do about a file that somebody has not shown to have.
pub(super) const SEND_BLOB: &str =
    "send it with PUT /api/v1/blobs/{sha256}, named by its SHA-256 in 64 hexadecimal digits";
const NO_BLOB: &str = "there is no such file that you may see";
/// Kinds of objects that name files.
const OF_FILES: [ObjectKind; 3] = [ObjectKind::Function, ObjectKind::Lookup, ObjectKind::Destination];

/// The SHA-256 in a path.
pub(super) struct BlobInPath(String);

impl<S: Send + Sync> FromRequestParts<S> for BlobInPath {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        let sha256 = params.iter().next().map(|(_, value)| value).unwrap_or_default();
        if is_sha256(sha256) {
            return Ok(Self(sha256.to_owned()));
        }
        let fix = "name the file by the SHA-256 of its content, in 64 hexadecimal digits";
        Err(ApiRefusal::bad("sha256", "the path names no SHA-256", fix).in_field("sha256"))
    }
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the file with this content is kept.
pub(super) fn has_blob(folder: &Path, sha256: &str) -> bool {
    folder.join(sha256).is_file()
}

/// Keeps a file: the component of a function or a destination, the table of a lookup. Documents that are applied afterwards name it.
#[utoipa::path(put, path = path::BLOB, tag = "plans", operation_id = "store_blob",
    params(("sha256" = String, Path), WorkspaceQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = StoredBlob), (status = 200, body = StoredBlob), ApiRefusal))]
pub(super) async fn store(
    State(shared): OfApi,
    asker: Requester,
    BlobInPath(sha256): BlobInPath,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> Result<(StatusCode, axum::Json<StoredBlob>), ApiRefusal> {
    shared.may_store(&asker, &workspace_of(ObjectKind::Function, query.workspace.as_deref())).await?;
    let bytes = body(&shared, request, BLOB_BYTES_MAX, "a file").await?;
    let (folder, name, content) = (shared.settings.catalog.files.clone(), sha256.clone(), bytes.clone());
    let kept = blocking(move || {
        let is_right = HEXLOWER.encode(&Sha256::digest(&content)) == name;
        is_right.then(|| keep(&folder, &name, &content))
    });
    let status = match kept.await? {
        None => {
            let fix = "send the file whose hash the path names, whole";
            return Err(ApiRefusal::unprocessable("wrong-hash", "the body has another SHA-256 than the path", fix));
        }
        Some(Ok(true)) => StatusCode::CREATED,
        Some(Ok(false)) => StatusCode::OK,
        Some(Err(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
            let fix = "remove files of `store/files` in the data directory that nothing names";
            return Err(ApiRefusal::new(StatusCode::INSUFFICIENT_STORAGE, "store-full", error.to_string(), fix));
        }
        Some(Err(error)) => return Err(ApiRefusal::failed("the file could not be kept", &error)),
    };
    if let Some(acting) = asker.acting() {
        shared.sent.note(&acting.id, &sha256);
    }
    Ok((status, axum::Json(StoredBlob { sha256, bytes: bytes.len() as u64 })))
}

/// A file that an object names which whoever asks may view, or that they have sent lately.
#[utoipa::path(get, path = path::BLOB, tag = "plans", operation_id = "show_blob",
    params(("sha256" = String, Path), WorkspaceQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    BlobInPath(sha256): BlobInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<([(HeaderName, HeaderValue); 1], Bytes), ApiRefusal> {
    if asker.acting().is_some() {
        let workspace = workspace_of(ObjectKind::Function, query.workspace.as_deref());
        let snapshot = shared.settings.catalog.catalog.snapshot(&workspace, None).await;
        let snapshot = snapshot.map_err(|error| shared.refused(error))?;
        if !shared.known_blobs(&asker, &snapshot).has(&sha256) {
            return Err(absent(NO_BLOB));
        }
    }
    let path = shared.settings.catalog.files.join(&sha256);
    let read = blocking(move || std::fs::read(path)).await?;
    let bytes = read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => absent(NO_BLOB),
        _ => ApiRefusal::failed("the file could not be read", &error),
    })?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], bytes.into()))
}

/// The files that somebody may name and read: those that they have sent, and those of objects that they may view.
pub(super) struct KnownBlobs<'a> {
    /// None for the admin token, which may read all.
    acting: Option<&'a ActingPrincipal>,
    sent: &'a SentBlobs,
    of_objects: BTreeSet<&'a str>,
}

impl KnownBlobs<'_> {
    pub(super) fn has(&self, sha256: &str) -> bool {
        self.acting.is_none_or(|acting| self.of_objects.contains(sha256) || self.sent.has(&acting.id, sha256))
    }
}

/// The files that a spec says were sent with it, each with its SHA-256.
pub(super) fn named_blobs<'s>(settings: &CatalogSettings, spec: &'s Value) -> impl Iterator<Item = (&'s str, &'s str)> {
    let files = spec.get(settings.files_field).and_then(Value::as_object).into_iter().flatten();
    files.filter_map(|(path, sha256)| Some((path.as_str(), sha256.as_str()?)))
}

impl SharedApi {
    /// What whoever asks may name and read in a workspace.
    pub(super) fn known_blobs<'a>(&'a self, asker: &'a Requester, snapshot: &'a CatalogSnapshot) -> KnownBlobs<'a> {
        let acting = asker.acting().map(|acting| &**acting);
        let mut of_objects = BTreeSet::new();
        for object in snapshot.objects.iter().filter(|_| acting.is_some()) {
            let mut named = named_blobs(&self.settings.catalog, &object.content.spec).peekable();
            let is_visible = |acting: &ActingPrincipal| may(acting, Verb::View, object, Some(snapshot)).is_ok();
            if named.peek().is_some() && acting.is_some_and(is_visible) {
                of_objects.extend(named.map(|(_, sha256)| sha256));
            }
        }
        KnownBlobs { acting, sent: &self.sent, of_objects }
    }

    /// Refuses a spec that names a file which whoever asks may not read: by the object they would.
    pub(super) async fn refuse_unknown_blobs(
        &self,
        asker: &Requester,
        workspace: &str,
        spec: &Value,
    ) -> Result<(), ApiRefusal> {
        let settings = &self.settings.catalog;
        if asker.acting().is_none() || named_blobs(settings, spec).next().is_none() {
            return Ok(());
        }
        let snapshot = settings.catalog.snapshot(workspace, None).await.map_err(|error| self.refused(error))?;
        let known = self.known_blobs(asker, &snapshot);
        let Some((path, sha256)) = named_blobs(settings, spec).find(|(_, sha256)| !known.has(sha256)) else {
            return Ok(());
        };
        let detail = format!("the server does not have the content {sha256:?} of {path:?} from you");
        let field = format!("spec.{}", settings.files_field);
        Err(ApiRefusal::unprocessable("missing-files", detail, SEND_BLOB).in_field(field))
    }

    /// Whoever may make or change something that names files, may send them.
    async fn may_store(&self, asker: &Requester, workspace: &str) -> Result<(), ApiRefusal> {
        let Some(acting) = asker.acting() else { return Ok(()) };
        let mut denial = None;
        for kind in OF_FILES {
            let (name, labels) = (String::new(), Labels::new());
            let content = ObjectContent { kind, name, labels, owner: None, spec: Value::Null };
            match authorise(acting, Verb::Create.into(), &RightsTarget::of_new(workspace, &content, |_, _| None)) {
                Ok(()) => return Ok(()),
                Err(found) => denial = Some(found),
            }
        }
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let mut others = snapshot.objects.iter().filter(|object| OF_FILES.contains(&object.content.kind));
        let may_change = others.any(|object| may(acting, Verb::Update, object, None).is_ok());
        match denial.filter(|_| !may_change) {
            Some(denial) => {
                let asked = AskedThing { workspace, verb: Verb::Create, object: None };
                Err(denied_in_log(self, asker, asked, denial).await)
            }
            None => Ok(()),
        }
    }
}

/// Keeps a file unless it is there; answers whether it was new.
pub(super) fn keep(folder: &Path, sha256: &str, bytes: &[u8]) -> io::Result<bool> {
    if has_blob(folder, sha256) {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    if std::fs::read_dir(folder)?.count() >= BLOBS_MAX {
        let message = format!("{BLOBS_MAX} files are kept, and no more");
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
    }
    match whole_file::create(&folder.join(sha256), bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
