//! A shard that is read: what was fetched of it, and how far it is handed out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_stream::StreamMessage;
use tokio::time::Instant;

use crate::aggregate::Aggregate;
use crate::answers::{ChildAnswer, KinesisRecord, RecordsAnswer};
use crate::error::{EXPIRED_ITERATOR, KinesisCallError, NOT_FOUND};
use crate::pace;
use crate::place::{ShardMark, ShardPlace};

use super::fetch::FetchDone;

/// Answers without a record of a closed shard, one after the other, that mean its end where Kinesis does not say so.
const EMPTY_MAX: u32 = 2;
/// Iterators that have ended at once, one after the other, until that is an error.
const EXPIRED_MAX: u32 = 3;
/// Between two looks at the oldest record of a shard, at least, while that is not far behind what is read.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(10);
/// Throttled answers, one after the other, that are worth a word.
const THROTTLED_MIN: u32 = 3;

/// What a fetch has brought, besides records.
pub(super) enum FeedNews {
    /// The children of a shard that has ended.
    Fine(Vec<ChildAnswer>),
    Throttled,
    Missing(KinesisCallError),
    Failed(KinesisCallError),
}

/// A shard that is read.
pub(super) struct ShardFeed {
    stream: Arc<str>,
    id: Arc<str>,
    /// Of the lease; 0 without leases.
    epoch: u64,
    /// Behind what was fetched.
    place: ShardPlace,
    iterator: Option<String>,
    /// Fetched and not handed out.
    records: VecDeque<KinesisRecord>,
    bytes: usize,
    opened: Option<OpenedAggregate>,
    is_fetching: bool,
    due: Instant,
    has_ended: bool,
    /// What is saved once what was handed out is in the log.
    mark: Option<ShardMark>,
    is_end_marked: bool,
    failures: u32,
    throttled: u32,
    empty: u32,
    behind: Option<Duration>,
    acknowledged: String,
    /// When it is looked whether what comes next may have been deleted; none while nothing is behind.
    look_at: Option<Instant>,
}

/// Whether a sequence number comes behind another one. They have more digits than a number of the machine.
fn is_later(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    (one.len(), one) > (other.len(), other)
}

/// An aggregate of which not everything was handed out.
struct OpenedAggregate {
    record: KinesisRecord,
    aggregate: Aggregate,
    next: u64,
}

impl ShardFeed {
    pub(super) fn new((stream, id): (Arc<str>, Arc<str>), epoch: u64, place: ShardPlace, acknowledged: String) -> Self {
        Self {
            stream,
            id,
            epoch,
            place,
            iterator: None,
            records: VecDeque::new(),
            bytes: 0,
            opened: None,
            is_fetching: false,
            due: Instant::now(),
            has_ended: false,
            mark: None,
            is_end_marked: false,
            failures: 0,
            throttled: 0,
            empty: 0,
            behind: None,
            acknowledged,
            look_at: None,
        }
    }

    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// Under which it is read.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it is to be asked again; none while it is asked, has something to hand out, or has ended.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_busy = self.is_fetching || self.has_ended || self.has_records();
        (!is_busy).then_some(self.due)
    }

    /// Whether the next fetch looks at the oldest record: where reading begins behind a record, and now and then while it is behind.
    pub(super) fn looks_at_oldest(&self, now: Instant) -> bool {
        self.place.has_begun() && (self.iterator.is_none() || self.look_at.is_some_and(|at| at <= now))
    }

    /// What was deleted before it was read, as this fetch shows it: the record that was read last is there no more.
    pub(super) fn gap(&self, done: &FetchDone) -> Option<String> {
        let (ShardPlace::At { sequence, .. } | ShardPlace::After { sequence }) = &self.place else { return None };
        let oldest = done.oldest.as_ref().filter(|oldest| is_later(&oldest.sequence_number, sequence))?;
        let first = done.answer.as_ref().ok().and_then(|answer| answer.records.first());
        if first.is_some_and(|first| is_later(&oldest.sequence_number, &first.sequence_number)) {
            // What was read was there still, and is older.
            return None;
        }
        Some(format!(
            "shard {}: {sequence} is not kept any more, and the oldest record that is has the number {}: whatever was between them was \
             deleted before it was read, and how many records that were, Kinesis does not say; keep records for longer (the stream's \
             retention period), or read faster",
            self.id, oldest.sequence_number
        ))
    }

    pub(super) fn begin_fetch(&mut self) -> ShardPlace {
        self.is_fetching = true;
        self.place.clone()
    }

    pub(super) fn iterator(&self) -> Option<String> {
        self.iterator.clone()
    }

    /// Bytes that were fetched and not handed out.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn is_throttled(&self) -> bool {
        self.throttled >= THROTTLED_MIN
    }

    pub(super) const fn behind(&self) -> Option<Duration> {
        self.behind
    }

    pub(super) fn acknowledged(&self) -> &str {
        &self.acknowledged
    }

    pub(super) fn acknowledge(&mut self, mark: String) {
        self.acknowledged = mark;
    }

    fn has_records(&self) -> bool {
        self.opened.is_some() || !self.records.is_empty()
    }

    /// Whether there is anything to hand out: records, or that it has ended.
    pub(super) fn has_news(&self) -> bool {
        self.has_records() || (self.has_ended && !self.is_end_marked)
    }

    /// Takes what a fetch has brought.
    pub(super) fn hear(&mut self, done: FetchDone, now: Instant) -> FeedNews {
        self.is_fetching = false;
        match done.answer {
            Ok(answer) => {
                (self.failures, self.throttled) = (0, 0);
                self.look_at = self.next_look(&answer, done.oldest.as_ref(), now);
                FeedNews::Fine(self.keep(answer, done.is_closed, now))
            }
            Err(error) => {
                if done.iterator.is_some() {
                    self.place = self.place.again();
                }
                self.look_at = Some(now);
                let is_expired = error.code() == EXPIRED_ITERATOR;
                self.iterator = done.iterator.filter(|_| !is_expired);
                if error.is_throttled() {
                    self.throttled += 1;
                    self.due = now + pace::back_off(self.throttled);
                    return FeedNews::Throttled;
                }
                self.failures += 1;
                self.due = now + pace::back_off(self.failures);
                if is_expired && self.failures < EXPIRED_MAX {
                    self.due = now;
                    FeedNews::Fine(Vec::new())
                } else if error.code() == NOT_FOUND {
                    FeedNews::Missing(error)
                } else {
                    FeedNews::Failed(error)
                }
            }
        }
    }

    /// When it is looked again, after an answer: the oldest record moves on no faster than time does.
    fn next_look(&self, answer: &RecordsAnswer, oldest: Option<&KinesisRecord>, now: Instant) -> Option<Instant> {
        if answer.millis_behind_latest.is_none_or(|behind| behind == 0) {
            return None;
        }
        if oldest.is_none()
            && let Some(at) = self.look_at.filter(|at| *at > now)
        {
            return Some(at);
        }
        let ahead_us = answer.records.last().zip(oldest).and_then(|(last, oldest)| {
            let (last_us, oldest_us) = (last.published_at_us()?, oldest.published_at_us()?);
            u64::try_from(last_us.saturating_sub(oldest_us)).ok()
        });
        let wait = Duration::from_micros(ahead_us.unwrap_or_default() / 2);
        Some(now + wait.max(LOOK_EVERY_MIN))
    }

    fn keep(&mut self, answer: RecordsAnswer, is_closed: bool, now: Instant) -> Vec<ChildAnswer> {
        let RecordsAnswer { records, next_shard_iterator, millis_behind_latest, child_shards } = answer;
        let next_shard_iterator = next_shard_iterator.filter(|iterator| !iterator.is_empty());
        let is_behind = millis_behind_latest.is_some_and(|behind| behind > 0);
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        self.behind = millis_behind_latest.map(Duration::from_millis);
        self.due = now + pace::after_answer(bytes, is_behind);
        self.bytes += bytes;
        self.empty = if records.is_empty() && is_closed && !is_behind { self.empty + 1 } else { 0 };
        self.has_ended = next_shard_iterator.is_none() || self.empty >= EMPTY_MAX;
        self.iterator = next_shard_iterator;
        match records.last() {
            Some(last) => {
                // An iterator that is asked for anew begins behind it; what is unwanted of the first was told by its place.
                let skipped = self.skipped(&records);
                self.place = ShardPlace::After { sequence: last.sequence_number.clone() };
                self.records.extend(records);
                self.open(skipped);
            }
            None => self.place = self.place.again(),
        }
        child_shards
    }

    /// How many of the first record, an aggregate, are in the log already.
    fn skipped(&self, records: &[KinesisRecord]) -> u64 {
        match (&self.place, records.first()) {
            (ShardPlace::At { sequence, sub }, Some(first)) if first.sequence_number == *sequence => *sub,
            _ => 0,
        }
    }

    /// Opens the first record, if it is an aggregate of which something was handed out before.
    fn open(&mut self, skipped: u64) {
        if skipped == 0 {
            return;
        }
        let Some(record) = self.records.front() else { return };
        if let Some(aggregate) = Aggregate::read(&record.data)
            && let Some(record) = self.records.pop_front()
        {
            self.opened = Some(OpenedAggregate { record, aggregate, next: skipped });
        }
    }

    /// Hands out up to `most` messages, or about so many bytes. Says how many bytes that were.
    pub(super) fn take(&mut self, messages: &mut Vec<StreamMessage>, most: usize, bytes_max: usize) -> usize {
        let (start, mut bytes) = (messages.len(), 0);
        while messages.len() - start < most && bytes < bytes_max {
            if let Some(mut opened) = self.opened.take() {
                let sub = opened.next;
                match opened.aggregate.record(sub) {
                    Some((key, data)) => {
                        let at = format!("{}:{sub}", opened.record.sequence_number);
                        bytes += data.len();
                        messages.push(self.message(&opened.record, at, (key, data)));
                        opened.next = sub + 1;
                        self.mark = Some(ShardMark::Place(ShardPlace::At {
                            sequence: opened.record.sequence_number.clone(),
                            sub: opened.next,
                        }));
                        if opened.next < opened.aggregate.len() {
                            self.opened = Some(opened);
                        } else {
                            self.finish(&opened.record);
                        }
                    }
                    None => self.finish(&opened.record),
                }
                continue;
            }
            let Some(record) = self.records.pop_front() else { break };
            match Aggregate::read(&record.data) {
                Some(aggregate) => self.opened = Some(OpenedAggregate { record, aggregate, next: 0 }),
                None => {
                    let key = record.partition_key.clone().into_bytes().into();
                    bytes += record.data.len();
                    let at = record.sequence_number.clone();
                    messages.push(self.message(&record, at, (key, record.data.clone())));
                    self.finish(&record);
                }
            }
        }
        if self.has_ended && !self.has_records() {
            self.mark = Some(ShardMark::End);
            self.is_end_marked = true;
        }
        bytes
    }

    /// All of a record was handed out.
    fn finish(&mut self, record: &KinesisRecord) {
        self.bytes = self.bytes.saturating_sub(record.data.len());
        self.mark = Some(ShardMark::Place(ShardPlace::After { sequence: record.sequence_number.clone() }));
    }

    /// What is saved once what was handed out last is in the log.
    pub(super) fn mark(&mut self) -> Option<ShardMark> {
        self.mark.take()
    }

    fn message(
        &self,
        record: &KinesisRecord,
        at: String,
        (key, payload): (bytes::Bytes, bytes::Bytes),
    ) -> StreamMessage {
        StreamMessage {
            topic: Arc::clone(&self.stream),
            topic_mark: None,
            partition: Arc::clone(&self.id),
            at,
            key: Some(key),
            payload: Some(payload),
            headers: Vec::new(),
            published_at_us: record.published_at_us(),
        }
    }
}
