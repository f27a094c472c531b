//! What a stream that runs is told to do.

use std::time::Duration;

use tidegate_stream::{SeekTarget, StreamError};
use tokio::sync::{mpsc, oneshot, watch};

/// To go on elsewhere.
#[derive(Debug)]
pub struct SeekOrder {
    pub to: SeekTarget,
    pub reply: oneshot::Sender<Result<(), StreamError>>,
}

impl SeekOrder {
    /// Says that nothing was done.
    pub(super) fn refuse(self, reason: String) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Err(StreamError::Retry(reason)));
    }
}

/// Where orders come from.
#[derive(Debug)]
pub struct StreamOrders {
    /// Once it is there: to stop, and how long what is on its way to the log may take.
    pub stop: watch::Receiver<Option<Duration>>,
    pub seeks: mpsc::Receiver<SeekOrder>,
}

/// Waits for the order to stop; for how long what is on its way may take. Whoever could give it and is gone has given it.
pub(super) async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(patience) => patience.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}
