//! The order by which a worker ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What a worker shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOrder {
    Run,
    /// End: at once where nothing is being delivered, else after the batch in hand or when the patience with it is over.
    End {
        patience: Duration,
    },
}

impl StopOrder {
    const fn patience(self) -> Option<Duration> {
        match self {
            Self::Run => None,
            Self::End { patience } => Some(patience),
        }
    }
}

/// Waits for the order to end; its patience. Where nobody is left to give one, it is time to end as well.
pub(super) async fn ordered(stop: &mut watch::Receiver<StopOrder>) -> Duration {
    let order = stop.wait_for(|order| *order != StopOrder::Run).await.map(|order| *order);
    order.ok().and_then(StopOrder::patience).unwrap_or(Duration::ZERO)
}

/// Waits until the patience with what is in hand is over. A second order may shorten it.
pub(super) async fn out_of_patience(mut stop: watch::Receiver<StopOrder>) {
    let mut until = Instant::now() + ordered(&mut stop).await;
    loop {
        tokio::select! {
            () = sleep_until(until) => return,
            changed = stop.changed() => {
                if changed.is_err() {
                    return sleep_until(until).await;
                }
                let patience = stop.borrow_and_update().patience().unwrap_or(Duration::ZERO);
                until = until.min(Instant::now() + patience);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_order_shortens_the_patience_and_never_adds_to_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let long = StopOrder::End { patience: Duration::from_secs(3600) };
            let (order, stop) = watch::channel(StopOrder::Run);
            let mut waiting = Box::pin(out_of_patience(stop));
            assert!(tokio::time::timeout(Duration::from_millis(5), &mut waiting).await.is_err());
            order.send_replace(long);
            assert!(tokio::time::timeout(Duration::from_millis(5), &mut waiting).await.is_err());
            order.send_replace(StopOrder::End { patience: Duration::from_millis(50) });
            // It is either over already, or has seen the shorter one.
            let _ =
                tokio::time::timeout(Duration::from_millis(5), std::future::poll_fn(|cx| waiting.as_mut().poll(cx)))
                    .await;
            order.send_replace(long);
            drop(order);
            tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
        });
    }
}
