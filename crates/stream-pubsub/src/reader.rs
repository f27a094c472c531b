//! Reads subscriptions: gives what was pulled, acknowledges it when it is in the log.

use std::sync::Arc;
use std::time::Duration;

use tidegate_process::clock;
use tidegate_stream::{
    PartitionProgress, SeekTarget, StreamBatch, StreamError, StreamReader, StreamReceipt, StreamReply,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::error::{READING, stream_error};
use crate::held::HeldKey;
use crate::intake::{Intake, PULLS, keep_on, pull_on};
use crate::subscription::{PulledSubscription, pieces};

/// Of one read.
const READ_MESSAGES_MAX: usize = 2_000;
const READ_BYTES_MAX: usize = 4 << 20;
const READ_WAIT: Duration = Duration::from_secs(1);
/// Acknowledging is tried so often; with pauses of 100 ms to 3.2 s between.
const ACK_TRIES: u32 = 7;
const ACK_PAUSE: Duration = Duration::from_millis(100);
/// How long it is told that messages could not be acknowledged in time.
const NOTICE_TIME: Duration = Duration::from_secs(600);

/// Reads the subscriptions of a source.
pub(crate) struct PubsubReader {
    intake: Arc<Intake>,
    subscriptions: Vec<Arc<PulledSubscription>>,
    /// The message that was acknowledged last, by subscription.
    acknowledged: Vec<String>,
    /// Messages that were in the log and come again, since they were not ours any more when they could be acknowledged; and when the last of
    /// them did.
    came_late: Option<(usize, Instant)>,
    /// What pulls and extends leases; it ends with the reader.
    background: JoinSet<()>,
}

impl PubsubReader {
    /// Begins to pull.
    pub(crate) fn begin(place: String, subscriptions: Vec<PulledSubscription>) -> Self {
        let intake = Arc::new(Intake::new(place, subscriptions.len()));
        let subscriptions: Vec<Arc<PulledSubscription>> = subscriptions.into_iter().map(Arc::new).collect();
        let mut background = JoinSet::new();
        for (number, subscription) in subscriptions.iter().enumerate() {
            let pulls = if subscription.settings.is_ordered { 1 } else { PULLS };
            for _ in 0..pulls {
                background.spawn(pull_on(Arc::clone(&intake), Arc::clone(subscription), number));
            }
            background.spawn(keep_on(Arc::clone(&intake), Arc::clone(subscription), number));
        }
        let acknowledged = vec![String::new(); subscriptions.len()];
        Self { intake, subscriptions, acknowledged, came_late: None, background }
    }

    async fn settle(&mut self, receipt: StreamReceipt) -> Result<(), StreamError> {
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            match acknowledge(&self.intake, subscription, number, receipt).await {
                Ok(Some(last)) => {
                    if let Some(acknowledged) = self.acknowledged.get_mut(number) {
                        *acknowledged = last;
                    }
                }
                Ok(None) => {}
                // What of it could not be acknowledged is in the log, and is found there should it come again.
                Err(error @ StreamError::Stop { .. }) => {
                    if !self.intake.stop(number, error.clone()) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let late = self.intake.close_reads(receipt);
        if late > 0 {
            let before = self.came_late.map_or(0, |(before, _)| before);
            self.came_late = Some((before + late, Instant::now()));
        }
        Ok(())
    }

    async fn go_to(&mut self, to: SeekTarget) -> Result<(), StreamError> {
        let at_us = match to {
            SeekTarget::Earliest => {
                if let Some(subscription) = self.subscriptions.iter().find(|one| !one.settings.keeps_acknowledged) {
                    return Err(StreamError::Stop {
                        reason: format!("{}: {} keeps no messages that were acknowledged", self.intake.place, subscription.name),
                        advice: "let it keep them from now on (`gcloud pubsub subscriptions update SUBSCRIPTION --retain-acked-messages`), \
                                 or let its topic keep them (`--message-retention-duration`)"
                            .to_owned(),
                    });
                }
                0
            }
            SeekTarget::Latest => clock::now_us(),
            SeekTarget::Time(at_us) => at_us,
            SeekTarget::Position { at, .. } => {
                return Err(StreamError::Stop {
                    reason: format!("{}: Pub/Sub cannot go to the message {at}", self.intake.place),
                    advice: "go to the time at which it was published".to_owned(),
                });
            }
        };
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            if self.intake.is_stopped(number) {
                continue;
            }
            let sought = subscription.seek(at_us).await;
            sought.map_err(|error| stream_error(&self.intake.place, &subscription.name, &error, READING))?;
        }
        self.give_up().await;
        Ok(())
    }

    /// Gives back what is held. It comes again, unless it counts as acknowledged now.
    async fn give_up(&self) {
        for (number, ack_ids) in self.intake.give_up() {
            if let Some(subscription) = self.subscriptions.get(number) {
                subscription.give_back(ack_ids).await;
            }
        }
    }

    async fn end(&mut self) {
        self.background.shutdown().await;
        self.give_up().await;
    }
}

/// Acknowledges what is due for a receipt. Returns the message that was acknowledged last.
async fn acknowledge(
    intake: &Intake,
    subscription: &PulledSubscription,
    number: usize,
    receipt: StreamReceipt,
) -> Result<Option<String>, StreamError> {
    let (mut last, mut failure) = (None, None);
    for attempt in 0..ACK_TRIES {
        if attempt > 0 {
            sleep(ACK_PAUSE * 2_u32.saturating_pow(attempt - 1)).await;
        }
        // What came again meanwhile has another ack id.
        let due = intake.due(receipt, number);
        if due.is_empty() {
            return Ok(last);
        }
        let (newest, error) = acknowledge_once(intake, subscription, due).await?;
        last = newest.or(last);
        failure = error;
        if failure.is_none() {
            break;
        }
    }
    // What could not be acknowledged is in the log, and is found there when it comes again.
    failure.map_or(Ok(last), Err)
}

/// The message that was acknowledged last, and why some of them have to be tried again.
async fn acknowledge_once(
    intake: &Intake,
    subscription: &PulledSubscription,
    mut due: Vec<(HeldKey, String)>,
) -> Result<(Option<String>, Option<StreamError>), StreamError> {
    let (mut last, mut failure) = (None, None);
    for piece in pieces(due.iter().map(|(_, ack_id)| ack_id.clone()).collect()) {
        let rest = due.split_off(piece.len().min(due.len()));
        let asked: Vec<(HeldKey, String)> = std::mem::replace(&mut due, rest);
        match subscription.acknowledge(piece).await {
            Ok(outcome) => {
                let newest = intake.acknowledged(&asked, &outcome);
                last = newest.or(last);
                if !outcome.again.is_empty() {
                    let count = outcome.again.len();
                    let reason = format!("{}: {count} messages could not be acknowledged", subscription.name);
                    failure = Some(StreamError::Retry(reason));
                }
            }
            Err(error) => match stream_error(&intake.place, &subscription.name, &error, READING) {
                error @ StreamError::Retry(_) => failure = Some(error),
                error @ StreamError::Stop { .. } => return Err(error),
            },
        }
    }
    Ok((last, failure))
}

impl StreamReader for PubsubReader {
    fn read(&mut self) -> StreamReply<'_, StreamBatch> {
        let until = Instant::now() + READ_WAIT;
        Box::pin(self.intake.give(READ_MESSAGES_MAX, READ_BYTES_MAX, until))
    }

    fn acknowledge(&mut self, receipt: StreamReceipt) -> StreamReply<'_, ()> {
        Box::pin(self.settle(receipt))
    }

    /// Leases are extended in the background; what went wrong there is told.
    fn keep_alive(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async { self.intake.failure() })
    }

    fn seek(&mut self, to: SeekTarget) -> StreamReply<'_, ()> {
        Box::pin(self.go_to(to))
    }

    /// How many messages wait only Google's monitoring knows.
    fn progress(&self) -> Vec<PartitionProgress> {
        let now_us = clock::now_us();
        let progress = self.subscriptions.iter().zip(&self.acknowledged).enumerate();
        let progress = progress.map(|(number, (subscription, acknowledged))| PartitionProgress {
            topic: Arc::clone(&subscription.short),
            partition: Arc::from(""),
            acknowledged: acknowledged.clone(),
            lag: None,
            behind: self.intake.oldest_us(number).map(|oldest_us| {
                Duration::from_micros(u64::try_from(now_us.saturating_sub(oldest_us)).unwrap_or_default())
            }),
            holder: None,
        });
        progress.collect()
    }

    fn notices(&self) -> Vec<String> {
        let late = self.came_late.filter(|(_, at)| at.elapsed() < NOTICE_TIME).map(|(messages, _)| {
            format!("{messages} messages could not be acknowledged in time and come again; they are found in the log by their ids")
        });
        self.intake.stopped().into_iter().chain(late).collect()
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async {
            self.end().await;
            Ok(())
        })
    }
}
