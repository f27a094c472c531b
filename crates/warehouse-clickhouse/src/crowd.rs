//! Some requests at once.

use std::future::Future;

use tokio::task::JoinSet;

use super::error::ClickHouseError;

/// Requests under way at once.
const REQUESTS_MAX: usize = 4;

/// Requests under way. After a failure the others are waited for, so that none is left behind that still writes.
pub(super) struct Crowd<T> {
    set: JoinSet<Result<T, ClickHouseError>>,
    done: Vec<T>,
    failed: Option<ClickHouseError>,
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Self { set: JoinSet::new(), done: Vec::new(), failed: None }
    }
}

impl<T: Send + 'static> Crowd<T> {
    async fn next(&mut self) -> bool {
        match self.set.join_next().await {
            None => return false,
            Some(Ok(Ok(done))) => self.done.push(done),
            Some(Ok(Err(error))) => self.failed = self.failed.take().or(Some(error)),
            Some(Err(_)) => {
                self.failed = self.failed.take().or(Some(ClickHouseError::Task { doing: "talking to the server" }))
            }
        }
        true
    }

    /// Starts a request; there must be room.
    pub(super) fn admit(&mut self, request: impl Future<Output = Result<T, ClickHouseError>> + Send + 'static) {
        self.set.spawn(request);
    }

    /// Waits until one more may start.
    pub(super) async fn room(&mut self) -> Result<(), ClickHouseError> {
        while self.failed.is_none() && self.set.len() >= REQUESTS_MAX {
            self.next().await;
        }
        if self.failed.is_some() { self.finish().await } else { Ok(()) }
    }

    async fn finish(&mut self) -> Result<(), ClickHouseError> {
        while self.next().await {}
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Waits for all; what they brought, in the order in which they ended.
    pub(super) async fn end(mut self) -> Result<Vec<T>, ClickHouseError> {
        self.finish().await?;
        Ok(self.done)
    }
}
