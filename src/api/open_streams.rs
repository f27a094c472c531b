//! Answers that go on: listeners, and pages that are open. Each holds a connection for minutes, so they may have half of the connections, and the rest of
//! the API is there however many pages are open.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One in so many connections may have an answer that goes on.
const PART: usize = 2;

/// How many answers may go on yet.
#[derive(Debug, Clone)]
pub(super) struct OpenStreams(Arc<Semaphore>);

/// Room for one answer that goes on, until it is dropped.
#[derive(Debug)]
pub struct StreamRoom {
    _permit: OwnedSemaphorePermit,
}

impl OpenStreams {
    /// Of a port that has so many connections at once.
    pub(super) fn new(connections_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((connections_max / PART).max(1))))
    }

    /// Room for one more; none when as many go on as may.
    pub(super) fn room(&self) -> Option<StreamRoom> {
        Some(StreamRoom { _permit: Arc::clone(&self.0).try_acquire_owned().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_go_on_leave_half_of_the_connections() {
        let streams = OpenStreams::new(5);
        let both = (streams.room(), streams.room());
        assert!(both.0.is_some() && both.1.is_some() && streams.room().is_none());
        drop(both);
        assert!(streams.room().is_some());
        assert!(OpenStreams::new(0).room().is_some());
    }
}
