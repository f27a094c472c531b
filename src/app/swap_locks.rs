//! While the tables of a sync are swapped nobody writes to them; whoever does afterwards begins with the tables that are there then.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_event::destination::{Batch, Delivery, Destination, Reply};
use tokio::sync::RwLock;

use super::unopened::Unopened;

/// How often the tables of a sync were swapped; it is read while somebody writes to them.
pub(super) type SwapLock = Arc<RwLock<u64>>;

/// Of each sync.
#[derive(Default)]
pub(super) struct SwapLocks(Mutex<BTreeMap<String, SwapLock>>);

impl SwapLocks {
    pub(super) fn of(&self, sync: &str) -> SwapLock {
        Arc::clone(self.0.lock().entry(sync.to_owned()).or_default())
    }
}

/// A destination whose tables may be swapped.
pub(super) struct LockedDestination {
    lock: SwapLock,
    open: Box<dyn Fn() -> Unopened + Send>,
    inner: Unopened,
    /// As of when `inner` was made.
    swaps: u64,
}

impl LockedDestination {
    pub(super) fn new(lock: SwapLock, open: impl Fn() -> Unopened + Send + 'static) -> Self {
        Self { inner: open(), open: Box::new(open), lock, swaps: 0 }
    }

    /// Forgets what is known of tables that were swapped.
    async fn follow(&mut self, swaps: u64) {
        if self.swaps == swaps {
            return;
        }
        if let Err(error) = self.inner.close().await {
            tracing::debug!(error = %error, "a destination whose tables were swapped could not be closed");
        }
        self.inner = (self.open)();
        self.swaps = swaps;
    }
}

impl Destination for LockedDestination {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(async move {
            let lock = Arc::clone(&self.lock);
            let swaps = lock.read().await;
            self.follow(*swaps).await;
            self.inner.durable_to().await
        })
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move {
            let lock = Arc::clone(&self.lock);
            let swaps = lock.read().await;
            self.follow(*swaps).await;
            self.inner.deliver(batch).await
        })
    }

    fn recorded(&mut self) {
        self.inner.recorded();
    }

    fn holds_part(&self) -> bool {
        self.inner.holds_part()
    }

    fn close(&mut self) -> Reply<'_, ()> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Knows which opening it is of.
    struct Opening(u64);

    impl Destination for Opening {
        fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
            Box::pin(async { Ok(Some(self.0)) })
        }

        fn deliver(&mut self, _: Arc<Batch>) -> Reply<'_, Delivery> {
            Box::pin(async { Ok(Delivery { delivered: self.0, ..Delivery::default() }) })
        }
    }

    #[test]
    fn nobody_delivers_while_tables_are_swapped_and_then_to_those_that_are_there() {
        let locks = SwapLocks::default();
        let opened = Arc::new(AtomicU64::new(0));
        let mut destination = LockedDestination::new(locks.of("crm"), move || {
            let opened = Arc::clone(&opened);
            Unopened::new(move || Ok(Box::new(Opening(opened.fetch_add(1, Ordering::SeqCst) + 1))))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert_eq!(destination.durable_to().await.unwrap(), Some(1));
            let lock = locks.of("crm");
            let mut swaps = lock.write().await;
            let mut delivery = destination.deliver(Arc::default());
            let is_done =
                std::future::poll_fn(|context| std::task::Poll::Ready(delivery.as_mut().poll(context).is_ready()));
            assert!(!is_done.await, "it waits");
            *swaps += 1;
            drop(swaps);
            assert_eq!(delivery.await.unwrap().delivered, 2, "it was opened anew");
            assert_eq!(destination.durable_to().await.unwrap(), Some(2));
        });
    }
}
