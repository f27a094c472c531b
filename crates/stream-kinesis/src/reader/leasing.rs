//! The leases of the shards, where servers share a stream: which are held here, what is to be written to them, and when that is due.
//!
//! One task at a time asks the leases, beside the reader. A mark whose receipt came waits for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_stream::{
    LeaseClaim, LeaseHolding, LeaseRenewal, LeaseSeek, ShardLease, ShardLeases, StreamCheckpoints, StreamError,
};
use tokio::time::{Instant, timeout};

use crate::place::ShardMark;

/// Between two times that marks are written, while there are any.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Until leases are asked for again that could not be reached.
const AGAIN: Duration = Duration::from_secs(1);
/// Renewals in a lease time.
const RENEWALS: u32 = 3;

/// In place of a shard, under which it is kept whose the leases are that have the name of the stream alone.
const OWNER: &str = "owner";

/// The leases of a stream, where servers share it: those under `key`, which names the region too. Earlier builds kept them under the name
/// of the stream alone. Those are gone on with, also beside servers of such builds, by the region and endpoint that asked for them first.
///
/// # Errors
/// The leases do not answer.
pub(super) async fn leases_of(
    checkpoints: &dyn StreamCheckpoints,
    stream: &str,
    key: &str,
) -> Result<Option<Arc<dyn ShardLeases>>, StreamError> {
    let owners = checkpoints.leases(&format!("{stream}@"));
    let (Some(own), Some(older), Some(owners)) = (checkpoints.leases(key), checkpoints.leases(stream), owners) else {
        return Ok(None);
    };
    if !own.list().await?.is_empty() || older.list().await?.is_empty() {
        return Ok(Some(own));
    }
    owners.seed(BTreeMap::from([(OWNER.to_owned(), key.to_owned())])).await?;
    let is_ours = owners.list().await?.iter().any(|owner| owner.checkpoint.as_deref() == Some(key));
    Ok(Some(if is_ours { older } else { own }))
}

/// The leases as a reader has them.
pub(super) struct ShardLeasing {
    leases: Arc<dyn ShardLeases>,
    holding: LeaseHolding,
    /// Marks that no lease has yet, of shards that are held and go on being so.
    pending: BTreeMap<Arc<str>, ShardMark>,
    /// Leases that are to be given up, of shards that have ended or are gone.
    leaving: BTreeMap<Arc<str>, LeaseRenewal>,
    is_asking: bool,
    due: Instant,
    /// When marks were written last.
    saved_at: Instant,
    /// When the leases answered last.
    reached_at: Instant,
    /// Why they do not answer.
    away: Option<String>,
}

/// What the leases are told at once.
pub(super) struct UpkeepOrder {
    leases: Arc<dyn ShardLeases>,
    renewals: Vec<LeaseRenewal>,
    releases: Vec<LeaseRenewal>,
}

/// What became of it.
pub(super) struct UpkeepDone {
    renewals: Vec<LeaseRenewal>,
    releases: Vec<LeaseRenewal>,
    /// The shards that are held no more, and all leases.
    answer: Result<(Vec<String>, Vec<ShardLease>), StreamError>,
}

/// What is different since.
pub(super) struct LeaseNews {
    /// Marks that the leases have.
    pub(super) saved: Vec<(String, String)>,
    /// Shards that were held here and are no more.
    pub(super) left: Vec<Arc<str>>,
}

pub(super) async fn upkeep(order: UpkeepOrder) -> UpkeepDone {
    let UpkeepOrder { leases, renewals, releases } = order;
    let asked = timeout(leases.lease_time(), ask(&leases, renewals.clone(), releases.clone())).await;
    UpkeepDone { renewals, releases, answer: asked.unwrap_or_else(|_| Err(no_answer())) }
}

/// Takes what is claimed.
pub(super) async fn take(
    leases: Arc<dyn ShardLeases>,
    claims: Vec<LeaseClaim>,
) -> Result<Vec<ShardLease>, StreamError> {
    timeout(leases.lease_time(), leases.take(claims)).await.unwrap_or_else(|_| Err(no_answer()))
}

/// Forgets leases of shards that are gone. Where there is no answer, the next list of shards has them again.
pub(super) async fn forget(leases: Arc<dyn ShardLeases>, claims: Vec<LeaseClaim>) -> Result<(), StreamError> {
    match timeout(leases.lease_time(), leases.forget(claims)).await {
        Ok(Err(error @ StreamError::Stop { .. })) => Err(error),
        _ => Ok(()),
    }
}

fn no_answer() -> StreamError {
    StreamError::Retry("the leases of its shards: no answer within the time of a lease".to_owned())
}

async fn ask(
    leases: &Arc<dyn ShardLeases>,
    renewals: Vec<LeaseRenewal>,
    releases: Vec<LeaseRenewal>,
) -> Result<(Vec<String>, Vec<ShardLease>), StreamError> {
    if !releases.is_empty() {
        leases.release(releases).await?;
    }
    let lost = if renewals.is_empty() { Vec::new() } else { leases.renew(renewals).await? };
    Ok((lost, leases.list().await?))
}

impl ShardLeasing {
    /// Nothing is held yet, and the leases are asked at once.
    pub(super) fn new(leases: Arc<dyn ShardLeases>, now: Instant) -> Self {
        let holding = LeaseHolding::new(leases.holder().id.clone(), leases.lease_time());
        Self {
            leases,
            holding,
            pending: BTreeMap::new(),
            leaving: BTreeMap::new(),
            is_asking: false,
            due: now,
            saved_at: now,
            reached_at: now,
            away: None,
        }
    }

    /// When the leases are to be asked; none while they are.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_asking).then_some(self.due)
    }

    /// What they are told, when that is due.
    pub(super) fn order(&mut self, now: Instant) -> Option<UpkeepOrder> {
        self.due().filter(|due| *due <= now)?;
        self.is_asking = true;
        self.saved_at = now;
        let (renewals, releases) = (self.renewals(), self.leaving.values().cloned().collect());
        Some(UpkeepOrder { leases: Arc::clone(&self.leases), renewals, releases })
    }

    /// Of everything that is held and stays so.
    fn renewals(&self) -> Vec<LeaseRenewal> {
        let stays = self.holding.held().filter(|(shard, _)| !self.leaving.contains_key(*shard));
        let renewal = |(shard, epoch): (&Arc<str>, u64)| LeaseRenewal {
            shard: shard.to_string(),
            epoch,
            checkpoint: self.pending.get(shard).map(ShardMark::to_string),
        };
        stays.map(renewal).collect()
    }

    /// Takes an answer in; none where there was none, which passes. `claims` comes next.
    pub(super) fn hear(&mut self, done: UpkeepDone, now: Instant) -> Result<Option<LeaseNews>, StreamError> {
        let UpkeepDone { renewals, releases, answer } = done;
        let (lost, listed) = match answer {
            Ok(answer) => answer,
            Err(error) => return self.fail(error, now).map(|()| None),
        };
        (self.reached_at, self.away) = (now, None);
        let mut left: Vec<Arc<str>> = releases.into_iter().map(|release| Arc::from(release.shard)).collect();
        self.holding.lose(&left);
        left.extend(self.holding.hear(listed, now.into_std()));
        for shard in &left {
            self.pending.remove(shard);
            self.leaving.remove(shard);
        }
        let mut saved = Vec::new();
        for LeaseRenewal { shard, checkpoint, .. } in renewals {
            let Some(checkpoint) = checkpoint.filter(|_| !lost.contains(&shard)) else { continue };
            if self.pending.get(&*shard).is_some_and(|mark| mark.to_string() == checkpoint) {
                self.pending.remove(&*shard);
            }
            saved.push((shard, checkpoint));
        }
        Ok(Some(LeaseNews { saved, left }))
    }

    /// Which leases to take, of all shards that may be read; the answer goes to [`Self::took`]. Where there are none, the leases are left
    /// alone until they are due again.
    pub(super) fn claims(&mut self, open: &BTreeSet<Arc<str>>, now: Instant) -> Vec<LeaseClaim> {
        let claims = self.holding.claims(open, now.into_std());
        if claims.is_empty() {
            self.rest(now);
        }
        claims
    }

    /// Takes in what was taken; none where there was no answer, which passes.
    pub(super) fn took(
        &mut self,
        taken: Result<Vec<ShardLease>, StreamError>,
        now: Instant,
    ) -> Result<Vec<ShardLease>, StreamError> {
        match taken {
            Ok(taken) => {
                self.holding.took(taken.clone(), now.into_std());
                self.rest(now);
                Ok(taken)
            }
            Err(error) => self.fail(error, now).map(|()| Vec::new()),
        }
    }

    fn rest(&mut self, now: Instant) {
        self.is_asking = false;
        let wait = match (self.leaving.is_empty(), self.pending.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, false) => SAVE_EVERY,
            (true, true) => self.leases.lease_time() / RENEWALS,
        };
        self.due = now + wait;
    }

    /// The leases did not answer. What is held is read on for as long as nobody else may take it.
    pub(super) fn fail(&mut self, error: StreamError, now: Instant) -> Result<(), StreamError> {
        self.is_asking = false;
        self.due = now + AGAIN;
        let is_over = now.saturating_duration_since(self.reached_at) >= self.leases.lease_time();
        if is_over || matches!(error, StreamError::Stop { .. }) {
            return Err(error);
        }
        self.away = Some(error.to_string());
        Ok(())
    }

    /// What was read of a shard under this epoch is in the log up to this mark. It counts if the lease is still that one.
    pub(super) fn note(&mut self, shard: &Arc<str>, epoch: u64, mark: ShardMark, now: Instant) {
        if self.holding.epoch(shard) != Some(epoch) || self.leaving.contains_key(shard) {
            return;
        }
        if mark == ShardMark::End {
            self.leave(shard, epoch, Some(mark.to_string()));
            self.due = now;
        } else {
            self.pending.insert(Arc::clone(shard), mark);
            self.due = self.due.min(self.saved_at + SAVE_EVERY);
        }
    }

    fn leave(&mut self, shard: &Arc<str>, epoch: u64, checkpoint: Option<String>) {
        let checkpoint = checkpoint.or_else(|| self.pending.get(shard).map(ShardMark::to_string));
        self.pending.remove(shard);
        self.leaving.insert(Arc::clone(shard), LeaseRenewal { shard: shard.to_string(), epoch, checkpoint });
    }

    /// Gives up what is held of shards that are gone upstream. Answers which leases of such shards are to be forgotten: nobody holds them.
    pub(super) fn part_with(&mut self, is_there: impl Fn(&str) -> bool, now: Instant) -> Vec<LeaseClaim> {
        let is_gone = |(shard, _): &(&Arc<str>, u64)| !is_there(shard) && !self.leaving.contains_key(*shard);
        let gone = self.holding.held().filter(is_gone);
        let gone: Vec<(Arc<str>, u64)> = gone.map(|(shard, epoch)| (Arc::clone(shard), epoch)).collect();
        for (shard, epoch) in gone {
            self.leave(&shard, epoch, None);
        }
        let unheld = self.holding.unheld(now.into_std()).filter(|lease| !is_there(&lease.shard));
        unheld
            .map(|lease| LeaseClaim { shard: lease.shard.clone(), epoch: Some(lease.epoch), beat: Some(lease.beat) })
            .collect()
    }

    /// Has shards go on elsewhere, whoever reads them. Everything is taken anew after that.
    pub(super) async fn seek(&mut self, to: LeaseSeek, now: Instant) -> Result<(), StreamError> {
        let renewals = self.renewals();
        if !renewals.is_empty() {
            // Of a lease that was lost meanwhile its new holder says how far it is.
            self.leases.renew(renewals).await?;
        }
        if !self.leaving.is_empty() {
            self.leases.release(self.leaving.values().cloned().collect()).await?;
        }
        self.leases.seek(to).await?;
        let listed = self.leases.list().await?;
        self.pending.clear();
        self.leaving.clear();
        self.holding.lose_all();
        self.holding.hear(listed, now.into_std());
        (self.is_asking, self.due, self.reached_at) = (false, now, now);
        Ok(())
    }

    /// Gives everything up that is held: others need not wait.
    pub(super) async fn release(&mut self) -> Result<(), StreamError> {
        let mut releases = self.renewals();
        releases.extend(self.leaving.values().cloned());
        self.holding.lose_all();
        self.pending.clear();
        self.leaving.clear();
        if releases.is_empty() { Ok(()) } else { self.leases.release(releases).await.map(drop) }
    }

    pub(super) fn leases(&self) -> &Arc<dyn ShardLeases> {
        &self.leases
    }

    pub(super) fn holding(&self) -> &LeaseHolding {
        &self.holding
    }

    /// Why the leases do not answer.
    pub(super) fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }
}
