//! Leases: which of several servers reads which upstream partition (a **shard**) of a stream, and from where it is read on.
//!
//! Nouns: a **lease** (what is kept of a shard: its holder and its checkpoint), an **epoch** (a number that goes up whenever a lease is
//! taken, given up or moved), a **beat** (a number that goes up with each renewal), the **lease time** (how long a lease without a new beat
//! counts).
//!
//! What every [`ShardLeases`] keeps to:
//! * What is written to a lease counts if it is held by who writes, under the epoch that it was taken under; else nothing of that lease is
//!   changed. So what a server reads whose lease another one has taken is never acknowledged by it.
//! * Each call is one transaction, and those of all servers come one after the other.
//! * No clock is compared with another one: whoever watches a lease measures how long its numbers stay as they are.

mod holding;

use std::collections::BTreeMap;
use std::time::Duration;

pub use holding::LeaseHolding;

use crate::error::StreamReply;

/// Who holds leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// The same as long as it is the same server, and no other's.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What is kept of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLease {
    pub shard: String,
    pub holder: Option<LeaseHolder>,
    pub epoch: u64,
    pub beat: u64,
    /// From where it is read on, as the carrier writes it; none is its beginning.
    pub checkpoint: Option<String>,
}

/// Asks for a lease, as long as it is what it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseClaim {
    pub shard: String,
    /// None where no such lease was listed.
    pub epoch: Option<u64>,
    /// None where renewals since then change nothing.
    pub beat: Option<u64>,
}

/// Says that a lease is still held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRenewal {
    pub shard: String,
    /// Under which it was taken.
    pub epoch: u64,
    /// None leaves that in place which is there.
    pub checkpoint: Option<String>,
}

/// From where shards go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSeek {
    pub checkpoints: BTreeMap<String, String>,
    /// Shards without a checkpoint here begin anew; else they stay where they are.
    pub others_begin_anew: bool,
}

/// The leases of one stream, as one holder sees and changes them.
pub trait ShardLeases: Send + Sync {
    /// Who holds what is taken here.
    fn holder(&self) -> &LeaseHolder;

    /// How long a lease counts whose holder says nothing.
    fn lease_time(&self) -> Duration;

    /// All of them.
    fn list(&self) -> StreamReply<'_, Vec<ShardLease>>;

    /// Puts these in place, held by nobody, if there are none at all. Says whether it did.
    fn seed(&self, checkpoints: BTreeMap<String, String>) -> StreamReply<'_, bool>;

    /// Takes those that are as the claims say, each under a higher epoch. Answers what was taken.
    fn take(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, Vec<ShardLease>>;

    /// Renews what is held, and keeps the checkpoints. Answers the shards that are held no more, of which nothing was changed.
    fn renew(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>>;

    /// Keeps the checkpoints and gives the leases up. Answers the shards that were held no more, of which nothing was changed.
    fn release(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>>;

    /// Moves shards, whoever holds them: each gets a higher epoch and keeps its holder, who has to take it anew.
    fn seek(&self, to: LeaseSeek) -> StreamReply<'_, ()>;

    /// Takes away the leases of shards that are gone upstream, as far as they are as the claims say.
    fn forget(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, ()>;
}
