//! The catalog behind the admin API: a method for each endpoint that a command uses.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_api_types::activity::{ActivityQuery, ShownActivity};
use tidegate_api_types::conservation::{ConservationQuery, ConservationReport};
use tidegate_api_types::control::{
    ApplyFolder, ApplyQuery, AuditQuery, AuditVerdict, CreateToken, CreatedToken, FolderApplied, PlanFolder,
    ShownCatalogPlan, StoredBlob, Tokens, VerifyAudit,
};
use tidegate_api_types::object::{
    ChangeDone, ChangeQuery, DeleteQuery, DiffQuery, HistoryQuery, NewObject, ObjectDiff, ObjectHistory, ObjectQuery,
    Objects, SecretList, ShownObject, ShownSecret, UsedBy, WorkspaceQuery, WriteSecret,
};
use tidegate_api_types::path;
use tidegate_api_types::privacy::{
    ConsentsSaid, ForgetSubjects, ForgottenVerified, SayConsents, ShownForgetJob, ShownForgetJobs, SubjectsSuppressed,
    SuppressSubjects, SuppressedNames, VerifyForgotten,
};
use tidegate_api_types::promotion::PromoteObjects;
use tidegate_api_types::quarantine::{
    EditEntry, EntriesExported, EntriesPurged, EntriesTried, EntryCounts, PurgeEntries, QuarantineEntries,
    QuarantineQuery, RetryEntries, RetryJobs, ShownEntry, ShownRetryJob, TryEntries,
};
use tidegate_api_types::stream::{SeekStream, ShownStream, StreamSought};
use tidegate_api_types::trace::{EventTraces, TapQuery, TraceQuery};
use tidegate_api_types::tried::{ObjectTried, TryObject};
use tidegate_api_types::workspace::SyncEnding;
use tidegate_api_types::write_key::{
    CreateWriteKey, CreatedWriteKey, RevokedWriteKey, RotateWriteKey, ShownWriteKeys, SourceWriteKeys,
};

use super::admin::{AdminClient, UPLOAD_TIME_MAX};
use super::error::ClientError;
use super::http::{ANSWER_TIME_MAX, ServerStream};
use crate::api::WORKSPACE_DEFAULT;

/// Somebody with a token, and a workspace of the catalog.
pub(in crate::cli) struct CatalogClient {
    client: AdminClient,
    workspace: Option<String>,
}

/// How an object is written.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cli) struct WriteManner {
    /// Only if the object is still of this revision.
    pub(in crate::cli) revision: Option<u64>,
    /// Say what would be done, and do nothing.
    pub(in crate::cli) dry_run: bool,
    /// Change what the files of a folder manage all the same.
    pub(in crate::cli) force: bool,
}

type CatalogAnswer<T> = Result<T, ClientError>;

/// Objects that are asked for at once.
const PAGE: u64 = 1_000;

impl CatalogClient {
    pub(in crate::cli) const fn new(client: AdminClient, workspace: Option<String>) -> Self {
        Self { client, workspace }
    }

    pub(super) fn workspace(&self) -> WorkspaceQuery {
        WorkspaceQuery { workspace: self.workspace.clone() }
    }

    /// All objects of a kind, however many pages they take.
    pub(in crate::cli) async fn objects(&self, kind: &str, query: &ObjectQuery) -> CatalogAnswer<Vec<ShownObject>> {
        let (mut objects, mut cursor) = (Vec::new(), None);
        loop {
            let workspace = self.workspace.clone();
            let asked = ObjectQuery { workspace, cursor, limit: Some(PAGE), ..query.clone() };
            let page: Objects = self.get(&of_kind(path::OBJECTS, kind), "", &asked).await?;
            objects.extend(page.objects);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(objects),
            }
        }
    }

    /// Names of objects that begin so, at most a page of them.
    pub(in crate::cli) async fn names(&self, kind: &str, prefix: &str) -> CatalogAnswer<Vec<String>> {
        self.names_in(self.workspace.as_deref(), kind, prefix).await
    }

    /// The same in a workspace.
    pub(in crate::cli) async fn names_in(
        &self,
        workspace: Option<&str>,
        kind: &str,
        prefix: &str,
    ) -> CatalogAnswer<Vec<String>> {
        let (workspace, prefix) = (workspace.map(str::to_owned), Some(prefix.to_owned()));
        let query = ObjectQuery { workspace, prefix, limit: Some(PAGE), ..ObjectQuery::default() };
        let page: Objects = self.get(&of_kind(path::OBJECTS, kind), "", &query).await?;
        Ok(page.objects.into_iter().map(|object| object.name).collect())
    }

    /// Names of the workspaces that whoever asks has roles in.
    pub(in crate::cli) async fn workspaces(&self) -> CatalogAnswer<Vec<String>> {
        let roles = self.client.who_am_i().await?.roles;
        let mut names: Vec<String> = roles.into_keys().filter(|workspace| workspace != "*").collect();
        if !names.iter().any(|name| name == WORKSPACE_DEFAULT) {
            names.push(WORKSPACE_DEFAULT.to_owned());
        }
        Ok(names)
    }

    /// The environments that run there in which whoever asks has a role.
    pub(in crate::cli) async fn environments(&self) -> CatalogAnswer<Vec<String>> {
        Ok(self.client.who_am_i().await?.environments)
    }

    pub(in crate::cli) async fn object(&self, kind: &str, name: &str) -> CatalogAnswer<ShownObject> {
        let found = self.get(&of_kind(path::OBJECT, kind), name, &self.workspace()).await;
        found.map_err(|error| error.about(kind, name))
    }

    /// All versions of an object, however many pages they take.
    pub(in crate::cli) async fn history(&self, kind: &str, name: &str) -> CatalogAnswer<ObjectHistory> {
        let (path, mut versions, mut before) = (of_kind(path::OBJECT_HISTORY, kind), Vec::new(), None);
        loop {
            let query = HistoryQuery { workspace: self.workspace.clone(), before, limit: Some(PAGE) };
            let page: CatalogAnswer<ObjectHistory> = self.get(&path, name, &query).await;
            let page = page.map_err(|error| error.about(kind, name))?;
            versions.extend(page.versions);
            match page.next {
                Some(next) => before = Some(next),
                None => return Ok(ObjectHistory { versions, next: None }),
            }
        }
    }

    pub(in crate::cli) async fn diff(
        &self,
        kind: &str,
        name: &str,
        (from, to): (Option<u64>, Option<u64>),
    ) -> CatalogAnswer<ObjectDiff> {
        let query = DiffQuery { workspace: self.workspace.clone(), from, to };
        let found = self.get(&of_kind(path::OBJECT_DIFF, kind), name, &query).await;
        found.map_err(|error| error.about(kind, name))
    }

    /// The objects that name one.
    pub(in crate::cli) async fn used_by(&self, kind: &str, name: &str) -> CatalogAnswer<UsedBy> {
        self.get(&of_kind(path::OBJECT_USED_BY, kind), name, &self.workspace()).await
    }

    /// Tries an object out, which changes nothing. Functions may have to be compiled for it.
    pub(in crate::cli) async fn try_object(
        &self,
        (kind, name): (&str, &str),
        asked: &TryObject,
    ) -> CatalogAnswer<ObjectTried> {
        let at = of_kind(path::OBJECT_TEST, kind);
        let request = self.client.http().query(Method::POST, (&at, name), &self.workspace())?;
        self.client.exchange(request.header(CONTENT_TYPE, JSON).body(body(asked)?), UPLOAD_TIME_MAX).await
    }

    /// All secrets, however many pages they take, without their values.
    pub(in crate::cli) async fn secrets(&self) -> CatalogAnswer<Vec<ShownSecret>> {
        let (mut secrets, mut cursor) = (Vec::new(), None);
        loop {
            let workspace = self.workspace.clone();
            let query = ObjectQuery { workspace, cursor, limit: Some(PAGE), ..ObjectQuery::default() };
            let page: SecretList = self.get(path::SECRETS, "", &query).await?;
            secrets.extend(page.secrets);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(secrets),
            }
        }
    }

    /// What names a secret is opened anew by it.
    pub(in crate::cli) async fn write_secret(&self, name: &str, value: String) -> CatalogAnswer<ChangeDone> {
        let request = self.client.http().query(Method::PUT, (path::SECRET, name), &self.workspace())?;
        let request = request.header(CONTENT_TYPE, JSON).body(body(&WriteSecret { value })?);
        self.client.exchange(request, UPLOAD_TIME_MAX).await
    }

    /// Makes an object, or says what that would do. Functions may have to be compiled for it.
    pub(in crate::cli) async fn create_with(
        &self,
        kind: &str,
        new: &NewObject,
        manner: WriteManner,
    ) -> CatalogAnswer<ChangeDone> {
        self.write((Method::POST, &of_kind(path::OBJECTS, kind), ""), new, manner).await
    }

    /// The same for an object that is there.
    pub(in crate::cli) async fn update_with(
        &self,
        (kind, name): (&str, &str),
        new: &NewObject,
        manner: WriteManner,
    ) -> CatalogAnswer<ChangeDone> {
        self.write((Method::PUT, &of_kind(path::OBJECT, kind), name), new, manner).await
    }

    async fn write(
        &self,
        (method, at, name): (Method, &str, &str),
        new: &NewObject,
        manner: WriteManner,
    ) -> CatalogAnswer<ChangeDone> {
        let query = ChangeQuery { dry_run: manner.dry_run, force: manner.force, ..self.change() };
        let mut request = self.client.http().query(method, (at, name), &query)?.header(CONTENT_TYPE, JSON);
        if let Some(revision) = manner.revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        self.client.exchange(request.body(body(new)?), UPLOAD_TIME_MAX).await
    }

    pub(in crate::cli) async fn create(&self, kind: &str, new: &NewObject) -> CatalogAnswer<ChangeDone> {
        self.send(Method::POST, (&of_kind(path::OBJECTS, kind), ""), None, new).await
    }

    /// Only if the object is still of this revision.
    pub(in crate::cli) async fn update(
        &self,
        kind: &str,
        (name, revision): (&str, u64),
        new: &NewObject,
    ) -> CatalogAnswer<ChangeDone> {
        self.send(Method::PUT, (&of_kind(path::OBJECT, kind), name), Some(revision), new).await
    }

    pub(in crate::cli) async fn delete(&self, kind: &str, name: &str) -> CatalogAnswer<ChangeDone> {
        self.delete_with((kind, name), None).await
    }

    /// The same, where something may wait for the object. Functions may have to be compiled for it.
    pub(in crate::cli) async fn delete_with(
        &self,
        (kind, name): (&str, &str),
        ending: Option<SyncEnding>,
    ) -> CatalogAnswer<ChangeDone> {
        let query = DeleteQuery {
            workspace: self.workspace.clone(),
            drain: ending == Some(SyncEnding::Drain),
            abandon: ending == Some(SyncEnding::Abandon),
            ..DeleteQuery::default()
        };
        let request = self.client.http().query(Method::DELETE, (&of_kind(path::OBJECT, kind), name), &query)?;
        self.client.exchange(request, UPLOAD_TIME_MAX).await.map_err(|error| error.about(kind, name))
    }

    /// Pauses an object, or lets it go on. Functions may have to be compiled for it.
    pub(in crate::cli) async fn pause(&self, kind: &str, name: &str, is_paused: bool) -> CatalogAnswer<ChangeDone> {
        let at = if is_paused { path::OBJECT_PAUSE } else { path::OBJECT_RESUME };
        let request = self.client.http().query(Method::POST, (&of_kind(at, kind), name), &self.change())?;
        self.client.exchange(request, UPLOAD_TIME_MAX).await.map_err(|error| error.about(kind, name))
    }

    pub(in crate::cli) async fn plan(&self, folder: &PlanFolder) -> CatalogAnswer<ShownCatalogPlan> {
        self.send(Method::POST, (path::PLANS, ""), None, folder).await
    }

    /// Functions may have to be compiled for it.
    pub(in crate::cli) async fn apply(&self, folder: &ApplyFolder, dry_run: bool) -> CatalogAnswer<FolderApplied> {
        let query = ApplyQuery { workspace: self.workspace.clone(), dry_run };
        let request = self.client.http().query(Method::POST, (path::APPLY, ""), &query)?;
        self.client.exchange(request.header(CONTENT_TYPE, JSON).body(body(folder)?), UPLOAD_TIME_MAX).await
    }

    /// Functions may have to be compiled for it.
    pub(in crate::cli) async fn promote(&self, asked: &PromoteObjects) -> CatalogAnswer<FolderApplied> {
        let request = self.client.http().request(Method::POST, path::PROMOTIONS, "")?;
        self.client.exchange(request.header(CONTENT_TYPE, JSON).body(body(asked)?), UPLOAD_TIME_MAX).await
    }

    pub(in crate::cli) async fn store_blob(&self, sha256: &str, content: Vec<u8>) -> CatalogAnswer<StoredBlob> {
        let request = self.client.http().query(Method::PUT, (path::BLOB, sha256), &self.workspace())?;
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        self.client.exchange(request.body(content), UPLOAD_TIME_MAX).await
    }

    pub(in crate::cli) async fn blob(&self, sha256: &str) -> CatalogAnswer<Bytes> {
        let request = self.client.http().query(Method::GET, (path::BLOB, sha256), &self.workspace())?;
        self.client.exchange_bytes(request, UPLOAD_TIME_MAX).await
    }

    /// All tokens, however many pages they take.
    pub(in crate::cli) async fn tokens(&self) -> CatalogAnswer<Tokens> {
        let (mut tokens, mut cursor) = (Vec::new(), None);
        loop {
            let workspace = self.workspace.clone();
            let query = ObjectQuery { workspace, cursor, limit: Some(PAGE), ..ObjectQuery::default() };
            let page: Tokens = self.get(path::TOKENS, "", &query).await?;
            tokens.extend(page.tokens);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(Tokens { tokens, next: None }),
            }
        }
    }

    pub(in crate::cli) async fn create_token(&self, asked: &CreateToken) -> CatalogAnswer<CreatedToken> {
        self.send(Method::POST, (path::TOKENS, ""), None, asked).await
    }

    pub(in crate::cli) async fn source_keys(&self, source: &str) -> CatalogAnswer<SourceWriteKeys> {
        let found = self.get(&of_source(path::SOURCE_WRITE_KEYS, source)?, "", &self.workspace()).await;
        found.map_err(|error| error.about("source", source))
    }

    pub(in crate::cli) async fn create_key(
        &self,
        source: &str,
        asked: &CreateWriteKey,
    ) -> CatalogAnswer<CreatedWriteKey> {
        let made = self.send(Method::POST, (&of_source(path::SOURCE_WRITE_KEYS, source)?, ""), None, asked).await;
        made.map_err(|error| error.about("source", source))
    }

    pub(in crate::cli) async fn rotate_key(
        &self,
        (source, key): (&str, &str),
        asked: &RotateWriteKey,
    ) -> CatalogAnswer<CreatedWriteKey> {
        let at = of_source(path::SOURCE_WRITE_KEY_ROTATE, source)?;
        let made = self.send(Method::POST, (&at, key), None, asked).await;
        made.map_err(|error| error.about_key(source, key))
    }

    pub(in crate::cli) async fn revoke_key(&self, source: &str, key: &str) -> CatalogAnswer<RevokedWriteKey> {
        let at = of_source(path::SOURCE_WRITE_KEY, source)?;
        let request = self.client.http().query(Method::DELETE, (&at, key), &self.workspace())?;
        self.client.exchange(request, ANSWER_TIME_MAX).await.map_err(|error| error.about_key(source, key))
    }

    pub(in crate::cli) async fn stream(&self, source: &str) -> CatalogAnswer<ShownStream> {
        let found = self.get(&of_source(path::SOURCE_STREAM, source)?, "", &self.workspace()).await;
        found.map_err(|error| error.about("source", source))
    }

    /// What was read before comes to its end first.
    pub(in crate::cli) async fn seek(&self, source: &str, asked: &SeekStream) -> CatalogAnswer<StreamSought> {
        let at = of_source(path::SOURCE_SEEK, source)?;
        let request = self.client.http().query(Method::POST, (&at, ""), &self.workspace())?;
        let request = request.header(CONTENT_TYPE, JSON).body(body(asked)?);
        self.client.exchange(request, UPLOAD_TIME_MAX).await.map_err(|error| error.about("source", source))
    }

    /// Some of the quarantined events; the query goes on from page to page.
    pub(in crate::cli) async fn quarantine(&self, query: &QuarantineQuery) -> CatalogAnswer<QuarantineEntries> {
        self.get(path::QUARANTINE, "", &self.of_quarantine(query)).await
    }

    pub(in crate::cli) async fn count_quarantine(&self, query: &QuarantineQuery) -> CatalogAnswer<EntryCounts> {
        self.get(path::QUARANTINE_COUNTS, "", &self.of_quarantine(query)).await
    }

    pub(in crate::cli) async fn export_quarantine(&self, query: &QuarantineQuery) -> CatalogAnswer<EntriesExported> {
        self.get(path::QUARANTINE_EXPORT, "", &self.of_quarantine(query)).await
    }

    pub(in crate::cli) async fn quarantined(&self, id: u64) -> CatalogAnswer<ShownEntry> {
        self.get(path::QUARANTINE_ENTRY, &id.to_string(), &self.workspace()).await
    }

    /// Functions may take their time.
    pub(in crate::cli) async fn try_quarantine(&self, asked: &TryEntries) -> CatalogAnswer<EntriesTried> {
        let request = self.client.http().query(Method::POST, (path::QUARANTINE_TRY, ""), &self.workspace())?;
        let request = request.header(CONTENT_TYPE, JSON).body(body(asked)?);
        self.client.exchange(request, UPLOAD_TIME_MAX).await
    }

    pub(in crate::cli) async fn retry_quarantine(&self, asked: &RetryEntries) -> CatalogAnswer<ShownRetryJob> {
        self.send(Method::POST, (path::QUARANTINE_RETRY, ""), None, asked).await
    }

    pub(in crate::cli) async fn edit_quarantined(&self, id: u64, asked: &EditEntry) -> CatalogAnswer<ShownRetryJob> {
        self.send(Method::POST, (path::QUARANTINE_ENTRY_EDIT, &id.to_string()), None, asked).await
    }

    pub(in crate::cli) async fn purge_quarantine(&self, asked: &PurgeEntries) -> CatalogAnswer<EntriesPurged> {
        self.send(Method::POST, (path::QUARANTINE_PURGE, ""), None, asked).await
    }

    pub(in crate::cli) async fn retry_jobs(&self) -> CatalogAnswer<RetryJobs> {
        self.get(path::QUARANTINE_JOBS, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn retry_job(&self, id: u64) -> CatalogAnswer<ShownRetryJob> {
        self.get(path::QUARANTINE_JOB, &id.to_string(), &self.workspace()).await
    }

    pub(in crate::cli) async fn cancel_retry_job(&self, id: u64) -> CatalogAnswer<ShownRetryJob> {
        let nothing = serde_json::json!({});
        self.send(Method::POST, (path::QUARANTINE_JOB_CANCEL, &id.to_string()), None, &nothing).await
    }

    /// What has become of single events.
    pub(in crate::cli) async fn trace(&self, query: &TraceQuery) -> CatalogAnswer<EventTraces> {
        let query = TraceQuery { workspace: self.workspace.clone(), ..query.clone() };
        self.get(path::TRACE, "", &query).await
    }

    /// How much comes, what becomes of it in this hour, and how far everything is.
    pub(in crate::cli) async fn activity(&self) -> CatalogAnswer<ShownActivity> {
        let query = ActivityQuery { workspace: self.workspace.clone(), hours: Some(1) };
        self.get(path::ACTIVITY, "", &query).await
    }

    /// The numbers of the server, as Prometheus reads them.
    pub(in crate::cli) async fn metrics(&self) -> CatalogAnswer<String> {
        self.client.exchange_text(self.client.http().request(Method::GET, path::METRICS, "")?).await
    }

    /// The write keys of all sources.
    pub(in crate::cli) async fn all_write_keys(&self) -> CatalogAnswer<ShownWriteKeys> {
        self.client.write_keys().await
    }

    /// The server that is asked.
    pub(in crate::cli) fn origin(&self) -> String {
        self.client.http().origin()
    }

    /// Events while they pass.
    pub(in crate::cli) async fn tap(&self, query: &TapQuery) -> CatalogAnswer<ServerStream> {
        let query = TapQuery { workspace: self.workspace.clone(), ..query.clone() };
        let request = self.client.http().query(Method::GET, (path::TAP, ""), &query)?;
        self.client.stream(request.header(ACCEPT, "text/event-stream")).await
    }

    pub(in crate::cli) async fn suppressed(&self) -> CatalogAnswer<SuppressedNames> {
        self.get(path::PRIVACY_SUPPRESSED, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn suppress(&self, asked: &SuppressSubjects) -> CatalogAnswer<SubjectsSuppressed> {
        self.send(Method::POST, (path::PRIVACY_SUPPRESS, ""), None, asked).await
    }

    pub(in crate::cli) async fn unsuppress(&self, asked: &SuppressSubjects) -> CatalogAnswer<SubjectsSuppressed> {
        self.send(Method::POST, (path::PRIVACY_UNSUPPRESS, ""), None, asked).await
    }

    pub(in crate::cli) async fn say_consents(&self, asked: &SayConsents) -> CatalogAnswer<ConsentsSaid> {
        self.send(Method::POST, (path::PRIVACY_CONSENT, ""), None, asked).await
    }

    pub(in crate::cli) async fn forget(&self, asked: &ForgetSubjects) -> CatalogAnswer<ShownForgetJob> {
        self.send(Method::POST, (path::PRIVACY_FORGET, ""), None, asked).await
    }

    pub(in crate::cli) async fn forget_jobs(&self) -> CatalogAnswer<ShownForgetJobs> {
        self.get(path::PRIVACY_JOBS, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn forget_job(&self, id: u64) -> CatalogAnswer<ShownForgetJob> {
        self.get(path::PRIVACY_JOB, &id.to_string(), &self.workspace()).await
    }

    /// Every file of the data directory is read.
    pub(in crate::cli) async fn verify_forgotten(&self, asked: &VerifyForgotten) -> CatalogAnswer<ForgottenVerified> {
        let request = self.client.http().query(Method::POST, (path::PRIVACY_VERIFY, ""), &self.workspace())?;
        let request = request.header(CONTENT_TYPE, JSON).body(body(asked)?);
        self.client.exchange(request, UPLOAD_TIME_MAX).await
    }

    fn of_quarantine(&self, query: &QuarantineQuery) -> QuarantineQuery {
        QuarantineQuery { workspace: self.workspace.clone(), ..query.clone() }
    }

    /// Reading the log once more may take its time.
    pub(in crate::cli) async fn conservation(&self, query: &ConservationQuery) -> CatalogAnswer<ConservationReport> {
        let query = ConservationQuery { workspace: self.workspace.clone(), ..query.clone() };
        let request = self.client.http().query(Method::GET, (path::CONSERVATION, ""), &query)?;
        self.client.exchange(request, UPLOAD_TIME_MAX).await
    }

    pub(in crate::cli) async fn verify_audit(&self, asked: &VerifyAudit) -> CatalogAnswer<AuditVerdict> {
        let request = self.client.http().request(Method::POST, path::AUDIT_VERIFY, "")?;
        self.client.exchange(request.header(CONTENT_TYPE, JSON).body(body(asked)?), ANSWER_TIME_MAX).await
    }

    /// Lines of JSON that follow on `from`.
    pub(in crate::cli) async fn export_audit(&self, query: &AuditQuery) -> CatalogAnswer<String> {
        let query = AuditQuery { workspace: self.workspace.clone(), limit: Some(PAGE), ..query.clone() };
        self.client.exchange_text(self.client.http().query(Method::GET, (path::AUDIT_EXPORT, ""), &query)?).await
    }

    fn change(&self) -> ChangeQuery {
        ChangeQuery { workspace: self.workspace.clone(), ..ChangeQuery::default() }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        query: &impl Serialize,
    ) -> CatalogAnswer<T> {
        self.client.exchange(self.client.http().query(Method::GET, (path, name), query)?, ANSWER_TIME_MAX).await
    }

    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        at: (&str, &str),
        revision: Option<u64>,
        asked: &impl Serialize,
    ) -> CatalogAnswer<T> {
        let mut request = self.client.http().query(method, at, &self.workspace())?.header(CONTENT_TYPE, JSON);
        if let Some(revision) = revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        self.client.exchange(request.body(body(asked)?), ANSWER_TIME_MAX).await
    }
}

const JSON: &str = "application/json";

fn body(asked: &impl Serialize) -> CatalogAnswer<Vec<u8>> {
    serde_json::to_vec(asked).map_err(|error| ClientError::Setup(error.to_string()))
}

/// A path with the source in its place: a name that would be another path is none.
fn of_source(path: &str, source: &str) -> CatalogAnswer<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if source.is_empty() || source.starts_with('.') || !source.chars().all(fits) {
        return Err(ClientError::Name { name: source.to_owned() });
    }
    Ok(path.replace("{name}", source))
}

/// A path with the kind in its place; what the kind may not be, the server says.
fn of_kind(path: &str, kind: &str) -> String {
    let plain: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    path.replace("{kind}", if plain.is_empty() { "none" } else { &plain })
}
