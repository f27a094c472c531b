//! What the admin API asks of those who evaluate alerts.

use std::sync::Arc;

use tidegate_api_types::alert::{ShownAlert, TestedChannel};
use tokio::sync::{mpsc, oneshot, watch};

/// What is asked.
#[derive(Debug)]
pub enum AlertOrder {
    /// Send a test message to each channel of an alert. None for an alert that is not there.
    Test { alert: String, answer: oneshot::Sender<Option<Vec<TestedChannel>>> },
    /// Look at once: something was muted, or is not any more.
    Look { done: oneshot::Sender<()> },
}

/// The alerts of an environment.
#[derive(Debug, Clone)]
pub struct AskedAlerts {
    /// As of the last look.
    pub shown: watch::Receiver<Arc<Vec<ShownAlert>>>,
    /// Takes orders; a few may wait.
    pub orders: mpsc::Sender<AlertOrder>,
}
