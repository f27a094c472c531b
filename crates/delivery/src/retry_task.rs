//! The task beside a destination, and its end: after the round in hand, so that what a round has sent is recorded.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a task that is cut off may take to let go of what it holds.
const LET_GO_MAX: Duration = Duration::from_secs(2);

/// A task that ends when it is told to. Dropping it cuts it off.
pub(super) struct RetryTask {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl RetryTask {
    /// Starts `work`, which is told by its channel when it shall end.
    pub(super) fn spawn<F>(work: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: Some(tokio::spawn(work(stopped))) }
    }

    /// Ends the task, and waits for it; false when it had to be cut off after `patience`. When the call is dropped, the task is
    /// cut off with its owner.
    pub(super) async fn close(&mut self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        let Some(task) = &mut self.task else { return true };
        let mut in_time = timeout(patience, &mut *task).await.is_ok();
        if !in_time {
            task.abort();
            // It may have come to its end meanwhile.
            in_time = timeout(LET_GO_MAX, &mut *task).await.is_ok_and(|ended| ended.is_ok());
        }
        self.task = None;
        in_time
    }
}

impl Drop for RetryTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Longer than anything here takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// Rounds of which each sends, waits for an answer, and records it.
    #[derive(Default)]
    struct Rounds {
        sent: AtomicU32,
        recorded: AtomicU32,
        begun: Notify,
        answer: Notify,
    }

    impl Rounds {
        async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
            while !*stop.borrow_and_update() {
                self.sent.fetch_add(1, Ordering::SeqCst);
                self.begun.notify_one();
                self.answer.notified().await;
                self.recorded.fetch_add(1, Ordering::SeqCst);
            }
        }

        fn counts(&self) -> (u32, u32) {
            (self.sent.load(Ordering::SeqCst), self.recorded.load(Ordering::SeqCst))
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { timeout(DEADLINE, test).await.unwrap() });
    }

    #[test]
    fn closing_waits_for_the_round_in_hand() {
        run(async {
            let rounds = Arc::<Rounds>::default();
            let mut task = RetryTask::spawn(|stop| Arc::clone(&rounds).run(stop));
            rounds.begun.notified().await;
            let mut closing = Box::pin(task.close(DEADLINE));
            let early = timeout(Duration::from_millis(20), &mut closing).await;
            assert!(early.is_err(), "the far side has not answered");
            rounds.answer.notify_one();
            assert!(closing.await);
            assert_eq!(rounds.counts(), (1, 1), "what was sent is recorded, and nothing is sent again");
        });
    }

    #[test]
    fn a_round_that_never_ends_is_cut_off_and_gone_when_the_call_returns() {
        run(async {
            let rounds = Arc::<Rounds>::default();
            let mut task = RetryTask::spawn(|stop| Arc::clone(&rounds).run(stop));
            rounds.begun.notified().await;
            assert!(!task.close(Duration::from_millis(20)).await);
            assert_eq!((rounds.counts(), Arc::strong_count(&rounds)), ((1, 0), 1));
            assert!(task.close(Duration::ZERO).await, "there is nothing left to close");
        });
    }
}
