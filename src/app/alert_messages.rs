//! Sends what alerts have to tell. A message waits in the state until it was delivered, over restarts too; one that a channel does not take is
//! tried again with growing pauses for a day. Whoever kills or stops the process between a delivery and its record gets that message twice, under
//! the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tidegate_alert::{AlertChange, AlertMessage, AlertRule, deliver};
use tidegate_process::clock;
use tidegate_state::{AlertEvent, State, StateError, WaitingMessage};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Workspace;

/// Between two looks for messages that are due.
const LOOK: Duration = Duration::from_secs(2);
/// Messages that are sent at once.
const AT_ONCE_MAX: usize = 32;
/// Messages that are looked at: as many may be under way, which are due until they are recorded.
const LOOKED_AT_MAX: u64 = 64;
/// Between two attempts, microseconds.
const PAUSE_MIN_US: i64 = 5_000_000;
const PAUSE_MAX_US: i64 = 900_000_000;
/// After so long a message is given up, microseconds.
const GIVEN_UP_US: i64 = 24 * 3_600_000_000;

/// Sends the messages of one environment.
pub(super) struct AlertSender {
    name: String,
    state: State,
    workspace: watch::Receiver<Arc<Workspace>>,
}

/// Whether a message is of this alert, for this channel.
pub(super) fn sent_to(message: &WaitingMessage, alert: &str, channel: &str) -> bool {
    message.alert == alert && message.channel == channel
}

/// How an attempt went.
enum SentMessage {
    /// The title of what was told, and who of its receivers was not.
    Told(String),
    /// There is nobody any more whom to tell, or nothing: why.
    Nobody(&'static str),
    Failed(String),
}

impl AlertSender {
    pub(super) const fn new(name: String, state: State, workspace: watch::Receiver<Arc<Workspace>>) -> Self {
        Self { name, state, workspace }
    }

    /// Sends until `stop` turns true. What is under way then is sent again after the next start.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(mut self) {
        let (mut attempts, mut under_way) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            match self.due(&under_way) {
                Ok(due) => {
                    for message in due {
                        under_way.insert(message.id);
                        let workspace = Arc::clone(&self.workspace.borrow());
                        attempts.push(attempt(self.name.clone(), workspace, message));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "messages of alerts could not be read; it is tried again");
                }
            }
            let next_look = sleep(between_looks());
            tokio::pin!(next_look);
            // Each is recorded as soon as it is known: a channel that does not answer holds up no other one.
            loop {
                tokio::select! {
                    () = &mut next_look => break,
                    Some((message, sent)) = attempts.next() => {
                        under_way.remove(&message.id);
                        if let Err(error) = self.record(&message, sent) {
                            tracing::warn!(error = %error, "a message of an alert could not be recorded; it is sent again");
                        }
                    }
                }
            }
        }
    }

    /// Messages that are due and are not under way.
    fn due(&self, under_way: &BTreeSet<u64>) -> Result<Vec<WaitingMessage>, StateError> {
        let due = self.state.alert_messages(clock::now_us(), LOOKED_AT_MAX)?;
        let free = AT_ONCE_MAX.saturating_sub(under_way.len());
        Ok(due.into_iter().filter(|message| !under_way.contains(&message.id)).take(free).collect())
    }

    fn record(&mut self, message: &WaitingMessage, sent: SentMessage) -> Result<(), StateError> {
        let now_us = clock::now_us();
        let WaitingMessage { id, alert, channel, attempts, at_us, .. } = message;
        let event = |what: &str, text: String| AlertEvent {
            id: 0,
            at_us: now_us,
            alert: alert.clone(),
            object: String::new(),
            what: what.to_owned(),
            text,
        };
        match sent {
            SentMessage::Told(title) => {
                self.state.end_alert_message(message, &event("told", format!("{channel}: {title}")))
            }
            SentMessage::Nobody(why) => {
                self.state.end_alert_message(message, &event("undelivered", format!("{channel}: {why}")))
            }
            SentMessage::Failed(error) if now_us.saturating_sub(*at_us) > GIVEN_UP_US => {
                let (alert, channel) = (&**alert, &**channel);
                tracing::error!(alert, channel, error, "a message of an alert is given up after a day");
                self.state.end_alert_message(message, &event("undelivered", format!("{channel}: {error}")))
            }
            SentMessage::Failed(error) => {
                let (alert, channel) = (&**alert, &**channel);
                tracing::warn!(alert, channel, error, "a message of an alert was not delivered; it is tried again");
                let pause_us = PAUSE_MIN_US.saturating_mul(1 << (*attempts).min(10)).min(PAUSE_MAX_US);
                self.state.postpone_alert_message(*id, now_us.saturating_add(pause_us), &error)
            }
        }
    }
}

fn between_looks() -> Duration {
    fail::fail_point!("alerts_in_haste", |_| Duration::from_millis(50));
    LOOK
}

async fn attempt(
    environment: String,
    workspace: Arc<Workspace>,
    waiting: WaitingMessage,
) -> (WaitingMessage, SentMessage) {
    let sent = sent(environment, &workspace, &waiting).await;
    (waiting, sent)
}

async fn sent(environment: String, workspace: &Workspace, waiting: &WaitingMessage) -> SentMessage {
    let rule: Option<AlertRule> = workspace.alerts.get(&waiting.alert).and_then(|alert| alert.rule.clone());
    let channels = workspace.alert_channels(&waiting.alert);
    let channel = channels.iter().find(|channel| channel.name == waiting.channel);
    let Some((rule, channel)) = rule.zip(channel) else {
        return SentMessage::Nobody("there is no such channel any more");
    };
    let changes: Vec<AlertChange> =
        waiting.changes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if changes.is_empty() {
        return SentMessage::Nobody("what it told was forgotten");
    }
    let id = format!("{}.{}", waiting.at_us, waiting.id);
    let message = AlertMessage { id, environment, rule, changes, is_test: false };
    match deliver(channel, &message, clock::now_us()).await {
        Ok(None) => SentMessage::Told(message.title()),
        Ok(Some(missed)) => SentMessage::Told(format!("{}; {missed}", message.title())),
        Err(error) => SentMessage::Failed(error.to_string()),
    }
}
