//! A reader of a stream whose shards servers share: it reads those that it has the leases of.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_stream::{LeaseSeek, SeekTarget, ShardLease, StreamError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::ListedShards;
use crate::place::{ShardMark, ShardPlace, position};
use crate::shards::ShardTree;

use super::feed::ShardFeed;
use super::leasing::{UpkeepDone, take, upkeep};
use super::places;
use super::{KinesisReader, TaskDone};

fn texts(marks: &BTreeMap<Arc<str>, ShardMark>) -> BTreeMap<String, String> {
    marks.iter().map(|(shard, mark)| (shard.to_string(), mark.to_string())).collect()
}

impl KinesisReader {
    /// Goes on from the leases that there were before the shards were listed. Where there were none the stream begins, or goes on where
    /// this server has read it alone until now: of several servers the first says it.
    pub(super) async fn begin_leased(
        &mut self,
        to: &SeekTarget,
        known: Vec<ShardLease>,
        listed: ListedShards,
    ) -> Result<(), StreamError> {
        let marks = known.iter().filter_map(|lease| Some((lease.shard.as_str(), lease.checkpoint.as_deref()?)));
        self.refusal = places::of_this_stream(&self.client.place, &listed, marks).err();
        if known.is_empty()
            && let Some(leasing) = &self.leasing
        {
            let leases = Arc::clone(leasing.leases());
            let alone = places::load(&self.checkpoints, &self.client.stream_id(&self.stream)).await?;
            let begin = if alone.marks.is_empty() || alone.are_of_another {
                texts(&places::of_target(&self.client.place, &self.stream, to, &listed)?)
            } else {
                alone.marks
            };
            leases.seed(begin).await?;
        }
        self.begin_anew(listed);
        Ok(())
    }

    /// Has the leases renewed and listed beside the reader, when that is due.
    pub(super) fn begin_upkeep(&mut self) {
        let Some(leasing) = &mut self.leasing else { return };
        if let Some(order) = leasing.order(Instant::now()) {
            self.tasks.spawn(async move { TaskDone::KeptUp(upkeep(order).await) });
        }
    }

    /// Leaves what is not held any more, and asks for what may be had.
    pub(super) fn hear_kept_up(&mut self, done: UpkeepDone) -> Result<(), StreamError> {
        let Some(leasing) = &mut self.leasing else { return Ok(()) };
        let now = Instant::now();
        let Some(news) = leasing.hear(done, now)? else { return Ok(()) };
        for (shard, mark) in news.saved {
            if let Some(feed) = self.feeds.get_mut(&*shard) {
                feed.acknowledge(mark);
            }
        }
        for shard in &news.left {
            self.feeds.remove(shard);
            self.tree.put(shard, ShardMark::Place(ShardPlace::Horizon));
        }
        let holding = leasing.holding();
        for lease in holding.leases().filter(|lease| holding.epoch(&lease.shard).is_none()) {
            let mark = mark_of(&self.client.place, lease)?;
            self.tree.put(&lease.shard, mark);
        }
        let claims = leasing.claims(&self.tree.readable(), now);
        if !claims.is_empty() {
            let leases = Arc::clone(leasing.leases());
            self.tasks.spawn(async move { TaskDone::Taken(take(leases, claims).await) });
        }
        Ok(())
    }

    /// Begins to read what was taken.
    pub(super) fn hear_taken(&mut self, taken: Result<Vec<ShardLease>, StreamError>) -> Result<(), StreamError> {
        let Some(leasing) = &mut self.leasing else { return Ok(()) };
        let now = Instant::now();
        for lease in leasing.took(taken, now)? {
            let shard: Arc<str> = Arc::from(lease.shard.as_str());
            let place = match mark_of(&self.client.place, &lease)? {
                ShardMark::Place(place) => place,
                ShardMark::End => {
                    leasing.note(&shard, lease.epoch, ShardMark::End, now);
                    continue;
                }
            };
            self.tree.read(&shard);
            let acknowledged = lease.checkpoint.filter(|mark| position(mark).is_some()).unwrap_or_default();
            let feed = ShardFeed::new((Arc::clone(&self.stream), Arc::clone(&shard)), lease.epoch, place, acknowledged);
            self.feeds.insert(shard, feed);
        }
        Ok(())
    }

    /// Goes elsewhere, with all servers that share the stream.
    pub(super) async fn go_leased(&mut self, to: &SeekTarget, listed: ListedShards) -> Result<(), StreamError> {
        let marks = places::of_target(&self.client.place, &self.stream, to, &listed)?;
        // What is on its way would be written behind it.
        self.tasks.shutdown().await;
        self.tasks = JoinSet::new();
        let others_begin_anew = !matches!(to, SeekTarget::Position { .. });
        if let Some(leasing) = &mut self.leasing {
            let to = LeaseSeek { checkpoints: texts(&marks), others_begin_anew };
            // Whatever it is, nothing is on its way any more: another reader goes on.
            leasing.seek(to, Instant::now()).await.map_err(|error| StreamError::Retry(error.to_string()))?;
        }
        self.begin_anew(listed);
        Ok(())
    }

    /// Nothing that was read before counts.
    pub(super) fn begin_anew(&mut self, listed: ListedShards) {
        self.tasks = JoinSet::new();
        (self.fetching, self.is_listing, self.list_at) = (0, false, Instant::now() + super::LIST_EVERY);
        self.feeds.clear();
        self.out.clear();
        self.tree = ShardTree::default();
        self.tree.update(listed.shards);
    }
}

/// From where a shard is read on.
fn mark_of(place: &str, lease: &ShardLease) -> Result<ShardMark, StreamError> {
    match &lease.checkpoint {
        None => Ok(ShardMark::Place(ShardPlace::Horizon)),
        Some(text) => ShardMark::parse(text).ok_or_else(|| places::unreadable(place, &lease.shard, text)),
    }
}
