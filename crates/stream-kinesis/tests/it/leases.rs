//! Servers that share a stream: each shard is read by one of them, and a checkpoint counts under its lease alone.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_stream::{
    LeaseClaim, LeaseRenewal, SeekTarget, ShardLease, ShardLeases, StreamCheckpoints, StreamError, StreamMessage,
    StreamOrigin, StreamReader,
};

use crate::double::KinesisDouble;
use crate::marks::{MemoryMarks, read, rest, run, text};
use crate::memory_leases::MemoryLeases;

const SHARD: &str = "shardId-000000000000";
/// A lease time after which a server is taken for silent soon, and one after which it never is.
const SHORT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(60);

/// The state of one server, and the leases of all.
struct SharedMarks {
    state: Arc<MemoryMarks>,
    table: Arc<MemoryLeases>,
    name: &'static str,
    lease_time: Duration,
}

impl StreamCheckpoints for SharedMarks {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        self.state.load()
    }

    fn save(&self, changed: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        self.state.save(changed)
    }

    fn leases(&self, topic: &str) -> Option<Arc<dyn ShardLeases>> {
        assert!(topic.starts_with(crate::double::STREAM), "{topic}");
        Some(Arc::new(self.table.of(self.name, self.lease_time)))
    }
}

/// The leases of all streams that a store keeps, by their keys, as one server has them.
struct KeyedLeases {
    tables: Arc<Mutex<BTreeMap<String, Arc<MemoryLeases>>>>,
    name: &'static str,
}

impl StreamCheckpoints for KeyedLeases {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(BTreeMap::new())
    }

    fn save(&self, _: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        Ok(())
    }

    fn leases(&self, topic: &str) -> Option<Arc<dyn ShardLeases>> {
        let table = Arc::clone(self.tables.lock().entry(topic.to_owned()).or_default());
        Some(Arc::new(table.of(self.name, LONG)))
    }
}

/// A reader of a server with a state of its own.
async fn opened(
    double: &KinesisDouble,
    table: &Arc<MemoryLeases>,
    name: &'static str,
    lease_time: Duration,
) -> Box<dyn StreamReader> {
    let shared = SharedMarks { state: Arc::default(), table: Arc::clone(table), name, lease_time };
    double.origin().open("orders", Arc::new(shared)).await.unwrap()
}

fn put(double: &KinesisDouble, range: std::ops::Range<u32>) {
    let mut state = double.state.lock();
    for number in range {
        state.put(&format!("user-{}", number % 23), number.to_string().as_bytes());
    }
}

fn numbers(messages: &[StreamMessage]) -> Vec<u32> {
    let mut numbers: Vec<u32> = messages.iter().map(|message| text(message).parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// What both read, until it is enough.
async fn read_both(
    readers: (&mut Box<dyn StreamReader>, &mut Box<dyn StreamReader>),
    is_enough: impl Fn(&[StreamMessage], &[StreamMessage]) -> bool,
) -> (Vec<StreamMessage>, Vec<StreamMessage>) {
    let (first, second) = readers;
    let (mut of_first, mut of_second, since) = (Vec::new(), Vec::new(), Instant::now());
    while !is_enough(&of_first, &of_second) {
        assert!(since.elapsed() < DEADLINE, "{:?}, {:?}", numbers(&of_first), numbers(&of_second));
        let (one, other) = tokio::join!(first.read(), second.read());
        let (one, other) = (one.unwrap(), other.unwrap());
        of_first.extend(one.messages);
        of_second.extend(other.messages);
        first.acknowledge(one.receipt).await.unwrap();
        second.acknowledge(other.receipt).await.unwrap();
    }
    (of_first, of_second)
}

fn held_by(table: &MemoryLeases, name: &str) -> usize {
    let rows = table.rows.lock().unwrap();
    rows.values().filter(|row| row.holder.as_ref().is_some_and(|holder| holder.name == name)).count()
}

/// Takes the lease of a shard for somebody who does not read.
async fn taken(leases: &dyn ShardLeases, shard: &str) -> ShardLease {
    let epoch = leases.list().await.unwrap().into_iter().find(|lease| lease.shard == shard).map(|lease| lease.epoch);
    let claim = LeaseClaim { shard: shard.to_owned(), epoch, beat: None };
    leases.take(vec![claim]).await.unwrap().remove(0)
}

#[test]
fn two_servers_divide_the_shards_and_each_reads_its_own() {
    run(async {
        let (double, table) = (KinesisDouble::start(4).await, Arc::default());
        put(&double, 0..200);
        let mut first = opened(&double, &table, "a", SHORT).await;
        assert_eq!(numbers(&read(&mut first, 200).await), (0..200).collect::<Vec<_>>());
        assert_eq!(held_by(&table, "a"), 4);
        let mut second = opened(&double, &table, "b", SHORT).await;
        let is_shared = |table: &MemoryLeases| held_by(table, "a") == 2 && held_by(table, "b") == 2;
        read_both((&mut first, &mut second), |_, _| is_shared(&table)).await;
        // What was taken away is heard of with the next renewal: there are several in so many reads without a message.
        let reads = Cell::new(0);
        read_both((&mut first, &mut second), |_, _| reads.replace(reads.get() + 1) > 6).await;
        put(&double, 200..1_000);
        let (of_first, of_second) =
            read_both((&mut first, &mut second), |one, other| one.len() + other.len() >= 800).await;
        assert!(!of_first.is_empty() && !of_second.is_empty(), "{} {}", of_first.len(), of_second.len());
        assert_eq!(numbers(&[of_first, of_second].concat()), (200..1_000).collect::<Vec<_>>());
        let holders: Vec<String> =
            first.progress().iter().map(|shard| shard.holder.as_deref().unwrap_or("nobody").to_owned()).collect();
        assert_eq!(holders.iter().filter(|name| *name == "a").count(), 2, "{holders:?}");
        assert_eq!(holders.iter().filter(|name| *name == "b").count(), 2, "{holders:?}");
    });
}

#[test]
fn a_server_that_is_closed_hands_over_at_once_and_what_it_acknowledged_is_not_read_again() {
    run(async {
        let (double, table) = (KinesisDouble::start(2).await, Arc::default());
        put(&double, 0..100);
        let mut first = opened(&double, &table, "a", LONG).await;
        let before = read(&mut first, 100).await;
        first.close().await.unwrap();
        assert_eq!(held_by(&table, "a"), 0);
        put(&double, 100..200);
        let mut second = opened(&double, &table, "b", LONG).await;
        let after = read(&mut second, 100).await;
        assert_eq!(numbers(&[before, after].concat()), (0..200).collect::<Vec<_>>());
    });
}

#[test]
fn a_silent_server_is_replaced_and_what_it_did_not_acknowledge_comes_again() {
    run(async {
        let (double, table) = (KinesisDouble::start(2).await, Arc::default());
        put(&double, 0..100);
        let mut first = opened(&double, &table, "a", SHORT).await;
        while first.read().await.unwrap().messages.is_empty() {}
        drop(first);
        let mut second = opened(&double, &table, "b", SHORT).await;
        assert_eq!(numbers(&read(&mut second, 100).await), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn what_was_read_under_a_lost_lease_is_acknowledged_by_nobody() {
    run(async {
        let (double, table) = (KinesisDouble::start(1).await, Arc::<MemoryLeases>::default());
        put(&double, 0..10);
        let mut reader = opened(&double, &table, "a", LONG).await;
        let mut batch = reader.read().await.unwrap();
        while batch.messages.is_empty() {
            batch = reader.read().await.unwrap();
        }
        let other = table.of("b", LONG);
        let lease = taken(&other, SHARD).await;
        reader.acknowledge(batch.receipt).await.unwrap();
        let since = Instant::now();
        while reader.progress().first().is_none_or(|shard| shard.holder.as_deref() != Some("b")) {
            assert!(since.elapsed() < DEADLINE, "it never hears of it");
            let batch = reader.read().await.unwrap();
            reader.acknowledge(batch.receipt).await.unwrap();
        }
        put(&double, 10..20);
        assert!(rest(&mut reader).await.is_empty(), "it reads no more of it");
        assert_eq!(table.checkpoint(SHARD).as_deref(), Some("TRIM_HORIZON"));
        assert_eq!(table.holder(SHARD).as_deref(), Some("b"));
        let renewal = LeaseRenewal { shard: SHARD.to_owned(), epoch: lease.epoch, checkpoint: None };
        assert!(other.renew(vec![renewal]).await.unwrap().is_empty());
    });
}

#[test]
fn a_child_waits_for_a_parent_that_another_server_reads() {
    run(async {
        let (double, table) = (KinesisDouble::start(1).await, Arc::<MemoryLeases>::default());
        put(&double, 0..50);
        double.state.lock().split();
        put(&double, 50..100);
        let other = table.of("b", 2 * SHORT);
        let lease = taken(&other, SHARD).await;
        let mut reader = opened(&double, &table, "a", 2 * SHORT).await;
        assert!(reader.read().await.unwrap().messages.is_empty());
        let end =
            LeaseRenewal { shard: SHARD.to_owned(), epoch: lease.epoch, checkpoint: Some("SHARD_END".to_owned()) };
        assert!(other.release(vec![end]).await.unwrap().is_empty());
        assert_eq!(numbers(&read(&mut reader, 50).await), (50..100).collect::<Vec<_>>());
        assert_eq!(held_by(&table, "a"), 2);
    });
}

#[test]
fn a_seek_moves_what_other_servers_read_too() {
    run(async {
        let (double, table) = (KinesisDouble::start(2).await, Arc::default());
        put(&double, 0..100);
        let mut first = opened(&double, &table, "a", SHORT).await;
        let mut second = opened(&double, &table, "b", SHORT).await;
        let is_shared = |table: &MemoryLeases| held_by(table, "a") == 1 && held_by(table, "b") == 1;
        read_both((&mut first, &mut second), |one, other| is_shared(&table) && one.len() + other.len() >= 100).await;
        first.seek(SeekTarget::Earliest).await.unwrap();
        let all: Vec<u32> = (0..100).collect();
        let (of_first, of_second) = read_both((&mut first, &mut second), |one, other| {
            let mut read = numbers(&[one, other].concat());
            read.dedup();
            read == all
        })
        .await;
        assert!(!of_first.is_empty() && !of_second.is_empty());
        assert!(is_shared(&table));
    });
}

#[test]
fn streams_of_one_name_at_two_places_share_no_leases() {
    run(async {
        let (here, there) = (KinesisDouble::start(1).await, KinesisDouble::start(1).await);
        put(&here, 0..10);
        put(&there, 100..110);
        let tables = Arc::default();
        for (double, name, expected) in [(&here, "a", 0..10), (&there, "b", 100..110)] {
            let leases = KeyedLeases { tables: Arc::clone(&tables), name };
            let mut reader = double.origin().open("orders", Arc::new(leases)).await.unwrap();
            assert_eq!(numbers(&read(&mut reader, 10).await), expected.collect::<Vec<_>>());
        }
    });
}

#[test]
fn leases_under_the_name_of_the_stream_alone_are_gone_on_with_where_they_are_asked_for_first() {
    run(async {
        let (here, there) = (KinesisDouble::start(1).await, KinesisDouble::start(1).await);
        put(&here, 0..10);
        put(&there, 100..110);
        let older = Arc::<MemoryLeases>::default();
        let lease =
            ShardLease { shard: SHARD.to_owned(), holder: None, epoch: 3, beat: 0, checkpoint: Some("5".to_owned()) };
        older.rows.lock().unwrap().insert(SHARD.to_owned(), lease);
        let kept = BTreeMap::from([(crate::double::STREAM.to_owned(), Arc::clone(&older))]);
        let tables = Arc::new(Mutex::new(kept));
        for (double, expected) in [(&here, 5..10), (&there, 100..110)] {
            let leases = KeyedLeases { tables: Arc::clone(&tables), name: "a" };
            let mut reader = double.origin().open("orders", Arc::new(leases)).await.unwrap();
            assert_eq!(numbers(&read(&mut reader, expected.len()).await), expected.collect::<Vec<_>>());
            reader.close().await.unwrap();
        }
        assert_eq!(older.checkpoint(SHARD).as_deref(), Some("10"), "servers of earlier builds see how far it is");
    });
}

#[test]
fn a_server_that_read_alone_goes_on_where_it_was() {
    run(async {
        let (double, table) = (KinesisDouble::start(2).await, Arc::<MemoryLeases>::default());
        put(&double, 0..100);
        let state = Arc::new(MemoryMarks::default());
        let mut alone = crate::marks::opened(&double, &state).await;
        assert_eq!(read(&mut alone, 100).await.len(), 100);
        drop(alone);
        put(&double, 100..150);
        let shared = SharedMarks { state, table: Arc::clone(&table), name: "a", lease_time: LONG };
        let mut reader = double.origin().open("orders", Arc::new(shared)).await.unwrap();
        assert_eq!(numbers(&read(&mut reader, 50).await), (100..150).collect::<Vec<_>>());
        // Another one that was alone as well goes on with what the first one has said.
        reader.close().await.unwrap();
        put(&double, 150..160);
        let mut other = opened(&double, &table, "b", LONG).await;
        assert_eq!(numbers(&read(&mut other, 10).await), (150..160).collect::<Vec<_>>());
    });
}

#[test]
fn leases_of_a_stream_that_was_made_anew_stop_its_servers_until_one_sends_them_elsewhere() {
    run(async {
        let (double, table) = (KinesisDouble::start(1).await, Arc::<MemoryLeases>::default());
        put(&double, 0..10);
        let checkpoint = Some("SHARD_END".to_owned());
        let ended = ShardLease { shard: SHARD.to_owned(), holder: None, epoch: 3, beat: 0, checkpoint };
        table.rows.lock().unwrap().insert(SHARD.to_owned(), ended);
        let mut reader = opened(&double, &table, "a", LONG).await;
        let stopped = reader.read().await;
        assert!(
            matches!(&stopped, Err(StreamError::Stop { reason, .. }) if reason.contains("made anew")),
            "{stopped:?}"
        );
        reader.seek(SeekTarget::Earliest).await.unwrap();
        assert_eq!(numbers(&read(&mut reader, 10).await), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn leases_that_do_not_answer_are_waited_for_as_long_as_nobody_may_take_them() {
    run(async {
        let (double, table) = (KinesisDouble::start(1).await, Arc::<MemoryLeases>::default());
        put(&double, 0..10);
        let mut reader = opened(&double, &table, "a", SHORT).await;
        read(&mut reader, 10).await;
        *table.away.lock().unwrap() = Some(StreamError::Retry("the database is away".to_owned()));
        put(&double, 10..20);
        assert_eq!(read(&mut reader, 10).await.len(), 10, "it is read on");
        let (since, mut told) = (Instant::now(), false);
        let error = loop {
            assert!(since.elapsed() < DEADLINE, "it never ends");
            match reader.read().await {
                Ok(_) => told |= reader.notices().iter().any(|notice| notice.contains("is away")),
                Err(error) => break error,
            }
        };
        assert!(told && error.to_string().contains("is away"), "{error}");
    });
}

#[test]
fn leases_that_never_answer_about_a_shard_that_is_gone_hold_up_no_reading() {
    run(async {
        let (double, table) = (KinesisDouble::start(1).await, Arc::<MemoryLeases>::default());
        let shard = "shardId-000000000009".to_owned();
        let gone = ShardLease { shard: shard.clone(), holder: None, epoch: 1, beat: 0, checkpoint: None };
        table.rows.lock().unwrap().insert(shard, gone);
        *table.unanswered.lock().unwrap() = Some(0);
        put(&double, 0..10);
        let mut reader = opened(&double, &table, "a", LONG).await;
        read(&mut reader, 10).await;
        // The shards are listed once more where one seems to be missing.
        double.state.lock().refusals.push_back(("GetRecords", "ResourceNotFoundException"));
        let asked = async {
            while *table.unanswered.lock().unwrap() == Some(0) {
                let batch = reader.read().await.unwrap();
                reader.acknowledge(batch.receipt).await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.unwrap();
        put(&double, 10..20);
        let more = tokio::time::timeout(DEADLINE, read(&mut reader, 10)).await.unwrap();
        assert_eq!(numbers(&more), (10..20).collect::<Vec<_>>());
        assert_eq!(table.holder(SHARD).as_deref(), Some("a"));
    });
}
