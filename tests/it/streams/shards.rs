//! A stream of Kinesis whose shards end: what the double of others does not do. A shard that was split or merged gives back its last records, then no
//! iterator more and the shards that came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::far::{Act, Far, Received};

/// A shard, its parents, and its records.
struct StubShard {
    parents: Vec<usize>,
    is_closed: bool,
    records: Vec<(String, String)>,
    /// Somebody was told that it has ended.
    is_ended: bool,
}

#[derive(Default)]
struct StubShards {
    shards: Vec<StubShard>,
    /// Which positions were asked for: shard, and kind of the iterator.
    iterators: Vec<(usize, String)>,
    /// Shards that were read before their parents had ended.
    too_early: BTreeSet<usize>,
}

/// A running double of one stream.
pub(super) struct ShardStub {
    far: Far,
    state: Arc<Mutex<StubShards>>,
}

impl ShardStub {
    pub(super) fn new() -> Self {
        let state: Arc<Mutex<StubShards>> = Arc::default();
        let shared = Arc::clone(&state);
        Self { far: Far::new(move |received| answer(&mut shared.lock().unwrap(), received)), state }
    }

    pub(super) fn endpoint(&self) -> String {
        self.far.origin()
    }

    /// A shard that came of these; they are closed by it. Answers its number.
    pub(super) fn add(&self, parents: &[usize]) -> usize {
        let mut state = self.state.lock().unwrap();
        for parent in parents {
            state.shards[*parent].is_closed = true;
        }
        let shard = StubShard { parents: parents.to_vec(), is_closed: false, records: Vec::new(), is_ended: false };
        state.shards.push(shard);
        state.shards.len() - 1
    }

    pub(super) fn put(&self, shard: usize, key: &str, data: &str) {
        self.state.lock().unwrap().shards[shard].records.push((key.to_owned(), data.to_owned()));
    }

    /// Shards that were read before their parents had ended.
    pub(super) fn too_early(&self) -> Vec<usize> {
        self.state.lock().unwrap().too_early.iter().copied().collect()
    }

    /// How often a shard was begun with each kind of iterator.
    pub(super) fn begun(&self, shard: usize) -> BTreeMap<String, usize> {
        let mut begun = BTreeMap::new();
        for (_, kind) in self.state.lock().unwrap().iterators.iter().filter(|(of, _)| *of == shard) {
            *begun.entry(kind.clone()).or_default() += 1;
        }
        begun
    }
}

fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

fn number_of(id: &str) -> Option<usize> {
    id.strip_prefix("shardId-")?.parse().ok()
}

/// As long as real ones, and growing within a shard.
fn sequence_number(shard: usize, index: usize) -> String {
    format!("4959{shard:04}{index:048}")
}

fn index_of(sequence_number: &str) -> Option<usize> {
    sequence_number.get(8..)?.parse().ok()
}

fn reply(body: &Value) -> Act {
    let kind = ("content-type", "application/x-amz-json-1.1".to_owned());
    Act::Reply(200, vec![kind], body.to_string().into_bytes())
}

fn refuse(kind: &str) -> Act {
    let body = json!({"__type": kind, "message": kind}).to_string();
    Act::Reply(400, vec![("content-type", "application/x-amz-json-1.1".to_owned())], body.into_bytes())
}

fn listed(state: &StubShards, shard: usize) -> Value {
    let this = &state.shards[shard];
    let mut range = json!({"StartingSequenceNumber": sequence_number(shard, 0)});
    if this.is_closed {
        range["EndingSequenceNumber"] = json!(sequence_number(shard, this.records.len()));
    }
    let hashes = json!({"StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455"});
    let mut listed = json!({"ShardId": shard_id(shard), "HashKeyRange": hashes, "SequenceNumberRange": range});
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(&this.parents) {
        listed[*name] = json!(shard_id(*parent));
    }
    listed
}

fn answer(state: &mut StubShards, received: &Received) -> Act {
    let body = received.json();
    let target = received.header("x-amz-target").unwrap_or_default();
    match target.rsplit('.').next().unwrap_or_default() {
        "ListShards" => {
            let shards: Vec<Value> = (0..state.shards.len()).map(|shard| listed(state, shard)).collect();
            reply(&json!({ "Shards": shards }))
        }
        "DescribeStreamSummary" => {
            let open = state.shards.iter().filter(|shard| !shard.is_closed).count();
            let summary = json!({"StreamName": "orders", "StreamARN": "arn:aws:kinesis:eu-west-1:1:stream/orders",
                "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.7e9,
                "EnhancedMonitoring": [], "OpenShardCount": open});
            reply(&json!({ "StreamDescriptionSummary": summary }))
        }
        "GetShardIterator" => begin(state, &body),
        "GetRecords" => records(state, &body),
        _ => refuse("UnknownOperationException"),
    }
}

fn begin(state: &mut StubShards, body: &Value) -> Act {
    let shard = body["ShardId"].as_str().and_then(number_of).filter(|shard| *shard < state.shards.len());
    let Some(shard) = shard else { return refuse("ResourceNotFoundException") };
    let kind = body["ShardIteratorType"].as_str().unwrap_or_default().to_owned();
    let at = body["StartingSequenceNumber"].as_str().and_then(index_of);
    let index = match (kind.as_str(), at) {
        ("TRIM_HORIZON" | "AT_TIMESTAMP", _) => 0,
        ("LATEST", _) => state.shards[shard].records.len(),
        ("AT_SEQUENCE_NUMBER", Some(at)) => at,
        ("AFTER_SEQUENCE_NUMBER", Some(at)) => at + 1,
        _ => return refuse("InvalidArgumentException"),
    };
    state.iterators.push((shard, kind));
    reply(&json!({"ShardIterator": format!("{shard}:{index}")}))
}

fn records(state: &mut StubShards, body: &Value) -> Act {
    let iterator = body["ShardIterator"].as_str().and_then(|text| text.split_once(':'));
    let numbers =
        iterator.and_then(|(shard, index)| Some((shard.parse::<usize>().ok()?, index.parse::<usize>().ok()?)));
    let Some((shard, index)) = numbers.filter(|(shard, _)| *shard < state.shards.len()) else {
        return refuse("ExpiredIteratorException");
    };
    if state.shards[shard].parents.iter().any(|parent| !state.shards[*parent].is_ended) {
        state.too_early.insert(shard);
    }
    let most = body["Limit"].as_u64().map_or(100, |limit| limit.min(100)) as usize;
    let there = &state.shards[shard].records;
    let end = there.len().min(index.saturating_add(most));
    let shown: Vec<Value> = (index.min(end)..end)
        .map(|at| {
            let (key, data) = &there[at];
            json!({"SequenceNumber": sequence_number(shard, at), "PartitionKey": key, "Data": STANDARD.encode(data),
                "ApproximateArrivalTimestamp": 1_796_000_000.5})
        })
        .collect();
    let has_ended = end == there.len() && state.shards[shard].is_closed;
    let mut body = json!({"Records": shown, "MillisBehindLatest": 0});
    if has_ended {
        state.shards[shard].is_ended = true;
        let children = (0..state.shards.len()).filter(|child| state.shards[*child].parents.contains(&shard));
        let children: Vec<Value> = children
            .map(|child| {
                let parents: Vec<String> = state.shards[child].parents.iter().map(|parent| shard_id(*parent)).collect();
                json!({"ShardId": shard_id(child), "ParentShards": parents,
                    "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"}})
            })
            .collect();
        body["ChildShards"] = json!(children);
    } else {
        body["NextShardIterator"] = json!(format!("{shard}:{end}"));
    }
    reply(&body)
}
