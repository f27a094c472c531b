//! Snowpipe Streaming. No emulator has it: the stand-in here is written from Snowflake's documentation of the endpoints
//! (hostname, scoped token, opening, appending, status), so it proves the router against that text, not against
//! Snowflake. Rows that it commits go into the emulator, where the other client reads them; SQL is passed on to there.
//!
//! It commits late: a status asked for once tells the old token, and the next one the new. What was appended and not
//! committed is gone when a channel is opened anew. A row that a table cannot take is left out, counted, and its token moves
//! on.

use super::open;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::{Value, json};
use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_snowflake::{self as snowflake, Auth, LoadMode, Secret};

use super::rig::web::{self, Request, WebReply};
use super::{Bridge, Snowflake};
use tidegate_warehouse_suite::events::{batch, numbered, track};
use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen, suite};

suite!(Streaming);

const KEY: &str = include_str!("../../src/testdata/key.p8");

/// What goes wrong, once, with the next request that has these texts, parted by `*`, in its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Done, and not answered.
    AnswerLost,
    /// Not done, and not answered.
    RequestLost,
    /// Somebody else has opened the channel.
    Invalidated,
    Busy,
}

#[derive(Default)]
struct Channel {
    sequencer: u64,
    appended: u64,
    committed: Option<String>,
    pending: Vec<(Vec<Value>, String)>,
    errors: u64,
    message: String,
    asked: bool,
}

impl Channel {
    fn continuation(&self) -> String {
        format!("{}_{}", self.sequencer, self.appended)
    }

    fn status(&self, name: &str) -> Value {
        json!({
            "channel_name": name, "channel_status_code": "ACTIVE", "last_committed_offset_token": self.committed,
            "rows_error_count": self.errors, "last_error_message": self.message,
        })
    }
}

#[derive(Default)]
struct State {
    /// By the path of the pipe and the name.
    channels: HashMap<(String, String), Channel>,
    faults: Vec<(&'static str, Fault)>,
    /// Ids of rows that tables cannot take.
    poison: BTreeSet<String>,
    requests: BTreeMap<String, usize>,
    longest: usize,
}

struct StreamingStand {
    bridge: &'static Bridge,
    port: Mutex<u16>,
    state: Mutex<State>,
}

impl StreamingStand {
    fn answer(&self, request: &Request) -> WebReply {
        if !request.path().starts_with("/v2/") && !request.path().starts_with("/oauth/") {
            return web::forward(request, self.bridge.port).unwrap_or(WebReply::Nothing);
        }
        let mut state = self.state.lock().unwrap();
        let due = state.faults.iter().position(|(text, _)| text.split('*').all(|part| request.target.contains(part)));
        let fault = due.map(|due| state.faults.remove(due).1);
        match fault {
            Some(Fault::RequestLost) => return WebReply::Nothing,
            Some(Fault::Busy) => return WebReply::Answer(429, b"slower".to_vec()),
            Some(Fault::Invalidated) => {
                for channel in state.channels.values_mut() {
                    channel.sequencer += 1;
                    channel.pending.clear();
                }
            }
            Some(Fault::AnswerLost) | None => {}
        }
        let reply = self.act(&mut state, request);
        if fault == Some(Fault::AnswerLost) { WebReply::Nothing } else { reply }
    }

    fn act(&self, state: &mut State, request: &Request) -> WebReply {
        let bearer =
            request.header("authorization").and_then(|token| token.strip_prefix("Bearer ")).unwrap_or_default();
        match (&*request.method, request.path()) {
            ("GET", "/v2/streaming/hostname") => {
                assert_eq!(request.header("x-snowflake-authorization-token-type"), Some("KEYPAIR_JWT"));
                assert_eq!(bearer.split('.').count(), 3, "a signed token");
                return WebReply::json(200, &json!({ "hostname": format!("127.0.0.1:{}", self.port.lock().unwrap()) }));
            }
            ("POST", "/oauth/token") => {
                let form: HashMap<_, _> = url::form_urlencoded::parse(&request.body).into_owned().collect();
                assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
                assert_eq!(form["scope"], format!("127.0.0.1:{}", self.port.lock().unwrap()));
                return WebReply::json(200, &json!({ "token": "scoped" }));
            }
            _ if bearer != "scoped" => return WebReply::Answer(401, Vec::new()),
            _ => {}
        }
        let path = request.path();
        if let Some(pipe) = path.strip_suffix(":bulk-channel-status") {
            *state.requests.entry("status".to_owned()).or_default() += 1;
            let name = request.json()["channel_names"][0].as_str().unwrap().to_owned();
            let (key, poison) = ((pipe.to_owned(), name.clone()), state.poison.clone());
            let Some(channel) = state.channels.get_mut(&key) else {
                return WebReply::json(200, &json!({ "channel_statuses": {} }));
            };
            if std::mem::replace(&mut channel.asked, true) {
                channel.asked = false;
                for (rows, token) in std::mem::take(&mut channel.pending) {
                    self.commit(pipe, channel, rows, &poison);
                    channel.committed = Some(token);
                }
            }
            return WebReply::json(200, &json!({ "channel_statuses": { (&*name): channel.status(&name) } }));
        }
        let (pipe, rest) = path.split_once("/channels/").unwrap();
        let (pipe, name) = (pipe.replacen("/data/", "/", 1), rest.trim_end_matches("/rows").to_owned());
        let channel = state.channels.entry((pipe, name.clone())).or_default();
        if request.method == "PUT" {
            channel.sequencer += 1;
            channel.appended = 0;
            channel.pending.clear();
            let answer =
                json!({ "next_continuation_token": channel.continuation(), "channel_status": channel.status(&name) });
            return WebReply::json(200, &answer);
        }
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        if request.query("continuationToken").unwrap() != channel.continuation() {
            let answer =
                json!({ "code": "STALE_CONTINUATION_TOKEN_SEQUENCER", "message": "the channel was opened anew" });
            return WebReply::json(400, &answer);
        }
        let text = String::from_utf8(request.body.clone()).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        channel.pending.push((rows, request.query("offsetToken").unwrap()));
        channel.appended += 1;
        let answer = json!({ "next_continuation_token": channel.continuation() });
        state.longest = state.longest.max(request.body.len());
        *state.requests.entry("rows".to_owned()).or_default() += 1;
        WebReply::json(200, &answer)
    }

    fn commit(&self, pipe: &str, channel: &mut Channel, rows: Vec<Value>, poison: &BTreeSet<String>) {
        let parts: Vec<String> = pipe
            .split('/')
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let table = parts[8].strip_suffix("-STREAMING").unwrap();
        let name = format!("\"{}\".\"{}\".\"{table}\"", parts[4], parts[6]);
        let mut statements = Vec::new();
        for row in rows {
            if row["ID"].as_str().is_some_and(|id| poison.contains(id)) {
                channel.errors += 1;
                channel.message = "Numeric value is not recognized".to_owned();
                continue;
            }
            let (columns, values): (Vec<_>, Vec<_>) = row
                .as_object()
                .unwrap()
                .iter()
                .map(|(column, value)| {
                    let literal = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
                    let value = match value {
                        Value::String(text) => literal(text),
                        Value::Bool(truth) => truth.to_string(),
                        other => format!("PARSE_JSON({})", literal(&other.to_string())),
                    };
                    (format!("\"{column}\""), value)
                })
                .unzip();
            statements.push(format!("INSERT INTO {name} ({}) SELECT {}", columns.join(", "), values.join(", ")));
        }
        self.bridge.run(&parts[4], &statements);
    }
}

struct Streaming {
    inner: Snowflake,
    stand: Arc<StreamingStand>,
    port: u16,
}

impl Streaming {
    fn fault(&self, text: &'static str, fault: Fault) {
        self.stand.state.lock().unwrap().faults.push((text, fault));
    }
}

impl Rig for Streaming {
    const KEEPS_FIRST: bool = false;
    const LACKS: &'static [(&'static str, &'static str)] = Snowflake::LACKS;

    fn new() -> Result<Self, String> {
        let inner = Snowflake::new()?;
        let stand = Arc::new(StreamingStand { bridge: inner.bridge, port: Mutex::new(0), state: Mutex::default() });
        let answering = Arc::clone(&stand);
        let port = web::serve(move |request| answering.answer(request));
        *stand.port.lock().unwrap() = port;
        Ok(Self { inner, stand, port })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(
            &snowflake::SnowflakeSettings {
                limits,
                load: LoadMode::Streaming,
                auth: Auth::Key(Secret::new(KEY)),
                // Rows made void by a fault are given up soon.
                statement_time_max: Duration::from_secs(4),
                ..super::settings(self.port, &self.inner.database)
            },
            part,
        )
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        self.inner.seen(schema)
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        self.inner.read(name, columns)
    }

    fn act(&self, act: &Act) -> bool {
        self.inner.act(act)
    }
}

fn rig() -> Option<Streaming> {
    Streaming::new().map_err(|lack| println!("skipped: snowflake::streaming: {lack}")).ok()
}

fn is_whole(rig: &Streaming, count: u64) {
    let seen = rig.seen(None);
    let ids: BTreeSet<String> = (0..count).map(|n| format!("m{n}")).collect();
    for table in ["tracks", "e"] {
        assert_eq!(seen[table].rows.keys().cloned().collect::<BTreeSet<_>>(), ids, "{table}");
    }
}

#[test]
fn whatever_answer_is_lost_each_row_is_there_once() {
    let Some(rig) = rig() else { return };
    let mut at = 0;
    let places =
        ["/oauth/token", "/E%2DSTREAMING/channels", "/rows", "TRACKS%2DSTREAMING:bulk", "LEDGER%2DSTREAMING/channels"];
    for (number, fault) in
        [Fault::AnswerLost, Fault::RequestLost, Fault::Invalidated, Fault::Busy].into_iter().enumerate()
    {
        let mut subject = Subject::open(&rig);
        for place in places.iter().skip(number % 2) {
            rig.fault(place, fault);
            subject.deliver(numbered(at..at + 3));
            at += 3;
            rig.stand.state.lock().unwrap().faults.clear();
        }
        assert_eq!(Subject::open(&rig).durable_to(), Some(at));
    }
    is_whole(&rig, at);
}

#[test]
fn a_channel_lost_between_batches_is_opened_anew() {
    let Some(rig) = rig() else { return };
    let mut subject = Subject::open(&rig);
    subject.deliver(numbered(0..4));
    rig.fault("/rows", Fault::Invalidated);
    subject.deliver(numbered(4..9));
    is_whole(&rig, 9);
}

#[test]
fn tables_ahead_of_the_ledger_skip_what_they_have() {
    let Some(rig) = rig() else { return };
    Subject::open(&rig).deliver(numbered(0..4));
    // The ledger's own append fails for good: the tables are committed and the ledger is not.
    for _ in 0..20 {
        rig.fault("LEDGER%2DSTREAMING*/rows", Fault::RequestLost);
    }
    let mut subject = Subject::open(&rig);
    let failure = subject.try_deliver(numbered(4..9)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    rig.stand.state.lock().unwrap().faults.clear();
    let mut subject = Subject::open(&rig);
    assert_eq!(subject.durable_to(), Some(4));
    // The same log range, cut elsewhere.
    subject.deliver(numbered(4..6));
    subject.deliver(numbered(6..12));
    is_whole(&rig, 12);
}

#[test]
fn a_row_that_is_left_out_is_a_refused_event() {
    let Some(rig) = rig() else { return };
    let mut subject = Subject::open(&rig);
    subject.deliver(numbered(0..3));
    rig.stand.state.lock().unwrap().poison = ["m5".to_owned(), "m8".to_owned()].into();
    let (delivery, rejected) = subject.deliver_refusing(numbered(3..12));
    let refused: Vec<_> = rejected.iter().map(|rejected| (rejected.index, &*rejected.code)).collect();
    assert_eq!(refused, [(2, "row_refused"), (5, "row_refused")]);
    assert!(rejected[0].reason.contains("Numeric value"), "{rejected:?}");
    assert_eq!((delivery.delivered, delivery.duplicates), (7, 0));
    let seen = rig.seen(None);
    assert!(!seen["e"].rows.contains_key("m5") && seen["e"].rows.contains_key("m6"));
    // A count that does not grow tells of nothing.
    subject.deliver(numbered(12..15));
}

/// The token moves past a row that was left out; a crash before anybody was told must not lose it.
#[test]
fn a_row_that_was_left_out_before_a_crash_is_told_after_it() {
    let Some(rig) = rig() else { return };
    Subject::open(&rig).deliver(numbered(0..3));
    rig.stand.state.lock().unwrap().poison = ["m5".to_owned()].into();
    for _ in 0..20 {
        rig.fault("LEDGER%2DSTREAMING*/rows", Fault::RequestLost);
    }
    Subject::open(&rig).try_deliver(numbered(3..8)).unwrap_err();
    rig.stand.state.lock().unwrap().faults.clear();
    let (_, rejected) = Subject::open(&rig).deliver_refusing(numbered(3..8));
    assert_eq!(rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [2]);
}

#[test]
fn long_batches_go_in_requests_that_are_allowed() {
    let Some(rig) = rig() else { return };
    let long = "x".repeat(700_000);
    let mut made: Vec<_> = (0..12).map(|n| track(n, &format!("m{n}"), "E", json!({ "v": long }))).collect();
    made.push(track(12, "m12", "E", json!({ "v": "y".repeat(4_000_000) })));
    let (_, rejected) = Subject::open(&rig).deliver_refusing(batch(made));
    assert_eq!(rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [12]);
    is_whole(&rig, 12);
    let state = rig.stand.state.lock().unwrap();
    assert!(state.longest <= 4_000_000, "{}", state.longest);
    assert!(state.requests["rows"] >= 4, "{:?}", state.requests);
}

#[test]
fn a_password_cannot_stream() {
    let settings = snowflake::SnowflakeSettings { load: LoadMode::Streaming, ..super::settings(1, "X") };
    let part = SyncPart { sync: "sync".to_owned(), ..SyncPart::default() };
    let failure = open(&settings, &part).err().unwrap();
    assert!(failure.to_string().contains("key pair"), "{failure}");
}
