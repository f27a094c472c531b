//! Replays behind the admin API.

use reqwest::Method;
use tidegate_api_types::path;
use tidegate_api_types::replay::{ReplayEvents, ShownReplay, ShownReplays};

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn replay(&self, asked: &ReplayEvents) -> Result<ShownReplay, ClientError> {
        self.send(Method::POST, (path::REPLAYS, ""), None, asked).await
    }

    pub(in crate::cli) async fn replays(&self) -> Result<ShownReplays, ClientError> {
        self.get(path::REPLAYS, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn shown_replay(&self, id: u64) -> Result<ShownReplay, ClientError> {
        self.get(path::REPLAY, &id.to_string(), &self.workspace()).await
    }

    pub(in crate::cli) async fn cancel_replay(&self, id: u64) -> Result<ShownReplay, ClientError> {
        let nothing = serde_json::json!({});
        self.send(Method::POST, (path::REPLAY_CANCEL, &id.to_string()), None, &nothing).await
    }
}
