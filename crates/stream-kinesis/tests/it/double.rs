//! A double of Kinesis: shards that end, are split and merged, as the real ones do it and others do not.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidegate_aws::{AwsIdentity, AwsKeys};
use tidegate_net::WebSettings;
use tidegate_stream_kinesis::{KinesisConnection, KinesisOrigin, KinesisStart, KinesisTarget};
use tokio::net::TcpListener;

pub(crate) const STREAM: &str = "orders";
/// Hashes of keys are below it.
const HASHES: u64 = 256;
/// The time of the first record; each later one is a second later.
pub(crate) const BEGIN_S: u64 = 1_700_000_000;

/// A stream in this process.
pub(crate) struct KinesisDouble {
    endpoint: String,
    pub(crate) state: Arc<Mutex<DoubleState>>,
    pub(crate) start: KinesisStart,
}

#[derive(Default)]
pub(crate) struct DoubleState {
    shards: Vec<DoubleShard>,
    records: u64,
    /// Iterators of a generation before have ended.
    pub(crate) generation: u64,
    /// Codes that the next calls of an action are answered with.
    pub(crate) refusals: VecDeque<(&'static str, &'static str)>,
    /// Of calls of `PutRecords` from now on, every so many-th record is refused for now.
    pub(crate) put_refused_every: Option<u64>,
    puts: u64,
    pub(crate) calls: Vec<String>,
}

struct DoubleShard {
    id: String,
    parents: Vec<String>,
    hashes: std::ops::Range<u64>,
    is_closed: bool,
    /// It is in no list any more.
    is_gone: bool,
    records: Vec<DoubleRecord>,
}

struct DoubleRecord {
    sequence: u64,
    key: String,
    data: Vec<u8>,
}

fn hash(key: &str) -> u64 {
    key.bytes().fold(7, |hash: u64, byte| (hash * 31 + u64::from(byte)) % HASHES)
}

impl DoubleState {
    fn shard(&mut self, hashes: std::ops::Range<u64>, parents: Vec<String>) {
        let id = format!("shardId-{:012}", self.shards.len());
        self.shards.push(DoubleShard { id, parents, hashes, is_closed: false, is_gone: false, records: Vec::new() });
    }

    fn open(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|at| !self.shards[*at].is_closed).collect()
    }

    pub(crate) fn put(&mut self, key: &str, data: &[u8]) {
        self.records += 1;
        let (sequence, hash) = (self.records, hash(key));
        let shard = self.shards.iter_mut().find(|shard| !shard.is_closed && shard.hashes.contains(&hash)).unwrap();
        shard.records.push(DoubleRecord { sequence, key: key.to_owned(), data: data.to_vec() });
    }

    /// The widest open shard becomes two.
    pub(crate) fn split(&mut self) {
        let width = |at: &usize| self.shards[*at].hashes.end - self.shards[*at].hashes.start;
        let at = self.open().into_iter().max_by_key(width).unwrap();
        self.shards[at].is_closed = true;
        let (id, hashes) = (self.shards[at].id.clone(), self.shards[at].hashes.clone());
        let middle = u64::midpoint(hashes.start, hashes.end);
        self.shard(hashes.start..middle, vec![id.clone()]);
        self.shard(middle..hashes.end, vec![id]);
    }

    /// The first two neighbours become one.
    pub(crate) fn merge(&mut self) {
        let mut open = self.open();
        open.sort_by_key(|at| self.shards[*at].hashes.start);
        let (first, second) = (open[0], open[1]);
        let hashes = self.shards[first].hashes.start..self.shards[second].hashes.end;
        let parents = vec![self.shards[first].id.clone(), self.shards[second].id.clone()];
        for at in [first, second] {
            self.shards[at].is_closed = true;
        }
        self.shard(hashes, parents);
    }

    /// Closed shards are in no list any more, as after their retention.
    pub(crate) fn forget_closed(&mut self) {
        for shard in &mut self.shards {
            shard.is_gone |= shard.is_closed;
        }
    }

    /// Of each shard the records up to this one are deleted, as after their retention. Iterators have ended.
    pub(crate) fn trim(&mut self, upto: u64) {
        for shard in &mut self.shards {
            shard.records.retain(|record| record.sequence > upto);
        }
        self.generation += 1;
    }

    /// What is in the shards, in the order of those.
    pub(crate) fn payloads(&self) -> Vec<String> {
        let text = |record: &DoubleRecord| String::from_utf8(record.data.clone()).unwrap();
        self.shards.iter().flat_map(|shard| shard.records.iter().map(text)).collect()
    }

    fn answer(&mut self, action: &str, body: &Value) -> Result<Value, &'static str> {
        self.calls.push(action.to_owned());
        if let Some(at) = self.refusals.iter().position(|(refused, _)| *refused == action) {
            return Err(self.refusals.remove(at).unwrap().1);
        }
        if body.get("StreamName").is_some_and(|name| name != STREAM) {
            return Err("ResourceNotFoundException");
        }
        match action {
            "ListShards" => Ok(self.list(body)),
            "GetShardIterator" => self.iterator(body),
            "GetRecords" => self.get(body),
            "PutRecords" => Ok(self.put_records(body)),
            "DescribeStreamSummary" => {
                let open = self.open().len();
                Ok(json!({ "StreamDescriptionSummary": { "StreamStatus": "ACTIVE", "OpenShardCount": open } }))
            }
            _ => Err("UnknownOperationException"),
        }
    }

    /// Two shards in an answer, so that there are several.
    fn list(&self, body: &Value) -> Value {
        let from: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let listed: Vec<&DoubleShard> = self.shards.iter().filter(|shard| !shard.is_gone).collect();
        let page: Vec<Value> = listed
            .iter()
            .skip(from)
            .take(2)
            .map(|shard| {
                let end = shard.is_closed.then(|| "999".to_owned());
                json!({
                    "ShardId": shard.id,
                    "ParentShardId": shard.parents.first(),
                    "AdjacentParentShardId": shard.parents.get(1),
                    "SequenceNumberRange": { "StartingSequenceNumber": "0", "EndingSequenceNumber": end },
                })
            })
            .collect();
        let next = (from + 2 < listed.len()).then(|| (from + 2).to_string());
        json!({ "Shards": page, "NextToken": next })
    }

    fn iterator(&self, body: &Value) -> Result<Value, &'static str> {
        let found = self.shards.iter().position(|shard| body["ShardId"] == shard.id.as_str() && !shard.is_gone);
        let at = found.ok_or("ResourceNotFoundException")?;
        let records = &self.shards[at].records;
        let sequence = || body["StartingSequenceNumber"].as_str().unwrap().parse::<u64>().unwrap();
        if body.get("StartingSequenceNumber").is_some() && sequence() > self.records {
            return Err("InvalidArgumentException");
        }
        let position = match body["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => 0,
            "LATEST" => records.len(),
            "AT_TIMESTAMP" => {
                let at = body["Timestamp"].to_string().parse::<f64>().unwrap();
                records.iter().filter(|record| ((BEGIN_S + record.sequence) as f64) < at).count()
            }
            "AT_SEQUENCE_NUMBER" => records.iter().filter(|record| record.sequence < sequence()).count(),
            "AFTER_SEQUENCE_NUMBER" => records.iter().filter(|record| record.sequence <= sequence()).count(),
            other => panic!("{other}"),
        };
        Ok(json!({ "ShardIterator": format!("{at}:{position}:{}", self.generation) }))
    }

    fn get(&self, body: &Value) -> Result<Value, &'static str> {
        let parts: Vec<u64> =
            body["ShardIterator"].as_str().unwrap().split(':').map(|part| part.parse().unwrap()).collect();
        if parts[2] < self.generation {
            return Err("ExpiredIteratorException");
        }
        let (at, from) = (parts[0] as usize, parts[1] as usize);
        let shard = &self.shards[at];
        let limit = body["Limit"].as_u64().unwrap().min(100) as usize;
        let end = shard.records.len().min(from + limit);
        let record = |record: &DoubleRecord| {
            json!({
                "SequenceNumber": record.sequence.to_string(),
                "PartitionKey": record.key,
                "Data": STANDARD.encode(&record.data),
                "ApproximateArrivalTimestamp": (BEGIN_S + record.sequence) as f64,
            })
        };
        let records: Vec<Value> = shard.records[from..end].iter().map(record).collect();
        let behind = if end < shard.records.len() { 1_000 } else { 0 };
        let mut answer = json!({ "Records": records, "MillisBehindLatest": behind });
        if shard.is_closed && end == shard.records.len() {
            let is_child = |child: &&DoubleShard| child.parents.contains(&shard.id);
            let children: Vec<Value> = self
                .shards
                .iter()
                .filter(is_child)
                .map(|child| json!({ "ShardId": child.id, "ParentShards": child.parents }))
                .collect();
            answer["ChildShards"] = children.into();
        } else {
            answer["NextShardIterator"] = format!("{at}:{end}:{}", self.generation).into();
        }
        Ok(answer)
    }

    fn put_records(&mut self, body: &Value) -> Value {
        let mut outcomes = Vec::new();
        let records = body["Records"].as_array().unwrap();
        assert!((1..=500).contains(&records.len()), "{} records", records.len());
        for record in records {
            self.puts += 1;
            if self.put_refused_every.is_some_and(|every| self.puts.is_multiple_of(every)) {
                let code = "ProvisionedThroughputExceededException";
                outcomes.push(json!({ "ErrorCode": code, "ErrorMessage": "slow down" }));
                continue;
            }
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            self.put(record["PartitionKey"].as_str().unwrap(), &data);
            outcomes.push(json!({ "SequenceNumber": self.records.to_string(), "ShardId": "shardId-000000000000" }));
        }
        json!({ "FailedRecordCount": 0, "Records": outcomes })
    }
}

impl KinesisDouble {
    /// A stream with so many shards.
    pub(crate) async fn start(shards: u64) -> Self {
        let mut state = DoubleState::default();
        let width = HASHES / shards;
        for number in 0..shards {
            let end = if number + 1 == shards { HASHES } else { (number + 1) * width };
            state.shard(number * width..end, Vec::new());
        }
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { endpoint, state, start: KinesisStart::Earliest }
    }

    fn connection(&self) -> KinesisConnection {
        KinesisConnection {
            region: "eu-west-1".to_owned(),
            endpoint: Some(self.endpoint.parse().unwrap()),
            identity: AwsIdentity::of_keys(AwsKeys::new("AKID".to_owned(), "s3cr3t".to_owned(), None)),
            web: WebSettings::default(),
        }
    }

    pub(crate) fn origin(&self) -> KinesisOrigin {
        KinesisOrigin { connection: self.connection(), stream: STREAM.to_owned(), start: self.start }
    }

    pub(crate) fn target(&self) -> KinesisTarget {
        KinesisTarget { connection: self.connection(), streams: vec![STREAM.to_owned()] }
    }
}

async fn answer(
    state: Arc<Mutex<DoubleState>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let action = header("x-amz-target").strip_prefix("Kinesis_20131202.").unwrap().to_owned();
    assert!(
        header("authorization")
            .contains("/eu-west-1/kinesis/aws4_request, SignedHeaders=content-type;host;x-amz-date;")
    );
    assert_eq!(header("content-type"), "application/x-amz-json-1.1");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answered = state.lock().answer(&action, &body);
    let (status, body) = match answered {
        Ok(body) => (200_u16, body),
        Err("InternalFailure") => (500, json!({ "__type": "InternalFailure", "message": "broken" })),
        Err(code) => (400, json!({ "__type": format!("com.amazonaws.kinesis.v20131202#{code}"), "message": "no" })),
    };
    let response = Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
    Ok(response.unwrap())
}
