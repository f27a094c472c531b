//! Leases in memory that several holders share, as a store keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_stream::{
    LeaseClaim, LeaseHolder, LeaseRenewal, LeaseSeek, ShardLease, ShardLeases, StreamError, StreamReply,
};

/// What the store has.
#[derive(Debug, Default)]
pub struct MemoryLeases {
    pub rows: Mutex<BTreeMap<String, ShardLease>>,
    /// Why it does not answer.
    pub away: Mutex<Option<StreamError>>,
    /// How often it was to forget something, where it never answers that.
    pub unanswered: Mutex<Option<u32>>,
}

/// The same for one holder.
pub struct HeldLeases {
    table: Arc<MemoryLeases>,
    holder: LeaseHolder,
    lease_time: Duration,
}

impl MemoryLeases {
    /// As the server of this name has them.
    pub fn of(self: &Arc<Self>, name: &str, lease_time: Duration) -> HeldLeases {
        let holder = LeaseHolder { id: format!("id of {name}"), name: name.to_owned() };
        HeldLeases { table: Arc::clone(self), holder, lease_time }
    }

    /// The name of who holds a shard.
    pub fn holder(&self, shard: &str) -> Option<String> {
        self.rows.lock().unwrap().get(shard)?.holder.as_ref().map(|holder| holder.name.clone())
    }

    pub fn checkpoint(&self, shard: &str) -> Option<String> {
        self.rows.lock().unwrap().get(shard)?.checkpoint.clone()
    }
}

impl HeldLeases {
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut BTreeMap<String, ShardLease>) -> T,
    ) -> StreamReply<'static, T> {
        let done = match self.table.away.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(work(&mut self.table.rows.lock().unwrap())),
        };
        Box::pin(async move { done })
    }

    fn change(
        &self,
        renewals: Vec<LeaseRenewal>,
        change: impl Fn(&mut ShardLease),
    ) -> StreamReply<'static, Vec<String>> {
        self.with(|rows| {
            let mut lost = Vec::new();
            for LeaseRenewal { shard, epoch, checkpoint } in renewals {
                let is_held = |row: &&mut ShardLease| row.epoch == epoch && row.holder.as_ref() == Some(&self.holder);
                match rows.get_mut(&shard).filter(is_held) {
                    Some(row) => {
                        row.checkpoint = checkpoint.or_else(|| row.checkpoint.take());
                        change(row);
                    }
                    None => lost.push(shard),
                }
            }
            lost
        })
    }
}

fn is_as_claimed(row: &ShardLease, claim: &LeaseClaim) -> bool {
    claim.epoch == Some(row.epoch) && claim.beat.is_none_or(|beat| beat == row.beat)
}

fn fresh(shard: &str, checkpoint: Option<String>) -> ShardLease {
    ShardLease { shard: shard.to_owned(), holder: None, epoch: 1, beat: 0, checkpoint }
}

impl ShardLeases for HeldLeases {
    fn holder(&self) -> &LeaseHolder {
        &self.holder
    }

    fn lease_time(&self) -> Duration {
        self.lease_time
    }

    fn list(&self) -> StreamReply<'_, Vec<ShardLease>> {
        self.with(|rows| rows.values().cloned().collect())
    }

    fn seed(&self, checkpoints: BTreeMap<String, String>) -> StreamReply<'_, bool> {
        self.with(|rows| {
            let is_empty = rows.is_empty();
            if is_empty {
                rows.extend(checkpoints.into_iter().map(|(shard, at)| (shard.clone(), fresh(&shard, Some(at)))));
            }
            is_empty
        })
    }

    fn take(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, Vec<ShardLease>> {
        self.with(|rows| {
            let mut taken = Vec::new();
            for claim in claims {
                match (rows.get_mut(&claim.shard), claim.epoch) {
                    (None, None) => {
                        let row = ShardLease { holder: Some(self.holder.clone()), ..fresh(&claim.shard, None) };
                        taken.push(row.clone());
                        rows.insert(claim.shard, row);
                    }
                    (Some(row), Some(_)) if is_as_claimed(row, &claim) => {
                        (row.holder, row.epoch, row.beat) = (Some(self.holder.clone()), row.epoch + 1, 0);
                        taken.push(row.clone());
                    }
                    _ => {}
                }
            }
            taken
        })
    }

    fn renew(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>> {
        self.change(renewals, |row| row.beat += 1)
    }

    fn release(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>> {
        self.change(renewals, |row| (row.holder, row.epoch) = (None, row.epoch + 1))
    }

    fn seek(&self, to: LeaseSeek) -> StreamReply<'_, ()> {
        self.with(|rows| {
            if to.others_begin_anew {
                for row in rows.values_mut() {
                    (row.checkpoint, row.epoch) = (None, row.epoch + 1);
                }
            }
            for (shard, checkpoint) in to.checkpoints {
                let row = rows.entry(shard.clone()).or_insert_with(|| fresh(&shard, None));
                (row.checkpoint, row.epoch) = (Some(checkpoint), row.epoch + 1);
            }
        })
    }

    fn forget(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, ()> {
        if let Some(asked) = &mut *self.table.unanswered.lock().unwrap() {
            *asked += 1;
            return Box::pin(std::future::pending::<Result<(), StreamError>>());
        }
        self.with(|rows| {
            for claim in claims {
                if rows.get(&claim.shard).is_some_and(|row| is_as_claimed(row, &claim)) {
                    rows.remove(&claim.shard);
                }
            }
        })
    }
}
