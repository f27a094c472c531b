//! What decides who may send and how much, as one value: it is replaced as a whole while requests are under way.
//!
//! A request takes the entrance once, so that nothing of it changes under the request's hands. Before the request's events
//! are appended it asks the entrance of then ([`Entrance::admits`]): a key that was taken away meanwhile opens nothing any more.
//! A request holds an entrance that let it in until its events are on disk or refused, or until its client is gone. So when every
//! earlier entrance is gone, no request can come any more that they alone let in; what a client that is gone left to the log
//! may still be on its way to the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::answer::HttpAnswer;
use super::key::{WriteKey, WriteKeys};
use super::rate::{Meter, Meters, Rate};
use super::webhook_entrance::WebhookEntrance;

/// What an entrance is made of.
#[derive(Debug)]
pub struct EntranceSettings {
    pub keys: WriteKeys,
    /// How much each source may send.
    pub rates: Vec<(String, Rate)>,
    /// Sources that take nothing for now.
    pub paused: HashSet<Arc<str>>,
    /// Sources of webhooks: their keys open no other route.
    pub webhooks: Vec<Arc<WebhookEntrance>>,
}

/// Write keys, meters, and the sources that are paused.
#[derive(Debug)]
pub struct Entrance {
    keys: WriteKeys,
    meters: Meters,
    paused: HashSet<Arc<str>>,
    webhooks: HashMap<Arc<str>, Arc<WebhookEntrance>>,
}

fn by_source(webhooks: Vec<Arc<WebhookEntrance>>) -> HashMap<Arc<str>, Arc<WebhookEntrance>> {
    webhooks.into_iter().map(|webhook| (Arc::clone(&webhook.source), webhook)).collect()
}

impl Entrance {
    /// The first one. With `cores`, one source never has all of them for its large bodies.
    #[must_use]
    pub fn new(settings: EntranceSettings, cores: usize, now: Instant) -> Self {
        let EntranceSettings { keys, rates, paused, webhooks } = settings;
        let meters = Meters::new(rates.iter().map(|(source, rate)| (source.as_str(), rate)), cores, now);
        Self { keys, meters, paused, webhooks: by_source(webhooks) }
    }

    /// The one after this: sources keep their lanes, their meters and what they owe, keys go on being counted.
    #[must_use]
    pub fn followed_by(&self, settings: EntranceSettings, now: Instant) -> Self {
        let EntranceSettings { mut keys, rates, paused, webhooks } = settings;
        keys.go_on_from(&self.keys);
        let meters = self.meters.followed_by(rates.iter().map(|(source, rate)| (source.as_str(), rate)), now);
        Self { keys, meters, paused, webhooks: by_source(webhooks) }
    }

    /// Every write key, in no order, those whose end has come among them.
    pub fn write_keys(&self) -> impl Iterator<Item = &WriteKey> {
        self.keys.iter()
    }

    /// The key that is this text, its end come or not; it counts as no use.
    #[must_use]
    pub fn key_of(&self, text: &str) -> Option<&WriteKey> {
        self.keys.get(text)
    }

    /// The key that is this text, shown by a request, if it opens a source.
    ///
    /// # Errors
    /// The source is paused.
    pub(super) fn open(&self, shown: &str, now_us: i64) -> Result<Option<Arc<WriteKey>>, HttpAnswer> {
        let Some(key) = self.find(shown, now_us) else { return Ok(None) };
        key.uses.note_shown(now_us);
        if self.paused.contains(&key.source) {
            return Err(HttpAnswer::SourcePaused);
        }
        Ok(Some(Arc::clone(key)))
    }

    /// The key that is this text, unless it is one of a webhook source.
    pub(super) fn find(&self, key: &str, now_us: i64) -> Option<&Arc<WriteKey>> {
        self.keys.find(key, now_us).filter(|key| !self.webhooks.contains_key(&key.source))
    }

    /// The webhook source of this name.
    pub(super) fn webhook(&self, source: &str) -> Option<&Arc<WebhookEntrance>> {
        self.webhooks.get(source)
    }

    /// The key that is this text, if it opens a webhook source: the one of this name, if there is a name.
    pub(super) fn webhook_key(&self, shown: &str, source: Option<&str>, now_us: i64) -> Option<Arc<WriteKey>> {
        let key = self.keys.find(shown, now_us)?;
        if !self.webhooks.contains_key(&key.source) || source.is_some_and(|source| *key.source != *source) {
            return None;
        }
        key.uses.note_shown(now_us);
        Some(Arc::clone(key))
    }

    /// The key that stands for the signing secrets of a webhook source, if it has any; nobody can show it.
    pub(super) fn signing_key(&self, webhook: &WebhookEntrance) -> Option<Arc<WriteKey>> {
        self.keys.of_hash(webhook.signing_hash.as_ref()?).map(Arc::clone)
    }

    pub(super) fn is_paused(&self, source: &str) -> bool {
        self.paused.contains(source)
    }

    /// The key of a request as it is here, where an earlier entrance let the request in.
    ///
    /// # Errors
    /// It may go no further.
    pub(super) fn admits(&self, key: &WriteKey, now_us: i64) -> Result<Arc<WriteKey>, HttpAnswer> {
        let Some(now) = self.keys.same(key).filter(|now| !now.has_ended(now_us)) else {
            return Err(HttpAnswer::UnknownKey);
        };
        if now.source != key.source {
            // The request's records bear the name of the old source. Sent again they bear the right one.
            let message = "the write key was given to another source meanwhile; send the same again";
            return Err(HttpAnswer::TooBusy(message));
        }
        if self.paused.contains(&now.source) {
            return Err(HttpAnswer::SourcePaused);
        }
        Ok(Arc::clone(now))
    }

    /// The meter of a source; one for all who are not known when there is none.
    pub(crate) fn meter(&self, source: Option<&str>) -> &Arc<Meter> {
        self.meters.of(source)
    }
}
