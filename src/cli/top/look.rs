//! One look at a server: what it says at a moment, as far as whoever looks may know it.

use std::time::Instant;

use tidegate_api_types::activity::ShownActivity;
use tidegate_api_types::alert::ShownAlerts;
use tidegate_api_types::write_key::ShownWriteKeys;

use super::samples::ReadSamples;
use crate::cli::client::{CatalogClient, ClientError};

/// What a server says at a moment.
#[derive(Debug)]
pub(super) struct TopLook {
    pub(super) taken: Instant,
    pub(super) activity: ShownActivity,
    /// None where whoever looks may not have them.
    pub(super) samples: Option<ReadSamples>,
    pub(super) keys: Option<ShownWriteKeys>,
    pub(super) alerts: Option<ShownAlerts>,
}

impl TopLook {
    /// Looks at an environment.
    ///
    /// # Errors
    /// The server does not say how the syncs are.
    pub(super) async fn take(client: &CatalogClient, environment: &str) -> Result<Self, ClientError> {
        // A wrong token is shown once, and not for each of them.
        let activity = client.activity().await?;
        let (alerts, text, keys) = tokio::join!(client.alerts(), client.metrics(), client.all_write_keys());
        let samples = if_allowed(text)?.map(|text| ReadSamples::read(&text, environment));
        let (keys, alerts) = (if_allowed(keys)?, if_allowed(alerts)?);
        Ok(Self { taken: Instant::now(), activity, samples, keys, alerts })
    }

    /// What is missing, in sentences.
    pub(super) fn not_seen(&self) -> Vec<String> {
        let parts = [
            (
                self.samples.is_none(),
                "functions, destinations and freshness are for admins of the server: GET /metrics said no",
            ),
            (self.keys.is_none(), "write keys are for admins of the environment"),
            (self.alerts.is_none(), "the server does not tell of alerts"),
        ];
        parts.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, why)| why.to_owned()).collect()
    }
}

/// What is not for whoever asks is none.
fn if_allowed<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
        Err(error) => Err(error),
    }
}
