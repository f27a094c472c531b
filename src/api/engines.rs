//! The environment that a request is about: what is asked of functions, destinations and a folder is asked of one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri};
use tidegate_registry::PluginKind;
use tidegate_source::http::Entrance;

use super::access::WORKSPACE_DEFAULT;
use super::refusal::ApiRefusal;
use super::{AdminLimits, EngineSettings, SharedApi, WorkspaceNames};

/// The environment that the query of a request names, or that of the server's own folder.
pub(super) struct AskedEngine {
    pub(super) shared: Arc<SharedApi>,
    pub(super) engine: Arc<EngineSettings>,
    /// As the query has it.
    pub(super) workspace: Option<String>,
}

impl FromRequestParts<Arc<SharedApi>> for AskedEngine {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<SharedApi>) -> Result<Self, ApiRefusal> {
        let workspace = asked_workspace(&parts.uri);
        let engine = shared.engine(workspace.as_deref().unwrap_or(WORKSPACE_DEFAULT))?;
        Ok(Self { shared: Arc::clone(shared), engine, workspace })
    }
}

impl AskedEngine {
    pub(super) fn limits(&self) -> &AdminLimits {
        &self.shared.settings.limits
    }
}

impl EngineSettings {
    pub(super) fn names(&self) -> Arc<WorkspaceNames> {
        Arc::clone(&self.names.borrow())
    }

    pub(super) fn entrance(&self) -> Arc<Entrance> {
        Arc::clone(&self.entrance.borrow())
    }
}

impl SharedApi {
    /// What is uploaded and names which secrets in its settings, by the names of the secrets.
    pub(super) fn uploaded_users(&self, workspace: &str) -> BTreeMap<String, BTreeSet<(PluginKind, String)>> {
        let engine = self.settings.engines.get(workspace);
        engine.map(|engine| engine.store.releases().users_of_secrets()).unwrap_or_default()
    }

    /// The environment of a workspace.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn engine(&self, workspace: &str) -> Result<Arc<EngineSettings>, ApiRefusal> {
        self.settings.engines.get(workspace).cloned().ok_or_else(|| {
            let shown: String = workspace.chars().take(63).collect();
            let known: Vec<&str> = self.settings.engines.keys().map(String::as_str).collect();
            let detail = format!("no environment {shown:?} runs here; there are {}", known.join(", "));
            let fix = "name one of these, or write it below `environments` in tidegate.yaml and start the server anew";
            ApiRefusal::new(StatusCode::NOT_FOUND, "no-such-environment", detail, fix).in_field("workspace")
        })
    }
}

/// The workspace that a query names; of several the last.
pub(super) fn asked_workspace(uri: &Uri) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.filter(|(name, _)| name == "workspace").last().map(|(_, value)| value.into_owned())
}
