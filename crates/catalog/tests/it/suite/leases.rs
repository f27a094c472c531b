//! Leases of shards: each call is one transaction, and what is written under a lost lease changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_catalog::{CatalogStore, LeaseTable, LeasedStream, StreamLeases};
use tidegate_stream::{LeaseClaim, LeaseHolder, LeaseRenewal, LeaseSeek, ShardLease, ShardLeases};

use crate::rig::{CatalogTest, SECOND_US};

const fn now_us() -> i64 {
    1_800_000_000 * SECOND_US
}

/// The leases of the stream `clicks` of the source `orders`, as the server of this name has them.
fn leases_in(store: &Arc<dyn CatalogStore>, workspace: &str, name: &str) -> StreamLeases {
    let table = LeaseTable::new(Arc::clone(store), now_us);
    let stream =
        LeasedStream { workspace: workspace.to_owned(), source: "orders".to_owned(), topic: "clicks".to_owned() };
    let holder = LeaseHolder { id: format!("id of {name}"), name: name.to_owned() };
    StreamLeases { table: Arc::new(table), stream, holder, lease_time: Duration::from_secs(20) }
}

/// Two servers on connections of their own.
fn both(test: &CatalogTest) -> (StreamLeases, StreamLeases) {
    let other = test.other.as_ref().unwrap();
    (leases_in(&test.store, "production", "a"), leases_in(other, "production", "b"))
}

fn unseen(shards: &[&str]) -> Vec<LeaseClaim> {
    shards.iter().map(|shard| LeaseClaim { shard: (*shard).to_owned(), epoch: None, beat: None }).collect()
}

fn claim(lease: &ShardLease, is_as_it_stands: bool) -> Vec<LeaseClaim> {
    let beat = is_as_it_stands.then_some(lease.beat);
    vec![LeaseClaim { shard: lease.shard.clone(), epoch: Some(lease.epoch), beat }]
}

fn renewal(lease: &ShardLease, checkpoint: Option<&str>) -> Vec<LeaseRenewal> {
    let checkpoint = checkpoint.map(str::to_owned);
    vec![LeaseRenewal { shard: lease.shard.clone(), epoch: lease.epoch, checkpoint }]
}

fn listed(test: &CatalogTest, leases: &StreamLeases) -> Vec<ShardLease> {
    test.wait(leases.list()).unwrap()
}

/// Shards with their holders, epochs, beats and checkpoints.
fn shown(leases: &[ShardLease]) -> Vec<String> {
    let text = |lease: &ShardLease| {
        let ShardLease { shard, holder, epoch, beat, checkpoint } = lease;
        let holder = holder.as_ref().map_or("nobody", |holder| holder.name.as_str());
        format!("{shard} {holder} {epoch} {beat} {}", checkpoint.as_deref().unwrap_or("-"))
    };
    leases.iter().map(text).collect()
}

pub fn a_lease_is_taken_by_one_of_those_who_claim_it(test: &CatalogTest) {
    let (first, second) = both(test);
    let (one, other) = test.wait(async {
        tokio::join!(first.take(unseen(&["s1", "s2", "s3"])), second.take(unseen(&["s3", "s2", "s1"])))
    });
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.len() + other.len(), 3, "{one:?} {other:?}");
    let mut taken = shown(&[one, other].concat());
    taken.sort_unstable();
    assert_eq!(shown(&listed(test, &first)), taken);
    // Another source, or another workspace, has leases of its own.
    assert!(listed(test, &leases_in(&test.store, "staging", "a")).is_empty());
}

pub fn a_lease_is_taken_away_as_it_was_seen_or_not_at_all(test: &CatalogTest) {
    let (first, second) = both(test);
    let held = test.wait(first.take(unseen(&["s1"]))).unwrap().remove(0);
    assert!(test.wait(second.take(unseen(&["s1"]))).unwrap().is_empty(), "there is one");
    assert!(test.wait(first.renew(renewal(&held, Some("7")))).unwrap().is_empty());
    // Who takes it for silent has not seen the renewal; who takes it although it is not, need not have.
    assert!(test.wait(second.take(claim(&held, true))).unwrap().is_empty());
    let taken = test.wait(second.take(claim(&held, false))).unwrap();
    assert_eq!(shown(&taken), ["s1 b 2 0 7"]);
    assert!(test.wait(first.take(claim(&held, false))).unwrap().is_empty(), "it was taken since");
}

pub fn what_is_written_under_a_lost_lease_changes_nothing(test: &CatalogTest) {
    let (first, second) = both(test);
    let mut held = test.wait(first.take(unseen(&["s1", "s2"]))).unwrap();
    let taken = test.wait(second.take(claim(&held[0], false))).unwrap();
    let renewals: Vec<LeaseRenewal> = held.iter().flat_map(|lease| renewal(lease, Some("9"))).collect();
    assert_eq!(test.wait(first.renew(renewals.clone())).unwrap(), ["s1"]);
    assert_eq!(shown(&listed(test, &second)), ["s1 b 2 0 -", "s2 a 1 1 9"]);
    // The epoch of another one helps nobody.
    held[0].epoch = taken[0].epoch;
    assert_eq!(test.wait(first.renew(renewal(&held[0], Some("9")))).unwrap(), ["s1"]);
    assert_eq!(test.wait(first.release(renewals)).unwrap(), ["s1"]);
    assert_eq!(shown(&listed(test, &second)), ["s1 b 2 0 -", "s2 nobody 2 1 9"]);
    // What was given up is written no more.
    assert_eq!(test.wait(first.renew(renewal(&held[1], Some("1")))).unwrap(), ["s2"]);
    assert!(test.wait(second.release(renewal(&taken[0], Some("SHARD_END")))).unwrap().is_empty());
    assert_eq!(shown(&listed(test, &first)), ["s1 nobody 3 0 SHARD_END", "s2 nobody 2 1 9"]);
}

pub fn checkpoints_are_seeded_once_and_moved_under_another_epoch(test: &CatalogTest) {
    let (first, second) = both(test);
    let marks = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(shard, mark)| ((*shard).to_owned(), (*mark).to_owned())).collect()
    };
    assert!(test.wait(first.seed(marks(&[("s1", "3"), ("s2", "SHARD_END")]))).unwrap());
    assert!(!test.wait(second.seed(marks(&[("s1", "9"), ("s4", "9")]))).unwrap());
    let rows = listed(test, &second);
    assert_eq!(shown(&rows), ["s1 nobody 1 0 3", "s2 nobody 1 0 SHARD_END"]);
    let held = test.wait(second.take(claim(&rows[0], true))).unwrap().remove(0);
    let position = LeaseSeek { checkpoints: marks(&[("s1", "at:5")]), others_begin_anew: false };
    test.wait(first.seek(position)).unwrap();
    assert_eq!(shown(&listed(test, &first)), ["s1 b 3 0 at:5", "s2 nobody 1 0 SHARD_END"]);
    assert_eq!(test.wait(second.renew(renewal(&held, Some("8")))).unwrap(), ["s1"]);
    let earliest = LeaseSeek { checkpoints: marks(&[("s0", "TRIM_HORIZON")]), others_begin_anew: true };
    test.wait(first.seek(earliest)).unwrap();
    assert_eq!(shown(&listed(test, &first)), ["s0 nobody 1 0 TRIM_HORIZON", "s1 b 4 0 -", "s2 nobody 2 0 -"]);
    // A lease is forgotten as it was seen, or stays.
    let rows = listed(test, &first);
    let claims: Vec<LeaseClaim> = rows.iter().flat_map(|lease| claim(lease, true)).collect();
    test.wait(second.take(claim(&rows[0], true))).unwrap();
    test.wait(first.forget(claims)).unwrap();
    assert_eq!(shown(&listed(test, &first)), ["s0 b 2 0 TRIM_HORIZON"]);
}

pub fn leases_are_no_change_of_the_catalog(test: &CatalogTest) {
    let (first, _) = both(test);
    let before = (test.wait(test.catalog.revision()).unwrap(), test.count("SELECT count(*) FROM audit"));
    test.wait(first.take(unseen(&["s1"]))).unwrap();
    assert_eq!(before, (test.wait(test.catalog.revision()).unwrap(), test.count("SELECT count(*) FROM audit")));
}
