//! Servers that come, go and stand still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_stream::{LeaseHolding, LeaseRenewal, LeaseSeek, ShardLeases, StreamError};

use crate::memory_leases::{HeldLeases, MemoryLeases};

const TIME: Duration = Duration::from_secs(20);
/// Between two renewals.
const BEAT: Duration = Duration::from_secs(6);

/// A server that reads what it has the leases of.
struct LeasingServer {
    leases: HeldLeases,
    holding: LeaseHolding,
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn shards(count: usize) -> BTreeSet<Arc<str>> {
    (0..count).map(|number| Arc::from(format!("shard-{number}"))).collect()
}

impl LeasingServer {
    fn new(table: &Arc<MemoryLeases>, name: &str) -> Self {
        let leases = table.of(name, TIME);
        let holding = LeaseHolding::new(leases.holder().id.clone(), TIME);
        Self { leases, holding }
    }

    fn renewals(&self, checkpoint: Option<&str>) -> Vec<LeaseRenewal> {
        let renewal = |(shard, epoch): (&Arc<str>, u64)| LeaseRenewal {
            shard: shard.to_string(),
            epoch,
            checkpoint: checkpoint.map(str::to_owned),
        };
        self.holding.held().map(renewal).collect()
    }

    /// Renews, lists and takes. Answers what was lost.
    fn keep_up(&mut self, open: &BTreeSet<Arc<str>>, now: Instant) -> Vec<Arc<str>> {
        run(async {
            self.leases.renew(self.renewals(None)).await.unwrap();
            let lost = self.holding.hear(self.leases.list().await.unwrap(), now);
            let taken = self.leases.take(self.holding.claims(open, now)).await.unwrap();
            self.holding.took(taken, now);
            lost
        })
    }

    fn held(&self) -> Vec<String> {
        self.holding.held().map(|(shard, _)| shard.to_string()).collect()
    }
}

#[test]
fn a_server_alone_takes_every_shard_at_once() {
    let table = Arc::new(MemoryLeases::default());
    let mut server = LeasingServer::new(&table, "a");
    assert!(server.keep_up(&shards(100), Instant::now()).is_empty());
    assert_eq!(server.held().len(), 100);
    assert_eq!(server.holding.lease("shard-0").unwrap().holder.as_ref().unwrap().name, "a");
}

#[test]
fn servers_that_come_take_one_shard_at_a_time_until_nobody_has_more_than_its_share() {
    for count in 1..10 {
        for servers in 1..6 {
            let (table, open, mut now) = (Arc::new(MemoryLeases::default()), shards(count), Instant::now());
            let mut all: Vec<LeasingServer> =
                (0..servers).map(|number| LeasingServer::new(&table, &format!("server {number}"))).collect();
            for _ in 0..2 * count + 2 {
                for server in &mut all {
                    let before = server.held();
                    let lost = server.keep_up(&open, now).len();
                    let gained = server.held().len() + lost - before.len();
                    let is_first = table
                        .rows
                        .lock()
                        .unwrap()
                        .values()
                        .all(|row| row.holder.as_ref() == Some(server.leases.holder()));
                    assert!(gained <= 1 || is_first, "{gained} at once");
                }
                now += BEAT;
            }
            // What was taken from a server it hears with its next renewal.
            let held: Vec<Vec<String>> = all
                .iter_mut()
                .map(|server| {
                    server.keep_up(&open, now);
                    server.held()
                })
                .collect();
            let mut shards: Vec<String> = held.iter().flatten().cloned().collect();
            shards.sort_unstable();
            assert_eq!(shards, open.iter().map(ToString::to_string).collect::<Vec<_>>(), "each is held once: {held:?}");
            let share = count.div_ceil(servers);
            assert!(held.iter().all(|held| held.len() <= share), "{count} by {servers}: {held:?}");
        }
    }
}

#[test]
fn a_lease_is_taken_when_nobody_has_renewed_it_for_its_time_and_not_before() {
    let (table, open, start) = (Arc::new(MemoryLeases::default()), shards(2), Instant::now());
    let (mut first, mut second) = (LeasingServer::new(&table, "a"), LeasingServer::new(&table, "b"));
    first.keep_up(&open, start);
    second.keep_up(&open, start);
    assert_eq!((first.holding.epoch("shard-0"), second.held()), (Some(1), vec!["shard-1".to_owned()]));
    // The first one is renewed in time, and then no more.
    let mut now = start;
    for _ in 0..10 {
        now += BEAT;
        first.keep_up(&open, now);
        second.keep_up(&open, now);
        assert_eq!(second.held(), ["shard-1"]);
    }
    second.keep_up(&open, now + TIME.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(second.held(), ["shard-1"]);
    second.keep_up(&open, now + TIME);
    assert_eq!(second.held(), ["shard-0", "shard-1"]);
    // The clock of the other one may say whatever it wants.
    assert_eq!(first.keep_up(&open, start), [Arc::<str>::from("shard-0")]);
}

#[test]
fn what_is_written_under_a_lost_lease_is_refused() {
    let (table, open, now) = (Arc::new(MemoryLeases::default()), shards(1), Instant::now());
    let (mut first, mut second) = (LeasingServer::new(&table, "a"), LeasingServer::new(&table, "b"));
    first.keep_up(&open, now);
    assert!(run(first.leases.renew(first.renewals(Some("7")))).unwrap().is_empty());
    second.keep_up(&open, now);
    second.keep_up(&open, now + TIME);
    assert_eq!(table.holder("shard-0").as_deref(), Some("b"));
    assert_eq!(run(first.leases.renew(first.renewals(Some("9")))).unwrap(), ["shard-0"]);
    assert_eq!(run(first.leases.release(first.renewals(Some("SHARD_END")))).unwrap(), ["shard-0"]);
    assert_eq!(table.checkpoint("shard-0").as_deref(), Some("7"));
    assert_eq!(first.keep_up(&open, now + TIME), [Arc::<str>::from("shard-0")]);
    assert_eq!(table.holder("shard-0").as_deref(), Some("b"));
}

#[test]
fn a_server_that_comes_again_has_its_leases_at_once_and_who_it_was_before_has_none() {
    let (table, open, now) = (Arc::new(MemoryLeases::default()), shards(3), Instant::now());
    let mut before = LeasingServer::new(&table, "a");
    before.keep_up(&open, now);
    let mut again = LeasingServer::new(&table, "a");
    again.keep_up(&open, now);
    assert_eq!(again.held().len(), 3);
    assert_eq!(run(before.leases.renew(before.renewals(Some("9")))).unwrap().len(), 3);
}

#[test]
fn what_is_given_up_is_taken_at_once() {
    let (table, open, now) = (Arc::new(MemoryLeases::default()), shards(4), Instant::now());
    let (mut first, mut second) = (LeasingServer::new(&table, "a"), LeasingServer::new(&table, "b"));
    first.keep_up(&open, now);
    second.keep_up(&open, now);
    assert!(run(first.leases.release(first.renewals(Some("7")))).unwrap().contains(&"shard-3".to_owned()));
    second.keep_up(&open, now);
    assert_eq!(second.held().len(), 4);
    assert_eq!(table.checkpoint("shard-0").as_deref(), Some("7"));
}

#[test]
fn whoever_has_a_shard_goes_on_where_a_seek_has_sent_it() {
    let (table, open, now) = (Arc::new(MemoryLeases::default()), shards(2), Instant::now());
    let (mut first, mut second) = (LeasingServer::new(&table, "a"), LeasingServer::new(&table, "b"));
    first.keep_up(&open, now);
    second.keep_up(&open, now);
    first.keep_up(&open, now);
    assert!(run(first.leases.renew(first.renewals(Some("7")))).unwrap().is_empty());
    let to = LeaseSeek {
        checkpoints: BTreeMap::from([("shard-1".to_owned(), "time:5".to_owned())]),
        others_begin_anew: true,
    };
    run(first.leases.seek(to)).unwrap();
    // What was read before counts no more, and nobody else takes the shard.
    assert_eq!(run(first.leases.renew(first.renewals(Some("9")))).unwrap(), ["shard-0"]);
    for (server, shard) in [(&mut first, "shard-0"), (&mut second, "shard-1")] {
        assert_eq!(server.keep_up(&open, now), [Arc::<str>::from(shard)]);
        assert_eq!(server.held(), [shard]);
    }
    assert_eq!((table.checkpoint("shard-0"), table.checkpoint("shard-1").as_deref()), (None, Some("time:5")));
}

#[test]
fn the_first_of_several_servers_says_where_a_stream_begins() {
    let table = Arc::new(MemoryLeases::default());
    let (first, second) = (table.of("a", TIME), table.of("b", TIME));
    let marks = |at: &str| BTreeMap::from([("shard-0".to_owned(), at.to_owned())]);
    assert!(run(first.seed(marks("3"))).unwrap());
    assert!(!run(second.seed(marks("9"))).unwrap());
    assert_eq!(table.checkpoint("shard-0").as_deref(), Some("3"));
    *table.away.lock().unwrap() = Some(StreamError::Retry("away".to_owned()));
    assert!(run(first.list()).is_err());
}
