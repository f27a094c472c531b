//! Sends what alerts have to tell. A message waits in the state until it was delivered, over restarts too; one that a channel does not take is
//! tried again with growing pauses for a day. Whoever kills or stops the process between a delivery and its record gets that message twice, under
//! the same id. Of several receivers of a mail, one whose mail is not taken for now waits for it by itself, and for what comes after it.
//!
//! What Alertmanager is told again goes the same way: a message of an alert is not sent to a channel while that is told again what fires, so what
//! it hears last is how the alert is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tidegate_alert::{AlertChange, AlertChannel, AlertMessage, AlertRule, ChannelKind, deliver};
use tidegate_process::clock;
use tidegate_state::{AlertEvent, LeftReceivers, State, StateError, WaitingMessage};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Workspace;

/// Between two looks for messages that are due.
const LOOK: Duration = Duration::from_secs(2);
/// Messages that are sent at once, and as many that are told again.
const AT_ONCE_MAX: usize = 32;
/// Messages that are looked at: as many may be under way, which are due until they are recorded.
const LOOKED_AT_MAX: u64 = 64;
/// Messages that are counted, and looked through for receivers who wait by themselves.
pub(super) const WAITING_MAX: u64 = 10_000;
/// Between two attempts, microseconds.
const PAUSE_MIN_US: i64 = 5_000_000;
const PAUSE_MAX_US: i64 = 900_000_000;
/// After so long a message is given up, microseconds.
const GIVEN_UP_US: i64 = 24 * 3_600_000_000;
/// What is said of a message that waits for one receiver of a mail alone.
const NOT_FOR_NOW: &str = "the mail server has not taken it for this receiver yet";

/// What Alertmanager is to be told again, each with its channel, until it is on its way.
#[derive(Clone, Default)]
pub(super) struct AlertRepeats(Arc<Mutex<Vec<(AlertChannel, AlertMessage)>>>);

impl AlertRepeats {
    /// Puts these in the place of those that are not on their way yet.
    pub(super) fn put(&self, repeats: Vec<(AlertChannel, AlertMessage)>) {
        *self.0.lock() = repeats;
    }

    /// Takes away what is said of an alert: it is not so any more.
    pub(super) fn remove(&self, alert: &str) {
        self.0.lock().retain(|(_, message)| message.rule.name != alert);
    }

    fn take(&self, repeats_max: usize) -> Vec<(AlertChannel, AlertMessage)> {
        let mut waiting = self.0.lock();
        let count = waiting.len().min(repeats_max);
        waiting.drain(..count).collect()
    }
}

/// An alert and a channel of it, by their names.
type AlertPlace = (String, String);

/// Sends the messages of one environment.
pub(super) struct AlertSender {
    name: String,
    state: State,
    workspace: watch::Receiver<Arc<Workspace>>,
    repeats: AlertRepeats,
}

/// Whether a message is of this alert, for this channel or for a receiver of it alone.
pub(super) fn sent_to(message: &WaitingMessage, alert: &str, channel: &str) -> bool {
    message.alert == alert && (message.channel == channel || alone(message, channel).is_some())
}

/// What a message for one receiver of a mail alone has as its channel.
fn channel_alone(channel: &str, receiver: &str) -> String {
    format!("{channel} {receiver}")
}

/// The receiver of a channel that a message is for, where it is for that one alone.
fn alone<'m>(message: &'m WaitingMessage, channel: &str) -> Option<&'m str> {
    let receiver = message.channel.strip_prefix(channel)?.strip_prefix(' ')?;
    receiver.contains('@').then_some(receiver)
}

/// The channel of a message, with the receivers that it is for.
fn channel_of(workspace: &Workspace, message: &WaitingMessage) -> Option<AlertChannel> {
    workspace.alert_channels(&message.alert).into_iter().find_map(|mut channel| {
        if channel.name == message.channel {
            return Some(channel);
        }
        let receiver = alone(message, &channel.name)?.to_owned();
        let ChannelKind::Email(email) = &mut channel.kind else { return None };
        if !email.to.contains(&receiver) {
            return None;
        }
        email.to = vec![receiver];
        Some(channel)
    })
}

/// How an attempt went.
enum SentMessage {
    /// The title of what was told, and who of its receivers was not; those to whom it is sent later.
    Told(String, Vec<String>),
    /// All of its receivers wait for earlier messages, by themselves.
    Behind(Vec<String>),
    /// There is nobody any more whom to tell, or nothing: why.
    Nobody(&'static str),
    Failed(String),
}

impl AlertSender {
    pub(super) const fn new(
        name: String,
        state: State,
        workspace: watch::Receiver<Arc<Workspace>>,
        repeats: AlertRepeats,
    ) -> Self {
        Self { name, state, workspace, repeats }
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
        let (mut repeats, mut repeated) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            // Before messages are read: what recovers meanwhile is read only after what was taken here has come to its end.
            for (channel, message) in self.repeats.take(AT_ONCE_MAX.saturating_sub(repeated.len())) {
                let place: AlertPlace = (message.rule.name.clone(), channel.name.clone());
                // One that is on its way says the same.
                if repeated.insert(place.clone()) {
                    repeats.push(repeat(place, channel, message));
                }
            }
            match self.due(&under_way, &repeated) {
                Ok(due) => {
                    for (message, apart) in due {
                        under_way.insert(message.id);
                        let workspace = Arc::clone(&self.workspace.borrow());
                        attempts.push(attempt(self.name.clone(), workspace, (message, apart)));
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
                    Some(place) = repeats.next() => {
                        repeated.remove(&place);
                    }
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

    /// Messages that are due, are not under way and go to no channel that is told something again; each with the receivers that wait for
    /// earlier ones by themselves.
    fn due(
        &self,
        under_way: &BTreeSet<u64>,
        repeated: &BTreeSet<AlertPlace>,
    ) -> Result<Vec<(WaitingMessage, Vec<String>)>, StateError> {
        let mut due = self.state.alert_messages(clock::now_us(), LOOKED_AT_MAX)?;
        let is_repeated = |message: &WaitingMessage| {
            repeated.iter().any(|(alert, channel)| message.alert == *alert && message.channel == *channel)
        };
        due.retain(|message| !under_way.contains(&message.id) && !is_repeated(message));
        due.truncate(AT_ONCE_MAX.saturating_sub(under_way.len()));
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let waiting = self.state.waiting_alert_messages(WAITING_MAX)?;
        let with_apart = due.into_iter().map(|message| {
            let of_it = waiting.iter().filter(|one| one.alert == message.alert);
            let apart: Vec<String> = of_it.filter_map(|one| alone(one, &message.channel)).map(str::to_owned).collect();
            (message, apart)
        });
        Ok(with_apart.collect())
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
            SentMessage::Told(title, left) => {
                self.split(message, Some(&event("told", format!("{channel}: {title}"))), &left)
            }
            SentMessage::Behind(left) => self.split(message, None, &left),
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

    /// Records that a message was told, but for these receivers.
    fn split(
        &mut self,
        message: &WaitingMessage,
        event: Option<&AlertEvent>,
        left: &[String],
    ) -> Result<(), StateError> {
        let at_us = clock::now_us();
        let channels: Vec<String> = left.iter().map(|receiver| channel_alone(&message.channel, receiver)).collect();
        let next_at_us = at_us.saturating_add(PAUSE_MIN_US);
        let left = LeftReceivers { channels: &channels, error: NOT_FOR_NOW, at_us, next_at_us };
        self.state.split_alert_message(message, event, &left)
    }
}

fn between_looks() -> Duration {
    fail::fail_point!("alerts_in_haste", |_| Duration::from_millis(50));
    LOOK
}

async fn attempt(
    environment: String,
    workspace: Arc<Workspace>,
    (waiting, apart): (WaitingMessage, Vec<String>),
) -> (WaitingMessage, SentMessage) {
    let sent = sent(environment, &workspace, (&waiting, apart.as_slice())).await;
    (waiting, sent)
}

/// Tells Alertmanager what fires, which otherwise takes it for over.
async fn repeat(place: AlertPlace, channel: AlertChannel, message: AlertMessage) -> AlertPlace {
    if let Err(error) = deliver(&channel, &message, clock::now_us()).await {
        tracing::debug!(channel = channel.name, error = %error, "what fires could not be told again");
    }
    place
}

async fn sent(
    environment: String,
    workspace: &Workspace,
    (waiting, apart): (&WaitingMessage, &[String]),
) -> SentMessage {
    let rule: Option<AlertRule> = workspace.alerts.get(&waiting.alert).and_then(|alert| alert.rule.clone());
    let Some((rule, mut channel)) = rule.zip(channel_of(workspace, waiting)) else {
        return SentMessage::Nobody("there is no such channel any more");
    };
    let changes: Vec<AlertChange> =
        waiting.changes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if changes.is_empty() {
        return SentMessage::Nobody("what it told was forgotten");
    }
    let mut left = Vec::new();
    if let ChannelKind::Email(email) = &mut channel.kind {
        (left, email.to) = std::mem::take(&mut email.to).into_iter().partition(|receiver| apart.contains(receiver));
        if email.to.is_empty() {
            return SentMessage::Behind(left);
        }
    }
    let id = format!("{}.{}", waiting.at_us, waiting.id);
    let message = AlertMessage { id, environment, rule, changes, is_test: false };
    match deliver(&channel, &message, clock::now_us()).await {
        Ok(done) => {
            left.extend(done.for_now);
            let missed = done.missed.map(|missed| format!("; {missed}")).unwrap_or_default();
            SentMessage::Told(format!("{}{missed}", message.title()), left)
        }
        Err(error) => SentMessage::Failed(error.to_string()),
    }
}
