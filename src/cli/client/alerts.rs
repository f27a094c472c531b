//! Alerts behind the admin API.

use reqwest::Method;
use tidegate_api_types::alert::{AlertHistory, AlertHistoryQuery, AlertTested, MuteAlert, ShownAlert, ShownAlerts};
use tidegate_api_types::path;

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn alerts(&self) -> Result<ShownAlerts, ClientError> {
        self.get(path::ALERTS, "", &self.workspace()).await
    }

    pub(in crate::cli) async fn alert_history(
        &self,
        alert: Option<String>,
        limit: u64,
    ) -> Result<AlertHistory, ClientError> {
        let workspace = self.workspace().workspace;
        let query = AlertHistoryQuery { workspace, alert, before: None, limit: Some(limit) };
        self.get(path::ALERT_HISTORY, "", &query).await
    }

    pub(in crate::cli) async fn test_alert(&self, name: &str) -> Result<AlertTested, ClientError> {
        let nothing = serde_json::json!({});
        let sent = self.send(Method::POST, (path::ALERT_TEST, name), None, &nothing).await;
        sent.map_err(|error| error.about("alert", name))
    }

    pub(in crate::cli) async fn mute_alert(&self, name: &str, asked: &MuteAlert) -> Result<ShownAlert, ClientError> {
        let sent = self.send(Method::POST, (path::ALERT_MUTE, name), None, asked).await;
        sent.map_err(|error| error.about("alert", name))
    }

    pub(in crate::cli) async fn unmute_alert(&self, name: &str) -> Result<ShownAlert, ClientError> {
        let nothing = serde_json::json!({});
        let sent = self.send(Method::POST, (path::ALERT_UNMUTE, name), None, &nothing).await;
        sent.map_err(|error| error.about("alert", name))
    }
}
