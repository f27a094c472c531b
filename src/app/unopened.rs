//! A destination that is opened when its sync first asks for it. One that cannot be opened fails alone: its sync says why, asks again,
//! and goes on once it can be; no other is held up, and the server starts.

use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};

/// How to open it. It may block.
type OpenDestination = dyn Fn() -> Result<Box<dyn Destination>, Failure> + Send + Sync;

/// A destination that is open, or not yet.
pub(super) struct Unopened {
    open: Arc<OpenDestination>,
    opened: Option<Box<dyn Destination>>,
}

impl Unopened {
    pub(super) fn new(open: impl Fn() -> Result<Box<dyn Destination>, Failure> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), opened: None }
    }

    /// Opens it where that holds up nobody's thread. What was opened for a call that was dropped is closed again.
    async fn opened(&mut self) -> Result<&mut dyn Destination, Failure> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => {
                let open = Arc::clone(&self.open);
                let ended = |cause: tokio::task::JoinError| Failure::Retry {
                    reason: "the destination could not be opened".to_owned(),
                    cause: Some(Box::new(cause)),
                };
                tokio::task::spawn_blocking(move || open()).await.map_err(ended)??
            }
        };
        Ok(&mut **self.opened.insert(opened))
    }
}

impl Destination for Unopened {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(async move { self.opened().await?.durable_to().await })
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.opened().await?.deliver(batch).await })
    }

    fn recorded(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.recorded();
        }
    }

    fn holds_part(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.holds_part())
    }

    fn close(&mut self) -> Reply<'_, ()> {
        match &mut self.opened {
            Some(opened) => opened.close(),
            None => Box::pin(async { Ok(()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Is as far as it was told, and says so when it is closed.
    struct Open(Arc<Mutex<Vec<&'static str>>>);

    impl Destination for Open {
        fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
            Box::pin(async { Ok(Some(7)) })
        }

        fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
            Box::pin(async move { Ok(Delivery { delivered: batch.range.end, ..Delivery::default() }) })
        }

        fn recorded(&mut self) {
            self.0.lock().push("recorded");
        }

        fn holds_part(&self) -> bool {
            true
        }

        fn close(&mut self) -> Reply<'_, ()> {
            self.0.lock().push("closed");
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why_each_time_until_it_can_be() {
        let said = Arc::<Mutex<Vec<&'static str>>>::default();
        let (is_there, heard) = (Arc::new(Mutex::new(false)), Arc::clone(&said));
        let shared = Arc::clone(&is_there);
        let mut destination = Unopened::new(move || match *shared.lock() {
            true => Ok(Box::new(Open(Arc::clone(&heard)))),
            false => Err(Failure::Stop { reason: "no folder".into(), advice: "make it".into(), cause: None }),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 {
                let failure = destination.durable_to().await.unwrap_err();
                assert_eq!(failure.to_string(), "no folder; make it");
            }
            assert!(!destination.holds_part());
            destination.close().await.unwrap();
            *is_there.lock() = true;
            assert_eq!(destination.durable_to().await.unwrap(), Some(7));
            let batch = Batch { range: 0..3, ..Batch::default() };
            assert_eq!(destination.deliver(Arc::new(batch)).await.unwrap().delivered, 3);
            destination.recorded();
            assert!(destination.holds_part());
            destination.close().await.unwrap();
        });
        assert_eq!(*said.lock(), ["recorded", "closed"]);
    }
}
