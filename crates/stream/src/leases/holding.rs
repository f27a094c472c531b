//! What one server knows of the leases of a stream, and which ones it claims: no store and no clock, the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{LeaseClaim, ShardLease};

/// The leases as one server sees them.
#[derive(Debug)]
pub struct LeaseHolding {
    /// The id of the holder.
    own: String,
    lease_time: Duration,
    seen: BTreeMap<Arc<str>, SeenLease>,
    /// Those that are held here, each with its epoch.
    held: BTreeMap<Arc<str>, u64>,
}

#[derive(Debug)]
struct SeenLease {
    lease: ShardLease,
    /// Since when its numbers are what they are, by the clock of who looks.
    since: Instant,
}

impl LeaseHolding {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(own: String, lease_time: Duration) -> Self {
        Self { own, lease_time, seen: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// Takes a list in. Answers the shards whose leases were held until now, and are no more.
    pub fn hear(&mut self, listed: Vec<ShardLease>, now: Instant) -> Vec<Arc<str>> {
        let mut seen = BTreeMap::new();
        for lease in listed {
            let (shard, lease) = self.look(lease, now);
            seen.insert(shard, lease);
        }
        self.seen = seen;
        let is_lost = |(shard, epoch): (&Arc<str>, &u64)| {
            let lease = self.seen.get(shard).map(|seen| &seen.lease);
            let is_held = lease.is_some_and(|lease| lease.epoch == *epoch && self.is_own(lease));
            (!is_held).then(|| Arc::clone(shard))
        };
        let lost: Vec<Arc<str>> = self.held.iter().filter_map(is_lost).collect();
        self.lose(&lost);
        lost
    }

    /// Which leases to take, where `open` are all shards that may be read now, by whoever does.
    ///
    /// Each server has its share: the shards by the servers that hold any, upwards. What nobody holds, and what nobody has renewed for the
    /// lease time, is taken up to that; where there is nothing of the kind, one lease is taken from whoever has most, if that is more than a
    /// share. What has our name is taken anew: we had it before a restart, or it was moved.
    #[must_use]
    pub fn claims(&self, open: &BTreeSet<Arc<str>>, now: Instant) -> Vec<LeaseClaim> {
        let (mut claims, mut free) = (Vec::new(), Vec::new());
        let mut of_others: BTreeMap<&str, Vec<&ShardLease>> = BTreeMap::new();
        for shard in open.iter().filter(|shard| !self.held.contains_key(*shard)) {
            let Some(SeenLease { lease, since }) = self.seen.get(shard) else {
                free.push(LeaseClaim { shard: shard.to_string(), epoch: None, beat: None });
                continue;
            };
            match &lease.holder {
                None => free.push(claim(lease, None)),
                Some(_) if self.is_own(lease) => claims.push(claim(lease, None)),
                Some(_) if now.saturating_duration_since(*since) >= self.lease_time => {
                    free.push(claim(lease, Some(lease.beat)));
                }
                Some(holder) => of_others.entry(holder.id.as_str()).or_default().push(lease),
            }
        }
        let own = self.held.keys().filter(|shard| open.contains(*shard)).count() + claims.len();
        let share = open.len().div_ceil(of_others.len() + 1);
        let room = share.saturating_sub(own);
        if free.is_empty() && room > 0 {
            let most = of_others.values().max_by_key(|leases| leases.len()).filter(|leases| leases.len() > share);
            claims.extend(most.and_then(|leases| leases.last()).map(|lease| claim(lease, None)));
        }
        claims.extend(free.into_iter().take(room));
        claims
    }

    /// These were taken.
    pub fn took(&mut self, taken: Vec<ShardLease>, now: Instant) {
        for lease in taken {
            let epoch = lease.epoch;
            let (shard, lease) = self.look(lease, now);
            self.held.insert(Arc::clone(&shard), epoch);
            self.seen.insert(shard, lease);
        }
    }

    /// These are held no more.
    pub fn lose(&mut self, shards: &[Arc<str>]) {
        self.held.retain(|shard, _| !shards.contains(shard));
    }

    /// Nothing is held any more.
    pub fn lose_all(&mut self) {
        self.held.clear();
    }

    /// Those that are held here, each with its epoch.
    pub fn held(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.held.iter().map(|(shard, epoch)| (shard, *epoch))
    }

    /// The epoch of a lease that is held here.
    #[must_use]
    pub fn epoch(&self, shard: &str) -> Option<u64> {
        self.held.get(shard).copied()
    }

    /// The lease of a shard as it was listed last.
    #[must_use]
    pub fn lease(&self, shard: &str) -> Option<&ShardLease> {
        self.seen.get(shard).map(|seen| &seen.lease)
    }

    /// All of them as they were listed last.
    pub fn leases(&self) -> impl Iterator<Item = &ShardLease> {
        self.seen.values().map(|seen| &seen.lease)
    }

    /// Leases that nobody holds, or whose holder has said nothing for the lease time.
    pub fn unheld(&self, now: Instant) -> impl Iterator<Item = &ShardLease> {
        let is_unheld = move |seen: &&SeenLease| {
            seen.lease.holder.is_none() || now.saturating_duration_since(seen.since) >= self.lease_time
        };
        self.seen.values().filter(is_unheld).map(|seen| &seen.lease)
    }

    fn is_own(&self, lease: &ShardLease) -> bool {
        lease.holder.as_ref().is_some_and(|holder| holder.id == self.own)
    }

    /// A lease, and since when it is as it is.
    fn look(&self, lease: ShardLease, now: Instant) -> (Arc<str>, SeenLease) {
        let before = self.seen.get_key_value(lease.shard.as_str());
        let shard = before.map_or_else(|| Arc::from(lease.shard.as_str()), |(shard, _)| Arc::clone(shard));
        let is_as_before = |seen: &&SeenLease| {
            let SeenLease { lease: old, .. } = seen;
            (&old.holder, old.epoch, old.beat) == (&lease.holder, lease.epoch, lease.beat)
        };
        let since = before.map(|(_, seen)| seen).filter(is_as_before).map_or(now, |seen| seen.since);
        (shard, SeenLease { lease, since })
    }
}

fn claim(lease: &ShardLease, beat: Option<u64>) -> LeaseClaim {
    LeaseClaim { shard: lease.shard.clone(), epoch: Some(lease.epoch), beat }
}
