//! The catalog behind the admin API: a method for each endpoint that a command uses.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_api_types::control::{
    AuditQuery, AuditVerdict, CreateToken, CreatedToken, PlanFolder, ShownCatalogPlan, Tokens, VerifyAudit,
};
use tidegate_api_types::object::{
    ChangeDone, ChangeQuery, DiffQuery, HistoryQuery, NewObject, ObjectDiff, ObjectHistory, ObjectQuery, Objects,
    ShownObject, WorkspaceQuery,
};
use tidegate_api_types::path;

use super::admin::AdminClient;
use super::error::ClientError;
use super::http::ANSWER_TIME_MAX;

/// Somebody with a token, and a workspace of the catalog.
pub(in crate::cli) struct CatalogClient {
    client: AdminClient,
    workspace: Option<String>,
}

type CatalogAnswer<T> = Result<T, ClientError>;

/// Objects that are asked for at once.
const PAGE: u64 = 1_000;

impl CatalogClient {
    pub(in crate::cli) const fn new(client: AdminClient, workspace: Option<String>) -> Self {
        Self { client, workspace }
    }

    fn workspace(&self) -> WorkspaceQuery {
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

    pub(in crate::cli) async fn object(&self, kind: &str, name: &str) -> CatalogAnswer<ShownObject> {
        self.get(&of_kind(path::OBJECT, kind), name, &self.workspace()).await
    }

    pub(in crate::cli) async fn history(&self, kind: &str, name: &str) -> CatalogAnswer<ObjectHistory> {
        let query = HistoryQuery { workspace: self.workspace.clone(), before: None, limit: Some(PAGE) };
        self.get(&of_kind(path::OBJECT_HISTORY, kind), name, &query).await
    }

    pub(in crate::cli) async fn diff(
        &self,
        kind: &str,
        name: &str,
        (from, to): (Option<u64>, Option<u64>),
    ) -> CatalogAnswer<ObjectDiff> {
        let query = DiffQuery { workspace: self.workspace.clone(), from, to };
        self.get(&of_kind(path::OBJECT_DIFF, kind), name, &query).await
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
        let request = self.client.http().query(Method::DELETE, (&of_kind(path::OBJECT, kind), name), &self.change())?;
        self.client.exchange(request, ANSWER_TIME_MAX).await
    }

    /// Pauses an object, or lets it go on.
    pub(in crate::cli) async fn pause(&self, kind: &str, name: &str, is_paused: bool) -> CatalogAnswer<ChangeDone> {
        let at = if is_paused { path::OBJECT_PAUSE } else { path::OBJECT_RESUME };
        let request = self.client.http().query(Method::POST, (&of_kind(at, kind), name), &self.change())?;
        self.client.exchange(request, ANSWER_TIME_MAX).await
    }

    pub(in crate::cli) async fn plan(&self, folder: &PlanFolder) -> CatalogAnswer<ShownCatalogPlan> {
        self.send(Method::POST, (path::PLANS, ""), None, folder).await
    }

    pub(in crate::cli) async fn tokens(&self) -> CatalogAnswer<Tokens> {
        let query = ObjectQuery { workspace: self.workspace.clone(), limit: Some(PAGE), ..ObjectQuery::default() };
        self.get(path::TOKENS, "", &query).await
    }

    pub(in crate::cli) async fn create_token(&self, asked: &CreateToken) -> CatalogAnswer<CreatedToken> {
        self.send(Method::POST, (path::TOKENS, ""), None, asked).await
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

    async fn get<T: DeserializeOwned>(&self, path: &str, name: &str, query: &impl Serialize) -> CatalogAnswer<T> {
        self.client.exchange(self.client.http().query(Method::GET, (path, name), query)?, ANSWER_TIME_MAX).await
    }

    async fn send<T: DeserializeOwned>(
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

/// A path with the kind in its place; what the kind may not be, the server says.
fn of_kind(path: &str, kind: &str) -> String {
    let plain: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    path.replace("{kind}", if plain.is_empty() { "none" } else { &plain })
}
