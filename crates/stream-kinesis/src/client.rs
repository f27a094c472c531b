//! Calls of Kinesis: JSON in, JSON out, signed.

use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::{Client, ClientBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate_aws::{AwsKeyChain, AwsKeys, RequestToSign, SigningPlace, sha256_hex, sign};
use tidegate_net::trust::RefusedCertificate;
use tidegate_process::clock;
use url::Url;

use crate::answers::{IteratorAnswer, PutAnswer, RecordsAnswer, ShardsAnswer, SummaryAnswer};
use crate::error::KinesisCallError;
use crate::place::ShardPlace;
use crate::shards::ListedShard;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const CALL_TIME_MAX: Duration = Duration::from_secs(20);
/// An answer has up to 10 MiB of records, and a third more as text.
const ANSWER_BYTES_MAX: usize = 20 << 20;
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const SERVICE: &str = "kinesis";
/// Of shards in one answer, and of answers.
const SHARDS_PAGE: usize = 1_000;
const PAGES_MAX: usize = 100;
/// Records in one answer.
pub(crate) const RECORDS_MAX: usize = 5_000;
/// Of what an error says.
const SHOWN_CHARS_MAX: usize = 300;

/// Makes calls.
pub(crate) struct KinesisClient {
    http: Client,
    chain: AwsKeyChain,
    url: Url,
    /// As the header says it.
    host: String,
    region: String,
    pub(crate) place: String,
}

/// Shards of a stream, and when that was, in microseconds since the Unix epoch by the far side's clock.
pub(crate) struct ListedShards {
    pub(crate) shards: Vec<ListedShard>,
    pub(crate) at_us: i64,
}

struct CallAnswer<A> {
    answer: A,
    at_us: i64,
}

impl KinesisClient {
    /// Makes a client for an endpoint and a region; the error says what is wrong.
    pub(crate) fn new(
        builder: ClientBuilder,
        chain: AwsKeyChain,
        (url, region): (&Url, &str),
        place: String,
    ) -> Result<Self, String> {
        let http = builder.connect_timeout(CONNECT_TIME_MAX).timeout(CALL_TIME_MAX).build();
        let http = http.map_err(|error| error.to_string())?;
        let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { http, chain, url: url.clone(), host, region: region.to_owned(), place })
    }

    /// By what a stream is told from others: marks are of one.
    pub(crate) fn stream_id(&self, stream: &str) -> String {
        format!("{}/{stream}", self.region)
    }

    /// All shards that the stream keeps records of.
    pub(crate) async fn list_shards(&self, stream: &str) -> Result<ListedShards, KinesisCallError> {
        let mut body = json!({ "StreamName": stream, "MaxResults": SHARDS_PAGE });
        let mut shards = Vec::new();
        for _ in 0..PAGES_MAX {
            let CallAnswer { answer, at_us } = self.call::<ShardsAnswer>("ListShards", &body).await?;
            shards.extend(answer.shards.into_iter().map(ListedShard::from));
            match answer.next_token.filter(|token| !token.is_empty()) {
                None => return Ok(ListedShards { shards, at_us }),
                Some(token) => body = json!({ "NextToken": token, "MaxResults": SHARDS_PAGE }),
            }
        }
        Err(KinesisCallError::Away(format!("the stream {stream} has more than {} shards", PAGES_MAX * SHARDS_PAGE)))
    }

    /// What leads to the records of a shard from a place on. It lives for five minutes.
    pub(crate) async fn iterator(
        &self,
        stream: &str,
        shard: &str,
        place: &ShardPlace,
    ) -> Result<String, KinesisCallError> {
        let mut body = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": place.iterator_type() });
        match place {
            ShardPlace::Horizon | ShardPlace::Latest { .. } => {}
            ShardPlace::Time(at_us) => body["Timestamp"] = json!(*at_us as f64 / 1e6),
            ShardPlace::At { sequence, .. } | ShardPlace::After { sequence } => {
                body["StartingSequenceNumber"] = json!(sequence);
            }
        }
        Ok(self.call::<IteratorAnswer>("GetShardIterator", &body).await?.answer.shard_iterator)
    }

    /// Records from an iterator on.
    pub(crate) async fn records(&self, iterator: &str, limit: usize) -> Result<RecordsAnswer, KinesisCallError> {
        let body = json!({ "ShardIterator": iterator, "Limit": limit });
        Ok(self.call("GetRecords", &body).await?.answer)
    }

    /// Writes records; the answer has one outcome for each, in their order.
    pub(crate) async fn put_records(&self, stream: &str, records: Vec<Value>) -> Result<PutAnswer, KinesisCallError> {
        let count = records.len();
        let answer: PutAnswer =
            self.call("PutRecords", &json!({ "StreamName": stream, "Records": records })).await?.answer;
        if answer.records.len() != count {
            let found = answer.records.len();
            return Err(KinesisCallError::Away(format!("PutRecords answers {found} outcomes for {count} records")));
        }
        Ok(answer)
    }

    pub(crate) async fn summary(&self, stream: &str) -> Result<SummaryAnswer, KinesisCallError> {
        Ok(self.call("DescribeStreamSummary", &json!({ "StreamName": stream })).await?.answer)
    }

    /// One call. Keys that are taken no more are fetched anew once.
    async fn call<A: DeserializeOwned>(
        &self,
        action: &'static str,
        body: &Value,
    ) -> Result<CallAnswer<A>, KinesisCallError> {
        let body = body.to_string();
        let keys = self.chain.keys().await?;
        let first = self.send(action, &body, &keys).await;
        if !first.as_ref().is_err_and(KinesisCallError::is_of_keys) {
            return first;
        }
        self.chain.forget(&keys).await;
        let fresh = self.chain.keys().await?;
        if fresh.access_key_id == keys.access_key_id {
            return first;
        }
        self.send(action, &body, &fresh).await
    }

    async fn send<A: DeserializeOwned>(
        &self,
        action: &'static str,
        body: &str,
        keys: &Arc<AwsKeys>,
    ) -> Result<CallAnswer<A>, KinesisCallError> {
        let target = format!("Kinesis_20131202.{action}");
        let headers = [("content-type", CONTENT_TYPE), ("host", self.host.as_str()), ("x-amz-target", target.as_str())];
        let payload_hash = sha256_hex(body.as_bytes());
        let to_sign = RequestToSign {
            method: "POST",
            path: self.url.path(),
            query: &[],
            headers: &headers,
            payload_hash: &payload_hash,
        };
        let signed = sign(&to_sign, keys, SigningPlace { region: &self.region, service: SERVICE }, clock::now_us());
        let mut request = self.http.post(self.url.clone()).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let away = |error: reqwest::Error| match RefusedCertificate::in_causes(&error) {
            Some(refused) => KinesisCallError::Certificate(refused.advice("`ca_file`")),
            None => KinesisCallError::Away(format!("{action}: {}", with_causes(error.without_url()))),
        };
        let response = request.send().await.map_err(away)?;
        let (status, at_us) = (response.status().as_u16(), date_us(&response));
        let bytes = whole(response, action).await?;
        if status == 200 {
            // What an error of the parser quotes may be a record.
            let unreadable = |error: serde_json::Error| {
                let (what, column) = (error.classify(), error.column());
                KinesisCallError::Away(format!("{action} has an answer that cannot be read: {what:?}, column {column}"))
            };
            let answer = serde_json::from_slice(&bytes).map_err(unreadable)?;
            return Ok(CallAnswer { answer, at_us });
        }
        Err(refused(action, status, &bytes))
    }
}

async fn whole(mut response: Response, action: &'static str) -> Result<Vec<u8>, KinesisCallError> {
    let mut bytes = Vec::new();
    let away = |error: reqwest::Error| {
        KinesisCallError::Away(format!("{action}: the answer broke off: {}", with_causes(error.without_url())))
    };
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(KinesisCallError::Away(format!("{action} answers with more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// When the far side has answered, by its clock; by ours where it does not say.
fn date_us(response: &Response) -> i64 {
    let date = response.headers().get("date").and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| rfc2822::parse(text).ok());
    date.map_or_else(clock::now_us, |date| date.timestamp().as_microsecond())
}

fn refused(action: &'static str, status: u16, bytes: &[u8]) -> KinesisCallError {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let code = text("__type").or_else(|| text("code")).map(|code| code.rsplit('#').next().unwrap_or(code));
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect::<String>();
    match code {
        Some(code) if status < 500 => KinesisCallError::Refused { action, code: short(code), message: short(message) },
        Some(code) => KinesisCallError::Away(format!("{action}: {status} {}: {}", short(code), short(message))),
        None => KinesisCallError::Away(format!("{action}: {status} {}", short(&String::from_utf8_lossy(bytes)))),
    }
}

fn with_causes(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
