//! Reads the shards of a stream: which may be read, what was fetched, what is acknowledged.
//!
//! Fetches run beside the reader, a few at once, so that a `read` that is dropped takes nothing with it. A shard is not asked again before
//! what it gave was handed out. Where servers share the stream, those shards are read that this one has the leases of, and the leases keep
//! the marks.

mod feed;
mod fetch;
mod leased;
mod leasing;
mod places;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_stream::{
    PartitionProgress, SeekTarget, ShardLease, StreamBatch, StreamCheckpoints, StreamError, StreamReader,
    StreamReceipt, StreamReply,
};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::client::{KinesisClient, ListedShards};
use crate::error::KinesisCallError;
use crate::place::{ShardMark, ShardPlace, position};
use crate::shards::ShardTree;
use feed::{FeedNews, ShardFeed};
use fetch::{FetchDone, FetchOrder, fetch};
use leasing::{ShardLeasing, UpkeepDone, forget};
use places::{STREAM_KEY, SavedMarks};

const READ_TIME_MAX: Duration = Duration::from_secs(1);
/// Of one read.
const MESSAGES_MAX: usize = 5_000;
const BYTES_MAX: usize = 4 << 20;
/// However many shards have something.
const SHARE_MIN: usize = 50;
/// Shards that are asked at once, as long as what was fetched is no more than this.
const FETCHES_MAX: usize = 8;
const FETCHED_BYTES_MAX: usize = 16 << 20;
/// Between two looks for new shards; the answers at the end of a shard name most of them before.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// Failures of a shard, one after the other, until the reader gives up.
const FAILURES_MAX: u32 = 6;

/// Where a stream begins of which there are no marks yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KinesisStart {
    #[default]
    Earliest,
    Latest,
}

/// What a reader is made of.
pub(crate) struct KinesisReading {
    pub(crate) client: Arc<KinesisClient>,
    pub(crate) stream: Arc<str>,
    /// By what servers know that they share it.
    pub(crate) lease_key: String,
    pub(crate) start: KinesisStart,
    pub(crate) checkpoints: Arc<dyn StreamCheckpoints>,
}

/// Reads a stream.
pub(crate) struct KinesisReader {
    client: Arc<KinesisClient>,
    stream: Arc<str>,
    checkpoints: Arc<dyn StreamCheckpoints>,
    /// The marks that are saved, unless leases keep them.
    saved: BTreeMap<String, String>,
    /// Where servers share the stream.
    leasing: Option<ShardLeasing>,
    tree: ShardTree,
    feeds: BTreeMap<Arc<str>, ShardFeed>,
    tasks: JoinSet<TaskDone>,
    fetching: usize,
    is_listing: bool,
    list_at: Instant,
    /// The shard that gave something last.
    turn: Option<Arc<str>>,
    newest: StreamReceipt,
    out: VecDeque<OutReceipt>,
    /// Why it cannot be read from the marks that there are. It may go elsewhere.
    refusal: Option<StreamError>,
    /// Of each shard how often records of it were deleted before they were read, and which those were last.
    gaps: BTreeMap<Arc<str>, (u64, String)>,
}

/// What ran beside the reader.
enum TaskDone {
    Fetched(FetchDone),
    Listed(Result<ListedShards, KinesisCallError>),
    KeptUp(UpkeepDone),
    Taken(Result<Vec<ShardLease>, StreamError>),
    Forgotten(Result<(), StreamError>),
}

/// A receipt that has not come back, and what is saved when it does.
struct OutReceipt {
    receipt: StreamReceipt,
    /// Each with the epoch of the lease under which it was read; 0 without leases.
    marks: BTreeMap<Arc<str>, (u64, ShardMark)>,
}

impl KinesisReader {
    /// Looks at the shards and at the marks. A stream without marks begins where `start` says.
    pub(crate) async fn open(reading: KinesisReading) -> Result<Self, StreamError> {
        let KinesisReading { client, stream, lease_key, start, checkpoints } = reading;
        let leases = leasing::leases_of(checkpoints.as_ref(), &stream, &lease_key).await?;
        // What has ended is known before the shards are listed: the list says of it that it is closed.
        let known = match &leases {
            Some(leases) => leases.list().await?,
            None => Vec::new(),
        };
        let listed = client.list_shards(&stream).await.map_err(|error| error.told(&client.place))?;
        let now = Instant::now();
        let to = match start {
            KinesisStart::Earliest => SeekTarget::Earliest,
            KinesisStart::Latest => SeekTarget::Latest,
        };
        let mut reader = Self {
            client,
            stream,
            checkpoints,
            saved: BTreeMap::new(),
            leasing: leases.map(|leases| ShardLeasing::new(leases, now)),
            tree: ShardTree::default(),
            feeds: BTreeMap::new(),
            tasks: JoinSet::new(),
            fetching: 0,
            is_listing: false,
            list_at: now + LIST_EVERY,
            turn: None,
            newest: StreamReceipt::default(),
            out: VecDeque::new(),
            refusal: None,
            gaps: BTreeMap::new(),
        };
        if reader.leasing.is_some() {
            reader.begin_leased(&to, known, listed).await?;
        } else {
            reader.begin_alone(&to, listed).await?;
        }
        Ok(reader)
    }

    /// Goes on from the marks that are saved, or begins where there are none of this stream.
    async fn begin_alone(&mut self, to: &SeekTarget, listed: ListedShards) -> Result<(), StreamError> {
        let loaded = places::load(&self.checkpoints, &self.client.stream_id(&self.stream)).await?;
        let SavedMarks { marks, are_of_another, are_of_unnamed } = loaded;
        self.saved = marks;
        if self.saved.is_empty() || are_of_another {
            return self.go_to(to, listed).await;
        }
        if are_of_unnamed {
            self.save(BTreeMap::from([self.stream_mark()])).await?;
        }
        let marks = self.saved.iter().map(|(shard, mark)| (shard.as_str(), mark.as_str()));
        let fits = places::of_this_stream(&self.client.place, &listed, marks);
        self.refusal = fits.and_then(|()| self.restart(listed)).err();
        Ok(())
    }

    /// What is kept beside the marks: which stream they are of.
    fn stream_mark(&self) -> (String, Option<String>) {
        (STREAM_KEY.to_owned(), Some(self.client.stream_id(&self.stream)))
    }

    async fn read_on(&mut self) -> Result<StreamBatch, StreamError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let until = Instant::now() + READ_TIME_MAX;
        loop {
            self.begin_feeds();
            self.begin_tasks();
            if let Some(batch) = self.take() {
                return Ok(batch);
            }
            if Instant::now() >= until {
                return Ok(StreamBatch { messages: Vec::new(), receipt: self.next_receipt() });
            }
            let wake = self.next_due().map_or(until, |due| due.min(until));
            tokio::select! {
                Some(done) = self.tasks.join_next() => self.hear(done).await?,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Begins to read the shards that may be read by now. Of those with leases that is done when they are taken.
    fn begin_feeds(&mut self) {
        if self.leasing.is_some() {
            return;
        }
        for (id, place) in self.tree.begin() {
            let acknowledged =
                self.saved.get(&*id).filter(|mark| position(mark).is_some()).cloned().unwrap_or_default();
            let feed = ShardFeed::new((Arc::clone(&self.stream), Arc::clone(&id)), 0, place, acknowledged);
            self.feeds.insert(id, feed);
        }
    }

    /// Asks the shards that have waited longest, and for the list of shards when it is time.
    fn begin_tasks(&mut self) {
        self.begin_upkeep();
        let now = Instant::now();
        if !self.is_listing && now >= self.list_at {
            self.is_listing = true;
            let (client, stream) = (Arc::clone(&self.client), Arc::clone(&self.stream));
            self.tasks.spawn(async move { TaskDone::Listed(client.list_shards(&stream).await) });
        }
        if !self.has_room() {
            return;
        }
        let mut due: Vec<(Instant, Arc<str>)> =
            self.feeds.values().filter_map(|feed| Some((feed.due().filter(|due| *due <= now)?, feed.id()))).collect();
        due.sort_unstable();
        for (_, id) in due.into_iter().take(FETCHES_MAX.saturating_sub(self.fetching)) {
            let Some(feed) = self.feeds.get_mut(&id) else { continue };
            let order = FetchOrder {
                client: Arc::clone(&self.client),
                stream: Arc::clone(&self.stream),
                is_closed: self.tree.is_closed(&id),
                looks_at_oldest: feed.looks_at_oldest(now),
                place: feed.begin_fetch(),
                iterator: feed.iterator(),
                epoch: feed.epoch(),
                shard: id,
            };
            self.fetching += 1;
            self.tasks.spawn(async move { TaskDone::Fetched(fetch(order).await) });
        }
    }

    fn has_room(&self) -> bool {
        let fetched: usize = self.feeds.values().map(ShardFeed::bytes).sum();
        self.fetching < FETCHES_MAX && fetched < FETCHED_BYTES_MAX
    }

    /// When something is to be done though nothing comes.
    fn next_due(&self) -> Option<Instant> {
        let list_at = (!self.is_listing).then_some(self.list_at);
        let feeds = self.feeds.values().filter_map(ShardFeed::due).min().filter(|_| self.has_room());
        let leases = self.leasing.as_ref().and_then(ShardLeasing::due);
        list_at.into_iter().chain(feeds).chain(leases).min()
    }

    async fn hear(&mut self, done: Result<TaskDone, JoinError>) -> Result<(), StreamError> {
        let done =
            done.map_err(|error| StreamError::Retry(format!("{}: a fetch ended: {error}", self.client.place)))?;
        match done {
            TaskDone::Fetched(done) => self.hear_fetched(done),
            TaskDone::Listed(listed) => {
                self.is_listing = false;
                self.list_at = Instant::now() + LIST_EVERY;
                match listed {
                    Ok(listed) => self.hear_listed(listed).await,
                    // It is asked again soon enough.
                    Err(error) if error.is_passing() => Ok(()),
                    Err(error) => Err(error.told(&self.client.place)),
                }
            }
            TaskDone::KeptUp(done) => self.hear_kept_up(done),
            TaskDone::Taken(taken) => self.hear_taken(taken),
            TaskDone::Forgotten(done) => done,
        }
    }

    fn hear_fetched(&mut self, done: FetchDone) -> Result<(), StreamError> {
        self.fetching = self.fetching.saturating_sub(1);
        // A shard that was lost and taken again meanwhile begins elsewhere.
        let feed = self.feeds.get_mut(&done.shard).filter(|feed| feed.epoch() == done.epoch);
        let Some(feed) = feed else { return Ok(()) };
        if let Some(gap) = feed.gap(&done) {
            let shard = &*done.shard;
            tracing::warn!(shard, place = self.client.place, "{gap}");
            let (count, last) = self.gaps.entry(Arc::clone(&done.shard)).or_default();
            (*count, *last) = (*count + 1, gap);
        }
        match feed.hear(done, Instant::now()) {
            FeedNews::Fine(children) => {
                for child in children {
                    self.tree.add(child.into());
                }
                Ok(())
            }
            // The list says whether there is such a shard.
            FeedNews::Missing(_) if feed.failures() < FAILURES_MAX => {
                self.list_at = self.list_at.min(Instant::now() + Duration::from_secs(1));
                Ok(())
            }
            FeedNews::Failed(error) if error.is_passing() && feed.failures() < FAILURES_MAX => Ok(()),
            FeedNews::Throttled => Ok(()),
            FeedNews::Missing(error) | FeedNews::Failed(error) => Err(error.told(&self.client.place)),
        }
    }

    async fn hear_listed(&mut self, listed: ListedShards) -> Result<(), StreamError> {
        if listed.shards.is_empty() {
            return Ok(());
        }
        self.tree.update(listed.shards);
        let tree = &self.tree;
        self.feeds.retain(|id, _| tree.has(id));
        self.gaps.retain(|id, _| tree.has(id));
        if let Some(leasing) = &mut self.leasing {
            let gone = leasing.part_with(|id| tree.has(id), Instant::now());
            if !gone.is_empty() {
                let leases = Arc::clone(leasing.leases());
                self.tasks.spawn(async move { TaskDone::Forgotten(forget(leases, gone).await) });
            }
            return Ok(());
        }
        let gone = self.saved.keys().filter(|id| !tree.has(id)).map(|id| (id.clone(), None)).collect();
        self.save(gone).await
    }

    /// What there is to hand out: each shard that has something gives its share.
    fn take(&mut self) -> Option<StreamBatch> {
        let ready: Vec<Arc<str>> = self.feeds.values().filter(|feed| feed.has_news()).map(ShardFeed::id).collect();
        if ready.is_empty() {
            return None;
        }
        // The one behind the last comes first.
        let first = ready.iter().position(|id| Some(id) > self.turn.as_ref()).unwrap_or_default();
        let share = (MESSAGES_MAX / ready.len()).max(SHARE_MIN);
        let (mut messages, mut marks, mut bytes) = (Vec::new(), BTreeMap::new(), 0);
        for id in ready.iter().cycle().skip(first).take(ready.len()) {
            if messages.len() >= MESSAGES_MAX || bytes >= BYTES_MAX {
                break;
            }
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            let most = share.min(MESSAGES_MAX - messages.len());
            bytes += feed.take(&mut messages, most, BYTES_MAX.saturating_sub(bytes));
            marks.extend(feed.mark().map(|mark| (Arc::clone(id), (feed.epoch(), mark))));
            self.turn = Some(Arc::clone(id));
        }
        let receipt = self.next_receipt();
        self.out.push_back(OutReceipt { receipt, marks });
        Some(StreamBatch { messages, receipt })
    }

    fn next_receipt(&mut self) -> StreamReceipt {
        self.newest = StreamReceipt(self.newest.0 + 1);
        self.newest
    }

    async fn take_receipt(&mut self, receipt: StreamReceipt) -> Result<(), StreamError> {
        if let Some(leasing) = &mut self.leasing {
            let now = Instant::now();
            while self.out.front().is_some_and(|out| out.receipt <= receipt) {
                let marks = self.out.pop_front().map(|out| out.marks).unwrap_or_default();
                for (id, (epoch, mark)) in marks {
                    leasing.note(&id, epoch, mark, now);
                }
            }
            return Ok(());
        }
        let mut marks: BTreeMap<Arc<str>, ShardMark> = BTreeMap::new();
        for out in self.out.iter().take_while(|out| out.receipt <= receipt) {
            marks.extend(out.marks.iter().map(|(id, (_, mark))| (Arc::clone(id), mark.clone())));
        }
        // A shard that is gone leaves nothing behind.
        marks.retain(|id, _| self.tree.has(id));
        let changed = marks.iter().map(|(id, mark)| (id.to_string(), Some(mark.to_string()))).collect();
        self.save(changed).await?;
        while self.out.front().is_some_and(|out| out.receipt <= receipt) {
            self.out.pop_front();
        }
        for (id, mark) in marks {
            if mark == ShardMark::End {
                self.tree.end(&id);
                self.feeds.remove(&id);
            } else if let Some(feed) = self.feeds.get_mut(&id) {
                feed.acknowledge(mark.to_string());
            }
        }
        Ok(())
    }

    /// Saves marks, and takes away those that are none any more.
    async fn save(&mut self, changed: BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        if changed.is_empty() {
            return Ok(());
        }
        places::save(&self.checkpoints, &changed).await?;
        for (id, mark) in changed.into_iter().filter(|(id, _)| id != STREAM_KEY) {
            match mark {
                Some(mark) => self.saved.insert(id, mark),
                None => self.saved.remove(&id),
            };
        }
        Ok(())
    }

    /// Reads on from the marks; nothing that was read before counts.
    fn restart(&mut self, listed: ListedShards) -> Result<(), StreamError> {
        self.begin_anew(listed);
        for (id, text) in &self.saved {
            let mark = ShardMark::parse(text).ok_or_else(|| places::unreadable(&self.client.place, id, text))?;
            self.tree.put(id, mark);
        }
        Ok(())
    }

    /// Goes elsewhere: that is saved first.
    async fn go_to(&mut self, to: &SeekTarget, listed: ListedShards) -> Result<(), StreamError> {
        let marks = places::of_target(&self.client.place, &self.stream, to, &listed)?;
        let is_all = !matches!(to, SeekTarget::Position { .. });
        let mut changed: BTreeMap<String, Option<String>> = BTreeMap::new();
        if is_all {
            changed.extend(self.saved.keys().map(|id| (id.clone(), None)));
        }
        changed.extend(marks.iter().map(|(id, mark)| (id.to_string(), Some(mark.to_string()))));
        changed.extend([self.stream_mark()]);
        self.save(changed).await?;
        self.restart(listed)?;
        // What is kept says since when; as long as this reader lives, what was there before stays unread.
        for (id, mark) in marks {
            if matches!(mark, ShardMark::Place(ShardPlace::Latest { .. })) {
                self.tree.put(&id, mark);
            }
        }
        Ok(())
    }

    async fn go(&mut self, to: SeekTarget) -> Result<(), StreamError> {
        // One shard that goes elsewhere leaves the others where they are.
        if let Some(refusal) = self.refusal.as_ref().filter(|_| matches!(to, SeekTarget::Position { .. })) {
            return Err(refusal.clone());
        }
        let listed = self.client.list_shards(&self.stream).await.map_err(|error| error.told(&self.client.place))?;
        if self.leasing.is_some() {
            self.go_leased(&to, listed).await?;
        } else {
            self.go_to(&to, listed).await?;
        }
        self.refusal = None;
        Ok(())
    }

    /// Hears what ran beside the reader while nobody reads: leases have to be renewed then as well.
    async fn keep_leases(&mut self) -> Result<(), StreamError> {
        if self.leasing.is_none() {
            return Ok(());
        }
        while let Some(done) = self.tasks.try_join_next() {
            self.hear(done).await?;
        }
        self.begin_upkeep();
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StreamError> {
        self.tasks.shutdown().await;
        match &mut self.leasing {
            Some(leasing) => leasing.release().await,
            None => Ok(()),
        }
    }

    fn progress_of(&self, id: &Arc<str>) -> PartitionProgress {
        let feed = self.feeds.get(id);
        let lease = self.leasing.as_ref().and_then(|leasing| leasing.holding().lease(id));
        let of_lease = || lease.and_then(|lease| lease.checkpoint.clone()).filter(|mark| position(mark).is_some());
        let acknowledged = feed.map_or_else(of_lease, |feed| Some(feed.acknowledged().to_owned()));
        PartitionProgress {
            topic: Arc::clone(&self.stream),
            partition: Arc::clone(id),
            acknowledged: acknowledged.unwrap_or_default(),
            lag: None,
            behind: feed.and_then(ShardFeed::behind),
            holder: lease.and_then(|lease| lease.holder.as_ref()).map(|holder| Arc::from(holder.name.as_str())),
        }
    }
}

impl StreamReader for KinesisReader {
    fn read(&mut self) -> StreamReply<'_, StreamBatch> {
        Box::pin(self.read_on())
    }

    fn acknowledge(&mut self, receipt: StreamReceipt) -> StreamReply<'_, ()> {
        Box::pin(self.take_receipt(receipt))
    }

    /// An iterator that has ended is asked for anew; a lease that is not renewed is taken away.
    fn keep_alive(&mut self) -> StreamReply<'_, ()> {
        Box::pin(self.keep_leases())
    }

    fn seek(&mut self, to: SeekTarget) -> StreamReply<'_, ()> {
        Box::pin(self.go(to))
    }

    fn progress(&self) -> Vec<PartitionProgress> {
        self.tree.open_ones().map(|id| self.progress_of(id)).collect()
    }

    fn notices(&self) -> Vec<String> {
        let away = self.leasing.as_ref().and_then(ShardLeasing::away);
        let mut notices: Vec<String> = away
            .map(|away| format!("{away}; the shards that are read here are read on for the time of a lease"))
            .into_iter()
            .collect();
        let throttled = self.feeds.values().filter(|feed| feed.is_throttled()).count();
        if throttled > 0 {
            let shards = if throttled == 1 { "one shard" } else { "several shards" };
            notices.push(format!(
                "Kinesis answers {shards} more slowly than we ask: others read the stream as well ({throttled} in all)"
            ));
        }
        notices.extend(self.gaps.values().map(|(count, gap)| match count {
            1 => gap.clone(),
            count => format!("{gap} ({count} gaps since reading began)"),
        }));
        notices
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(self.end())
    }
}
