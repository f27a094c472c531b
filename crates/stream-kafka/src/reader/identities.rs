//! Which topic is behind a name. One that was deleted and made anew, or is of another cluster, begins with offsets that another had before:
//! its messages must not be taken for those.
//!
//! Kafka gives each topic an id. That of the topic which was read first under a name is kept, and that of the last. Positions of any other than
//! the first bear a mark, which is made of its id. So a topic that comes back has the positions that it had.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use tidegate_stream::{StreamCheckpoints, StreamError};

use crate::topics::FoundTopic;

/// How the keys begin under which ids are kept.
const KEY: &str = "topic/";
/// How the keys begin under which it is kept that a group has begun; the value says where.
const BEGUN: &str = "begun/";
/// Bytes of an id that make a mark.
const MARK_BYTES: usize = 4;

/// The ids of topics by their names, as far as they were met.
pub(super) struct TopicIdentities {
    checkpoints: Arc<dyn StreamCheckpoints>,
    /// None before they are loaded.
    kept: Option<BTreeMap<String, String>>,
    /// Of topics that are not the first under their names.
    marks: BTreeMap<String, Arc<str>>,
    /// Of topics that have taken the place of others while this reader lives.
    notices: BTreeMap<String, String>,
}

impl TopicIdentities {
    pub(super) fn new(checkpoints: Arc<dyn StreamCheckpoints>) -> Self {
        Self { checkpoints, kept: None, marks: BTreeMap::new(), notices: BTreeMap::new() }
    }

    /// The mark of a topic that is not the first under its name.
    pub(super) fn mark_of(&self, topic: &str) -> Option<Arc<str>> {
        self.marks.get(topic).cloned()
    }

    /// The topic that a position names, without the mark that it has now.
    pub(super) fn named<'a>(&self, topic: &'a str) -> &'a str {
        match topic.split_once('@') {
            Some((name, mark)) if self.marks.get(name).is_some_and(|own| &**own == mark) => name,
            _ => topic,
        }
    }

    pub(super) fn notices(&self) -> impl Iterator<Item = String> + '_ {
        self.notices.values().cloned()
    }

    /// Topics that have taken the place of others while this reader lives.
    pub(super) fn anew(&self) -> HashSet<String> {
        self.notices.keys().cloned().collect()
    }

    /// Those of these topics that have come into being since this group has begun at this place. When it begins, none has.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub(super) async fn new_since_begin(
        &mut self,
        group: &str,
        place: &str,
        topics: &[FoundTopic],
    ) -> Result<HashSet<String>, StreamError> {
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => load(&self.checkpoints).await?,
        };
        let has_begun = kept.get(&format!("{BEGUN}{group}")).is_some_and(|begun| begun == place);
        let is_new = |topic: &&FoundTopic| {
            let known = kept.get(&format!("{KEY}{}", topic.name)).and_then(|known| known.split_once(' '));
            has_begun && known.is_none_or(|(_, last)| last != HEXLOWER.encode(&topic.id))
        };
        let new = topics.iter().filter(is_new).map(|topic| topic.name.clone()).collect();
        self.kept = Some(kept);
        Ok(new)
    }

    /// Keeps that this group has begun at this place.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) async fn begin(&mut self, group: &str, place: &str) -> Result<(), StreamError> {
        let key = format!("{BEGUN}{group}");
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.get(&key).is_none_or(|begun| begun != place)) else {
            return Ok(());
        };
        save(&self.checkpoints, &BTreeMap::from([(key.clone(), Some(place.to_owned()))])).await?;
        kept.insert(key, place.to_owned());
        Ok(())
    }

    /// Looks whether these topics are those that were read before. What is new is kept before anything of it is read.
    ///
    /// # Errors
    /// The ids cannot be read or kept.
    pub(super) async fn meet(&mut self, topics: &[FoundTopic]) -> Result<(), StreamError> {
        let mut kept = match self.kept.take() {
            Some(kept) => kept,
            None => load(&self.checkpoints).await?,
        };
        let mut changed: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut replaced = Vec::new();
        for FoundTopic { name, id, .. } in topics.iter().filter(|topic| topic.id != [0; 16]) {
            let (key, id) = (format!("{KEY}{name}"), HEXLOWER.encode(id));
            let known = kept.get(&key).and_then(|known| known.split_once(' '));
            let first = known.map_or(id.as_str(), |(first, _)| first).to_owned();
            if known.is_some_and(|(_, last)| last != id) {
                replaced.push(name.clone());
            }
            if first == id {
                self.marks.remove(name);
            } else {
                let mark = id.get(..2 * MARK_BYTES).unwrap_or_default();
                self.marks.insert(name.clone(), Arc::from(mark));
            }
            let now = format!("{first} {id}");
            if kept.get(&key) != Some(&now) {
                changed.insert(key, Some(now));
            }
        }
        if !changed.is_empty() {
            save(&self.checkpoints, &changed).await?;
            kept.extend(changed.into_iter().filter_map(|(key, now)| Some((key, now?))));
        }
        self.kept = Some(kept);
        for name in replaced {
            self.tell_replaced(name);
        }
        Ok(())
    }

    fn tell_replaced(&mut self, name: String) {
        let mark = self.mark_of(&name).map_or_else(String::new, |mark| format!("@{mark}"));
        let text = format!(
            "the topic {name} is another one than before: it was made anew, or `brokers` leads to another cluster; its messages are new, and \
             their positions begin with {name}{mark}/. What it had before reading went on is read after a seek to the earliest message"
        );
        tracing::warn!(topic = name, "{text}");
        self.notices.insert(name, text);
    }
}

async fn load(checkpoints: &Arc<dyn StreamCheckpoints>) -> Result<BTreeMap<String, String>, StreamError> {
    let checkpoints = Arc::clone(checkpoints);
    let loaded = tokio::task::spawn_blocking(move || checkpoints.load()).await;
    let mut kept =
        loaded.map_err(|error| StreamError::Retry(format!("the ids of topics cannot be read: {error}")))??;
    kept.retain(|key, _| key.starts_with(KEY) || key.starts_with(BEGUN));
    Ok(kept)
}

async fn save(
    checkpoints: &Arc<dyn StreamCheckpoints>,
    changed: &BTreeMap<String, Option<String>>,
) -> Result<(), StreamError> {
    let (checkpoints, changed) = (Arc::clone(checkpoints), changed.clone());
    let saved = tokio::task::spawn_blocking(move || checkpoints.save(&changed)).await;
    saved.map_err(|error| StreamError::Retry(format!("the ids of topics cannot be kept: {error}")))?
}
