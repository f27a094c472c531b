//! Threads for what can wait: syncs, loaders, deliveries, builds.
//!
//! They run on a runtime of their own whose threads give way, so that work on what is accepted already never holds up
//! the threads that accept: those have a runtime to themselves.

use std::pin::pin;
use std::time::Duration;

use tidegate_process::task;
use tokio::runtime::{Handle, Runtime};

pub(super) struct Background(Option<Runtime>);

impl Background {
    /// # Errors
    /// The operating system refused a thread.
    pub(super) fn start(cores: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.max(1))
            .thread_name("background")
            .on_thread_start(task::give_way)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        // It is there until the drop.
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }

    /// Ends what still works there, and waits for it no longer than `most`: what it held is closed then. It blocks.
    pub(super) fn end(mut self, most: Duration) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(most);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` where it is awaited, but has what it spawns and waits for belong to `background`.
pub(super) async fn within<F: Future>(background: &Handle, work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let _entered = background.enter();
        work.as_mut().poll(cx)
    })
    .await
}
