//! Rebuilds behind the admin API.

use reqwest::Method;
use tidegate_api_types::path;
use tidegate_api_types::rebuild::{RebuildSync, ShownRebuild, ShownRebuilds};

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn rebuild(&self, sync: &str, asked: &RebuildSync) -> Result<ShownRebuild, ClientError> {
        let begun = self.send(Method::POST, (path::SYNC_REBUILD, sync), None, asked).await;
        begun.map_err(|error| error.about("sync", sync))
    }

    pub(in crate::cli) async fn swap(&self, sync: &str) -> Result<ShownRebuild, ClientError> {
        let nothing = serde_json::json!({});
        let asked = self.send(Method::POST, (path::SYNC_SWAP, sync), None, &nothing).await;
        asked.map_err(|error| error.about("sync", sync))
    }

    pub(in crate::cli) async fn rebuilds(&self) -> Result<ShownRebuilds, ClientError> {
        self.get(path::REBUILDS, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn shown_rebuild(&self, id: u64) -> Result<ShownRebuild, ClientError> {
        self.get(path::REBUILD, &id.to_string(), &self.workspace()).await
    }

    pub(in crate::cli) async fn cancel_rebuild(&self, id: u64) -> Result<ShownRebuild, ClientError> {
        let nothing = serde_json::json!({});
        self.send(Method::POST, (path::REBUILD_CANCEL, &id.to_string()), None, &nothing).await
    }
}
