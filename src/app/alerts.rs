//! Evaluates alerts, one task for each environment, beside everything that flows: it reads counts and holds up nobody.
//!
//! A look is one snapshot; of each rule what it comes to, what is to be told of it, and the memory for the next look are one transaction of the
//! state (`state/alerts.rs`). Messages are sent by another task (`alert_messages.rs`), so a channel that does not answer delays no look.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_alert::{
    AlertChange, AlertChannel, AlertMemory, AlertMessage, AlertPhase, AlertRule, ChannelKind, EvaluatedAlert, advice,
    default_rules, deliver, evaluate,
};
use tidegate_api_types::alert::{ShownAlert, ShownAlertChannel, ShownAlertObject, TestedChannel};
use tidegate_api_types::reload::RunningNow;
use tidegate_event::time;
use tidegate_process::clock;
use tidegate_state::{AlertEvent, AlertMuting, AlertStep, State, StateError, WaitingMessage};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::alert_messages::{AlertRepeats, AlertSender, WAITING_MAX, sent_to};
use super::alert_snapshot::SnapshotParts;
use super::live::Live;
use super::running_syncs::WorkerPlaces;
use crate::api::AlertOrder;
use crate::config::Workspace;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(15);
/// A memory is written at least so often, so that the next start knows when somebody looked last.
const KEPT_US: i64 = 60_000_000;
/// How often Alertmanager is told again what fires.
const REPEATED_US: i64 = 60_000_000;

/// The alerts of one environment.
pub(super) struct Alerts {
    evaluator: AlertEvaluator,
    sender: AlertSender,
    orders: mpsc::Receiver<AlertOrder>,
}

/// What alerts are made of.
pub(super) struct AlertParts {
    /// The environment.
    pub(super) name: String,
    /// For looks, and for messages.
    pub(super) states: (State, State),
    pub(super) workspace: watch::Receiver<Arc<Workspace>>,
    pub(super) running: watch::Receiver<Arc<RunningNow>>,
    pub(super) has_breach: watch::Receiver<bool>,
    pub(super) live: Arc<Live>,
    pub(super) places: WorkerPlaces,
    pub(super) data: PathBuf,
    pub(super) asked: AlertEnds,
}

/// The far ends of what the admin API has of alerts.
pub(super) struct AlertEnds {
    pub(super) shown: watch::Sender<Arc<Vec<ShownAlert>>>,
    pub(super) orders: mpsc::Receiver<AlertOrder>,
}

struct AlertEvaluator {
    name: String,
    state: State,
    workspace: watch::Receiver<Arc<Workspace>>,
    running: watch::Receiver<Arc<RunningNow>>,
    has_breach: watch::Receiver<bool>,
    live: Arc<Live>,
    places: WorkerPlaces,
    data: PathBuf,
    shown: watch::Sender<Arc<Vec<ShownAlert>>>,
    /// As the state has them; none before the first look.
    memories: Option<BTreeMap<String, AlertMemory>>,
    /// When Alertmanager was told last what fires.
    repeated_us: i64,
    repeats: AlertRepeats,
}

/// A rule as it is at a look.
struct LookedRule {
    rule: AlertRule,
    channels: Vec<AlertChannel>,
    muting: Option<AlertMuting>,
    is_muted: bool,
}

impl Alerts {
    pub(super) fn new(parts: AlertParts) -> Self {
        let AlertParts { name, states, workspace, running, has_breach, live, places, data, asked } = parts;
        let (state, of_messages) = states;
        let repeats = AlertRepeats::default();
        let sender = AlertSender::new(name.clone(), of_messages, workspace.clone(), repeats.clone());
        let AlertEnds { shown, orders } = asked;
        let (memories, repeated_us) = (None, 0);
        let evaluator = AlertEvaluator {
            name,
            state,
            workspace,
            running,
            has_breach,
            live,
            places,
            data,
            shown,
            memories,
            repeated_us,
            repeats,
        };
        Self { evaluator, sender, orders }
    }

    /// Looks every few seconds, and whenever the workspace changes, until `stop` turns true. What is not sent by then is sent after the
    /// next start.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self { mut evaluator, sender, mut orders } = self;
        tokio::spawn(sender.run(stop.clone()));
        let mut workspace = evaluator.workspace.clone();
        let mut look = interval(between_looks());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut asked = None;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = look.tick() => {}
                Ok(()) = workspace.changed() => {}
                Some(order) = orders.recv() => match order {
                    AlertOrder::Look { done } => asked = Some(done),
                    AlertOrder::Test { alert, answer } => {
                        let (environment, workspace) = (evaluator.name.clone(), Arc::clone(&workspace.borrow()));
                        tokio::spawn(async move {
                            // Whoever asked may have left.
                            let _ = answer.send(tested(&environment, &workspace, &alert).await);
                        });
                        continue;
                    }
                },
            }
            // Off the threads that wait.
            let looked = tokio::task::spawn_blocking(move || {
                evaluator.look_or_tell();
                evaluator
            });
            let Ok(back) = looked.await else { return };
            evaluator = back;
            if let Some(done) = asked {
                let _ = done.send(());
            }
        }
    }
}

fn between_looks() -> Duration {
    fail::fail_point!("alerts_in_haste", |_| Duration::from_millis(50));
    LOOK
}

fn between_repeats() -> i64 {
    fail::fail_point!("alerts_repeated_in_haste", |_| 0);
    REPEATED_US
}

/// Sends a test message to each channel of an alert; none where there is no such alert.
async fn tested(environment: &str, workspace: &Workspace, alert: &str) -> Option<Vec<TestedChannel>> {
    let config = workspace.alerts.get(alert)?;
    let rule = config.rule.clone().unwrap_or_else(|| channels_alone(alert));
    let id = format!("test.{}", clock::uuid());
    let message = AlertMessage::test(id, environment, &rule, clock::now_us());
    let channels = workspace.alert_channels(alert);
    let sent: Vec<_> = channels.iter().map(|channel| tested_channel(channel, &message)).collect();
    Some(futures_util::future::join_all(sent).await)
}

async fn tested_channel(channel: &AlertChannel, message: &AlertMessage) -> TestedChannel {
    let begun = Instant::now();
    // Whoever tries it wants to know of everybody who is not told.
    let sent = deliver(channel, message, clock::now_us()).await;
    let error = sent.map_or_else(|error| Some(error.to_string()), |done| done.missed);
    TestedChannel {
        channel: channel.name.clone(),
        kind: channel.kind.word().to_owned(),
        error,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// What stands for the condition of a file that has channels alone.
fn channels_alone(name: &str) -> AlertRule {
    AlertRule::new(name, tidegate_alert::AlertCondition::Conservation)
}

/// The rules of a workspace, or those that count where it has none.
pub(super) fn rules_of(workspace: &Workspace) -> Vec<AlertRule> {
    let rules: Vec<AlertRule> = workspace.alerts.values().filter_map(|alert| alert.rule.clone()).collect();
    if rules.is_empty() { default_rules() } else { rules }
}

impl AlertEvaluator {
    fn look_or_tell(&mut self) {
        if let Err(error) = self.look(clock::now_us()) {
            tracing::warn!(error = %error, "alerts could not be evaluated; it is tried again");
        }
    }

    fn look(&mut self, now_us: i64) -> Result<(), StateError> {
        let workspace = Arc::clone(&self.workspace.borrow());
        let running = Arc::clone(&self.running.borrow());
        let (mut memories, is_first) = match self.memories.take() {
            Some(memories) => (memories, false),
            None => (self.kept()?, true),
        };
        let rules = self.rules(&workspace, now_us)?;
        let names: Vec<String> = rules.iter().map(|looked| looked.rule.name.clone()).collect();
        // An alert that went while the server was down may be muted, or have messages, without a memory.
        if is_first || memories.keys().any(|name| !names.contains(name)) {
            memories.retain(|name, _| names.contains(name));
            self.state.forget_alerts_but(&names)?;
        }
        let parts = SnapshotParts {
            state: &self.state,
            workspace: &workspace,
            running: &running,
            live: &self.live,
            places: &self.places.places,
            data: &self.data,
            has_breach: self.has_breach(),
        };
        let only: Vec<AlertRule> = rules.iter().map(|looked| looked.rule.clone()).collect();
        let snapshot = parts.snapshot(&only, now_us)?;
        for looked in &rules {
            let name = &looked.rule.name;
            let before = memories.get(name).cloned().unwrap_or_default();
            let done = evaluate(&looked.rule, &before, &snapshot, looked.is_muted);
            self.keep(looked, &before, &done)?;
            let mut memory = done.memory;
            if memory.evaluated_us - before.evaluated_us < KEPT_US && memory.is_alike(&before) {
                // As the state has it: the time of the last look there decides when it is written again.
                memory.evaluated_us = before.evaluated_us.max(0);
            }
            memories.insert(name.clone(), memory);
        }
        let waiting = self.state.waiting_alert_messages(WAITING_MAX)?;
        let shown = rules.iter().map(|looked| shown(looked, memories.get(&looked.rule.name), &waiting)).collect();
        self.shown.send_replace(Arc::new(shown));
        self.repeat(&rules, &memories, now_us);
        self.memories = Some(memories);
        Ok(())
    }

    /// None before the keeper has looked: an alert that fires does not recover because of a start.
    fn has_breach(&self) -> Option<bool> {
        // What was sent stays new: it is never marked as seen.
        let is_known = self.has_breach.has_changed().unwrap_or(true);
        is_known.then(|| *self.has_breach.borrow())
    }

    /// The memories that the state has. What cannot be read begins anew.
    fn kept(&self) -> Result<BTreeMap<String, AlertMemory>, StateError> {
        let kept = self.state.alert_memories()?.into_iter();
        Ok(kept.map(|(alert, memory)| (alert, serde_json::from_str(&memory).unwrap_or_default())).collect())
    }

    fn rules(&self, workspace: &Workspace, now_us: i64) -> Result<Vec<LookedRule>, StateError> {
        let mutes = self.state.alert_mutes()?;
        let rules = rules_of(workspace).into_iter().map(|rule| {
            let is_on = |mute: &&AlertMuting| mute.until_us.is_none_or(|until_us| now_us < until_us);
            let muting = mutes.iter().find(|mute| mute.alert == rule.name).filter(is_on).cloned();
            LookedRule {
                channels: workspace.alert_channels(&rule.name),
                is_muted: muting.is_some() || rule.is_muted_at(now_us),
                muting,
                rule,
            }
        });
        Ok(rules.collect())
    }

    /// Writes down what a rule has come to, if that is anything new, and says it in the log.
    fn keep(&mut self, looked: &LookedRule, before: &AlertMemory, done: &EvaluatedAlert) -> Result<(), StateError> {
        let (rule, now_us) = (&looked.rule, done.memory.evaluated_us);
        let is_new = !done.changes.is_empty()
            || !done.told.is_empty()
            || !done.memory.is_alike(before)
            || (!done.memory.is_blank() && now_us - before.evaluated_us >= KEPT_US);
        if !is_new {
            return Ok(());
        }
        if done.changes.iter().chain(&done.told).any(|change| !change.is_firing) {
            // Before anybody can be told of the recovery.
            self.repeats.remove(&rule.name);
        }
        let events: Vec<AlertEvent> = done.changes.iter().map(|change| event(&rule.name, change)).collect();
        let changes: Vec<String> = done.told.iter().filter_map(|change| serde_json::to_string(change).ok()).collect();
        let channels: Vec<String> = looked.channels.iter().map(|channel| channel.name.clone()).collect();
        let memory = serde_json::to_string(&done.memory).unwrap_or_default();
        self.state.step_alert(&AlertStep {
            alert: &rule.name,
            memory: (!done.memory.is_blank()).then_some(&*memory),
            events: &events,
            changes: &changes,
            channels: &channels,
            at_us: now_us,
            due_us: now_us.saturating_add(rule.group_us),
        })?;
        for change in &done.changes {
            let (alert, object, text) = (&*rule.name, &*change.object, &*change.text);
            let (environment, severity) = (&*self.name, rule.severity.as_str());
            if change.is_firing {
                tracing::warn!(environment, alert, object, severity, text, "an alert fires");
            } else {
                tracing::info!(environment, alert, object, severity, text, "an alert has recovered");
            }
        }
        Ok(())
    }

    /// Has Alertmanager be told again what fires and was told, when it is time for that. A mute changes nothing of that: what is said no more is over there, and
    /// people would be told of a recovery that is none.
    fn repeat(&mut self, rules: &[LookedRule], memories: &BTreeMap<String, AlertMemory>, now_us: i64) {
        if now_us.saturating_sub(self.repeated_us) < between_repeats() {
            return;
        }
        self.repeated_us = now_us;
        let mut messages = Vec::new();
        for LookedRule { rule, channels, .. } in rules {
            let mut to = channels.iter().filter(|one| matches!(one.kind, ChannelKind::Alertmanager { .. })).peekable();
            let objects = memories.get(&rule.name).into_iter().flat_map(|memory| &memory.objects);
            let changes: Vec<AlertChange> = objects
                .filter(|(_, one)| one.phase.fires() && one.is_told)
                .map(|(object, one)| AlertChange {
                    object: object.clone(),
                    is_firing: true,
                    at_us: now_us,
                    began_us: one.began_us,
                    text: one.text.clone(),
                })
                .collect();
            if to.peek().is_none() || changes.is_empty() {
                continue;
            }
            let message = AlertMessage {
                id: format!("again.{now_us}"),
                environment: self.name.clone(),
                rule: rule.clone(),
                changes,
                is_test: false,
            };
            messages.extend(to.map(|channel| (channel.clone(), message.clone())));
        }
        self.repeats.put(messages);
    }
}

fn event(alert: &str, change: &AlertChange) -> AlertEvent {
    AlertEvent {
        id: 0,
        at_us: change.at_us,
        alert: alert.to_owned(),
        object: change.object.clone(),
        what: if change.is_firing { "firing" } else { "recovered" }.to_owned(),
        text: change.text.clone(),
    }
}

fn shown(looked: &LookedRule, memory: Option<&AlertMemory>, waiting: &[WaitingMessage]) -> ShownAlert {
    let LookedRule { rule, channels, muting, is_muted } = looked;
    let objects = || memory.into_iter().flat_map(|memory| &memory.objects);
    let has = |wanted: fn(AlertPhase) -> bool| objects().any(|(_, one)| wanted(one.phase));
    let state = match (has(AlertPhase::fires), *is_muted) {
        (true, true) => "muted",
        (true, false) => "firing",
        (false, _) if has(|phase| phase == AlertPhase::Pending) => "pending",
        (false, _) => "ok",
    };
    let channel = |channel: &AlertChannel| {
        let to_it = waiting.iter().filter(|message| sent_to(message, &rule.name, &channel.name));
        let error = to_it.clone().map(|message| &message.error).find(|error| !error.is_empty());
        ShownAlertChannel {
            name: channel.name.clone(),
            kind: channel.kind.word().to_owned(),
            waiting: to_it.count() as u64,
            error: error.cloned(),
        }
    };
    let of_object = |(object, one): (&String, &tidegate_alert::ObjectMemory)| ShownAlertObject {
        object: object.clone(),
        state: one.phase.as_str().to_owned(),
        since: time::format(one.began_us),
        is_told: one.is_told,
        text: one.text.clone(),
    };
    let until_us = muting.as_ref().map_or(rule.muted_until_us, |muting| muting.until_us);
    ShownAlert {
        name: rule.name.clone(),
        condition: rule.condition.word().to_owned(),
        severity: rule.severity.as_str().to_owned(),
        state: state.to_owned(),
        owner: rule.owner.clone(),
        runbook: rule.runbook.clone(),
        labels: rule.labels.clone(),
        is_default: rule.is_default,
        is_muted: *is_muted,
        muted_until: until_us.filter(|_| *is_muted).map(time::format),
        muted_by: muting.as_ref().map(|muting| muting.asked_by.clone()),
        muted_by_name: None,
        channels: channels.iter().map(channel).collect(),
        objects: objects().filter(|(_, one)| one.phase != AlertPhase::Ok).map(of_object).collect(),
        objects_watched: objects().count() as u64,
        what_to_do: advice(&rule.condition).to_owned(),
    }
}
