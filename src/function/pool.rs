//! The threads that guests run on.
//!
//! A guest gives way at every tick of its engine, and the threads take what is ready in turn: calls that run at the
//! same time share the cores by ticks, so a slow function slows itself and delays nobody else's call by more than a
//! few ticks. The threads give way to those that accept events.

use std::future::Future;

use tokio::runtime::{Handle, Runtime};

use crate::task;

/// Threads for guests. They end when it is dropped; calls under way are then given up.
pub struct Pool(Option<Runtime>);

/// Runs work on the threads of a [`Pool`]. Clones share them.
#[derive(Debug, Clone)]
pub struct Workers(Handle);

/// A run came to no end: the pool has stopped, or the host itself failed while the guest ran.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a run of functions came to no end: {0}")]
pub struct Unfinished(String);

impl Pool {
    /// # Errors
    /// The operating system refused a thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("function")
            .on_thread_start(task::give_way)
            .enable_time()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to send work.
    #[must_use]
    pub fn workers(&self) -> Workers {
        // There is a runtime until the drop.
        Workers(self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Workers {
    /// Runs `work` on the pool.
    ///
    /// # Errors
    /// The pool has stopped, or the host panicked: what `work` held is gone.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Unfinished> {
        self.0.spawn(work).await.map_err(|error| Unfinished(error.to_string()))
    }
}
