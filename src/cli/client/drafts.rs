//! Drafts behind the admin API.

use reqwest::Method;
use tidegate_api_types::control::{ApproveDraft, DraftQuery, Drafts, ProposeDraft, ShownDraft};
use tidegate_api_types::object::ChangeDone;
use tidegate_api_types::path;

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn drafts(&self) -> Result<Drafts, ClientError> {
        let query = DraftQuery { workspace: self.workspace().workspace, state: None };
        self.get(path::DRAFTS, "", &query).await
    }

    pub(in crate::cli) async fn draft(&self, id: &str) -> Result<ShownDraft, ClientError> {
        self.get(path::DRAFT, id, &self.workspace()).await
    }

    /// Keeps a change for somebody else to approve.
    pub(in crate::cli) async fn propose_draft(&self, asked: &ProposeDraft) -> Result<ShownDraft, ClientError> {
        self.send(Method::POST, (path::DRAFTS, ""), None, asked).await
    }

    pub(in crate::cli) async fn approve_draft(
        &self,
        id: &str,
        named: &ApproveDraft,
    ) -> Result<ChangeDone, ClientError> {
        self.send(Method::POST, (path::DRAFT_APPROVE, id), None, named).await
    }

    pub(in crate::cli) async fn close_draft(&self, id: &str) -> Result<ShownDraft, ClientError> {
        self.send(Method::POST, (path::DRAFT_CLOSE, id), None, &serde_json::json!({})).await
    }
}
