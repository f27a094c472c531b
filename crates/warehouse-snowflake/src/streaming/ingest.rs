//! The REST endpoints of Snowpipe Streaming: which host, which token, channels, appending, status.

use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidegate_process::clock;

use crate::account::Account;
use crate::error::SnowflakeError;
use crate::http::{self, Http};
use crate::place::SnowflakePlace;
use crate::session::with_query;
use crate::settings::Auth;

/// Times that a request is sent that the far side has too much to do for.
const SENDINGS: u32 = 5;
const REASON_CHARS_MAX: usize = 500;

/// The host that takes rows, and the right to send them.
pub(super) struct Ingest {
    http: Http,
    /// Scheme, host and port.
    base: String,
    token: String,
    /// How the token is called in requests; a scoped one needs no name.
    kind: Option<&'static str>,
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    table: String,
    continuation: String,
    /// The last token that is durable.
    pub(super) committed: Option<u64>,
    /// Rows left out so far.
    pub(super) errors: u64,
}

/// A request about the rows of one table.
struct IngestRequest<'a> {
    method: Method,
    url: String,
    table: &'a str,
    body: IngestBody,
    /// What it is for, in errors.
    what: &'static str,
}

enum IngestBody {
    Json(String),
    /// Rows, one JSON object in each line, packed by gzip.
    Rows(Vec<u8>),
}

/// What a channel says of itself.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) committed: Option<u64>,
    pub(super) errors: u64,
    pub(super) message: Option<String>,
}

impl Ingest {
    /// Finds the host and gets a token for it.
    pub(super) async fn connect(account: &Account) -> Result<Self, SnowflakeError> {
        let http = account.http.clone();
        let (token, kind) = match (&account.checked.settings.auth, &account.signer) {
            (Auth::KeyFile(_) | Auth::Key(_), Some(signer)) => (signer.token(clock::now_us())?, "KEYPAIR_JWT"),
            (Auth::OAuth(token), _) => (token.expose().to_owned(), "OAUTH"),
            (Auth::Token(token), _) => (token.expose().to_owned(), "PROGRAMMATIC_ACCESS_TOKEN"),
            _ => return Err(SnowflakeError::Key { problem: "streaming takes a key pair or a token".to_owned() }),
        };
        let what = "asking for the host that takes rows";
        let request = http.client.get(format!("{}/v2/streaming/hostname", http.base));
        let body = answered(authorized(request, &token, Some(kind)), what).await?;
        // Once plain text, now JSON.
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        let host = match serde_json::from_str::<Value>(&text) {
            Ok(Value::String(host)) => host,
            Ok(answer) => answer["hostname"].as_str().unwrap_or_default().to_owned(),
            Err(_) => text,
        };
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return Err(SnowflakeError::Answer { doing: what, problem: "it names no host".to_owned() });
        }
        // Certificates know no underscores.
        let host = host.replace('_', "-");
        let scheme = if http.is_plain() { "http" } else { "https" };
        let base = format!("{scheme}://{host}");
        if kind != "KEYPAIR_JWT" {
            return Ok(Self { http, base, token, kind: Some(kind) });
        }
        let what = "asking for a token for rows";
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("scope", &*host)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http.client.post(format!("{}/oauth/token", http.base)).body(form);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let body = answered(authorized(request, &token, Some(kind)), what).await?;
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        let scoped = match serde_json::from_str::<Value>(&text) {
            Ok(answer) => ["token", "access_token"].iter().find_map(|name| answer[name].as_str()).map(str::to_owned),
            Err(_) => Some(text).filter(|text| !text.is_empty()),
        };
        let token =
            scoped.ok_or_else(|| SnowflakeError::Answer { doing: what, problem: "it has no token".to_owned() })?;
        Ok(Self { http, base, token, kind: None })
    }

    /// Opens a channel; what an earlier opening had sent and not committed is void from now on.
    pub(super) async fn open(&mut self, place: &SnowflakePlace, table: &str) -> Result<Channel, SnowflakeError> {
        let what = "opening a channel";
        let url = format!("{}{}", self.base, channel_path("/v2/streaming", place, table));
        let answer = self
            .ask(IngestRequest { method: Method::PUT, url, table, body: IngestBody::Json("{}".to_owned()), what })
            .await?;
        let status = status(&answer["channel_status"])?;
        let continuation = continuation(&answer, what)?;
        Ok(Channel { table: table.to_owned(), continuation, committed: status.committed, errors: status.errors })
    }

    /// Appends rows, one JSON object in each line, under a token.
    pub(super) async fn append(
        &mut self,
        place: &SnowflakePlace,
        channel: &mut Channel,
        rows: &[u8],
        token: u64,
    ) -> Result<(), SnowflakeError> {
        let (what, table) = ("appending rows", &*channel.table);
        let url = format!("{}{}/rows", self.base, channel_path("/v2/streaming/data", place, table));
        let query = [
            ("continuationToken", channel.continuation.clone()),
            ("offsetToken", token.to_string()),
            ("requestId", clock::uuid()),
        ];
        let url = with_query(&url, &query);
        let unwritten = |error: std::io::Error| SnowflakeError::Upload { problem: error.to_string(), lasting: false };
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut packed, rows).map_err(unwritten)?;
        let packed = packed.finish().map_err(unwritten)?;
        let request = IngestRequest { method: Method::POST, url, table, body: IngestBody::Rows(packed), what };
        let answer = match self.ask(request).await {
            // Whether the rows were taken is not known; the channel knows.
            Err(error @ SnowflakeError::Http { .. }) => {
                return Err(SnowflakeError::Channel { table: table.to_owned(), problem: error.to_string() });
            }
            other => other?,
        };
        channel.continuation = continuation(&answer, what)?;
        Ok(())
    }

    /// Waits until `token` is committed.
    pub(super) async fn wait(
        &mut self,
        place: &SnowflakePlace,
        table: &str,
        token: u64,
        most: Duration,
    ) -> Result<Status, SnowflakeError> {
        let what = "waiting for rows to be committed";
        let name = channel_name(place);
        let url = format!("{}{}:bulk-channel-status", self.base, pipe_path("/v2/streaming", place, table));
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let body = IngestBody::Json(json!({ "channel_names": [name] }).to_string());
            let answer = self.ask(IngestRequest { method: Method::POST, url: url.clone(), table, body, what }).await?;
            let lost = |problem: &str| SnowflakeError::Channel { table: table.to_owned(), problem: problem.to_owned() };
            let channel = &answer["channel_statuses"][&name];
            if channel.is_null() {
                return Err(lost("Snowflake does not know it"));
            }
            let code = channel["channel_status_code"].as_str().unwrap_or_default().to_ascii_uppercase();
            if ["INVALID", "NOT_FOUND", "STALE", "DELETED"].iter().any(|word| code.contains(word)) {
                return Err(lost(&code));
            }
            let status = status(channel)?;
            if status.committed.is_some_and(|committed| committed >= token) {
                return Ok(status);
            }
            if began.elapsed() > most {
                // Rows that another opening has made void never come; opening anew says what did.
                return Err(lost("appended rows are not committed in time"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Sends a request until the far side has room for it.
    async fn ask(&self, request: IngestRequest<'_>) -> Result<Value, SnowflakeError> {
        let IngestRequest { method, url, table, body, what } = request;
        let (content, is_packed, body) = match body {
            IngestBody::Json(text) => ("application/json", false, bytes::Bytes::from(text)),
            IngestBody::Rows(packed) => ("application/x-ndjson", true, bytes::Bytes::from(packed)),
        };
        let mut sending = 0;
        loop {
            let mut request = self.http.client.request(method.clone(), &url).header("Content-Type", content);
            if is_packed {
                request = request.header("Content-Encoding", "gzip");
            }
            let request = authorized(request, &self.token, self.kind).header("Accept", "application/json");
            let (status, answer) = http::send(request.body(body.clone()), what).await?;
            sending += 1;
            match status.as_u16() {
                200..=299 => {
                    return serde_json::from_slice(&answer)
                        .map_err(|error| SnowflakeError::Answer { doing: what, problem: error.to_string() });
                }
                429 | 502..=504 if sending < SENDINGS => {
                    tokio::time::sleep(Duration::from_millis(100 << sending)).await;
                }
                // A stale continuation token, a channel that somebody else has opened, a pipe that was made anew.
                400 | 404 | 409 | 410 => {
                    let problem = String::from_utf8_lossy(&answer).chars().take(REASON_CHARS_MAX).collect();
                    return Err(SnowflakeError::Channel { table: table.to_owned(), problem });
                }
                _ => return Err(http::unexpected(status, &answer, what)),
            }
        }
    }
}

fn authorized(request: RequestBuilder, token: &str, kind: Option<&str>) -> RequestBuilder {
    let request = request.header("Authorization", format!("Bearer {token}"));
    match kind {
        Some(kind) => request.header("X-Snowflake-Authorization-Token-Type", kind),
        None => request,
    }
}

async fn answered(request: RequestBuilder, what: &'static str) -> Result<Vec<u8>, SnowflakeError> {
    let (status, body) = http::send(request, what).await?;
    if status.is_success() { Ok(body) } else { Err(http::unexpected(status, &body, what)) }
}

fn channel_name(place: &SnowflakePlace) -> String {
    format!("TIDEGATE_{}", place.tag)
}

/// Every table has a pipe of its own that nobody need make.
fn pipe_path(root: &str, place: &SnowflakePlace, table: &str) -> String {
    let part = |name: &str| percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
    let pipe = format!("{}-STREAMING", table.to_ascii_uppercase());
    format!("{root}/databases/{}/schemas/{}/pipes/{}", part(&place.database), part(&place.schema), part(&pipe))
}

fn channel_path(root: &str, place: &SnowflakePlace, table: &str) -> String {
    format!("{}/channels/{}", pipe_path(root, place, table), channel_name(place))
}

fn continuation(answer: &Value, doing: &'static str) -> Result<String, SnowflakeError> {
    let token = answer["next_continuation_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| SnowflakeError::Answer { doing, problem: "it has no continuation token".to_owned() })
}

fn status(channel: &Value) -> Result<Status, SnowflakeError> {
    let committed = match channel["last_committed_offset_token"].as_str().filter(|token| !token.is_empty()) {
        None => None,
        // A token that is no offset was not set by the router.
        Some(token) => Some(token.parse().map_err(|_| SnowflakeError::Ledger)?),
    };
    let count = |name: &str| channel[name].as_u64().or_else(|| channel[name].as_str()?.parse().ok());
    let errors = count("rows_error_count").or_else(|| count("rows_errors")).unwrap_or(0);
    let message = channel["last_error_message"].as_str().filter(|message| !message.is_empty());
    let message = message.map(|message| message.chars().take(REASON_CHARS_MAX).collect());
    Ok(Status { committed, errors, message })
}
