//! What an emulator does not do, by answers written down from Snowflake's documentation and its drivers: stages in S3 and
//! Azure, a session that expires, a statement that runs on, refusals.

use super::open;
use std::sync::{Arc, Mutex};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::{Value, json};
use tidegate_event::destination::Failure;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_snowflake as snowflake;
use tidegate_warehouse_snowflake::Auth;

use super::Snowflake;
use super::rig::web::{self, Request, WebReply};
use tidegate_warehouse_suite::events::numbered;
use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen};

type Rule = Box<dyn Fn(&Request) -> Option<WebReply> + Send + Sync>;

/// The emulator behind a rule that answers some requests itself, and remembers what was asked.
pub struct Ruled {
    pub inner: Snowflake,
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Ruled {
    /// The rule is made with the port that it will be reached at.
    pub fn with(rule: impl Fn(u16) -> Rule) -> Option<Self> {
        let inner = Snowflake::new().map_err(|lack| println!("skipped: snowflake::recorded: {lack}")).ok()?;
        let (seen, far) = (Arc::new(Mutex::new(Vec::new())), inner.bridge.port);
        let rules: Arc<Mutex<Option<Rule>>> = Arc::default();
        let (asked, ruling) = (Arc::clone(&seen), Arc::clone(&rules));
        let port = web::serve(move |request| {
            asked.lock().unwrap().push(request.clone());
            let own = ruling.lock().unwrap().as_ref().and_then(|rule| rule(request));
            own.or_else(|| web::forward(request, far)).unwrap_or(WebReply::Nothing)
        });
        *rules.lock().unwrap() = Some(rule(port));
        Some(Self { inner, port, seen })
    }

    fn asked(&self, path: &str) -> Vec<Request> {
        self.seen.lock().unwrap().iter().filter(|request| request.path().starts_with(path)).cloned().collect()
    }
}

impl Rig for Ruled {
    fn new() -> Result<Self, String> {
        Self::with(|_| Box::new(|_| None)).ok_or_else(String::new)
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&snowflake::SnowflakeSettings { limits, ..super::settings(self.port, &self.inner.database) }, part)
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        self.inner.seen(schema)
    }

    fn act(&self, act: &Act) -> bool {
        self.inner.act(act)
    }
}

fn sql(request: &Request) -> String {
    match request.path() {
        "/queries/v1/query-request" => request.json()["sqlText"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// The answer to a statement with this beginning, each time.
fn refusing(start: &'static str, code: &'static str, message: &'static str) -> Option<Ruled> {
    refusing_of(start, "", (code, message))
}

/// The same, for those with this text in them.
pub fn refusing_of(
    start: &'static str,
    part: &'static str,
    (code, message): (&'static str, &'static str),
) -> Option<Ruled> {
    Ruled::with(|_| {
        Box::new(move |request| {
            let answer = json!({ "success": false, "code": code, "message": message, "data": {} });
            let sql = sql(request);
            (sql.starts_with(start) && sql.contains(part)).then(|| WebReply::json(200, &answer))
        })
    })
}

/// Answers PUT with this stage, and takes what is uploaded to `/upload/`, so that nothing reaches the emulator's own stage.
fn staged(info: impl Fn(u16) -> Value + Send + Sync + 'static) -> Option<Ruled> {
    Ruled::with(|port| {
        let info = info(port);
        Box::new(move |request| {
            if sql(request).starts_with("PUT ") {
                let answer = json!({ "success": true, "data": { "stageInfo": info, "encryptionMaterial": null } });
                return Some(WebReply::json(200, &answer));
            }
            (request.method == "PUT" && !request.path().starts_with("/fs_bucket"))
                .then(|| WebReply::Answer(200, Vec::new()))
        })
    })
}

#[test]
fn files_go_to_s3_signed_with_the_stages_own_credentials() {
    let rig = staged(|port| {
        json!({ "locationType": "S3", "location": "bucket/upload/stages/", "region": "eu-west-1",
            "endPoint": format!("http://127.0.0.1:{port}"),
            "creds": { "AWS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_KEY": "secret", "AWS_TOKEN": "session" } })
    });
    let Some(rig) = rig else { return };
    // The emulator does not find the file, so nothing is loaded, and the count in the transaction says so.
    let failure = Subject::open(&rig).try_deliver(numbered(0..3)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    assert!(failure.to_string().contains("not loaded as a whole"), "{failure}");
    let uploads = rig.asked("/bucket/upload/stages/0-3-");
    let upload = uploads.first().expect("an upload");
    assert_eq!(upload.header("x-amz-security-token"), Some("session"));
    let signature = upload.header("authorization").unwrap();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/"), "{signature}");
    assert!(signature.contains("/eu-west-1/s3/aws4_request"), "{signature}");
    assert!(upload.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(rig.seen(None)["e"].rows.len(), 0);
}

#[test]
fn files_go_to_azure_under_the_stages_own_signature() {
    let rig = staged(|port| {
        json!({ "locationType": "AZURE", "location": "container/upload/", "storageAccount": "acct",
            "endPoint": format!("http://127.0.0.1:{port}"), "creds": { "AZURE_SAS_TOKEN": "?sv=2024&sig=abc" } })
    });
    let Some(rig) = rig else { return };
    let failure = Subject::open(&rig).try_deliver(numbered(0..3)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }) && !failure.to_string().contains("abc"), "{failure}");
    assert!(failure.to_string().contains("not loaded as a whole"), "{failure}");
    let uploads = rig.asked("/container/upload/0-3-");
    let upload = uploads.first().expect("an upload");
    assert_eq!(upload.header("x-ms-blob-type"), Some("BlockBlob"));
    assert_eq!(upload.query("sig").as_deref(), Some("abc"));
}

#[test]
fn an_expired_session_is_renewed_and_a_lost_one_logs_in_again() {
    let renewed = Arc::new(Mutex::new(0));
    let count = Arc::clone(&renewed);
    let rig = Ruled::with(move |_| {
        let (count, token) = (Arc::clone(&count), Mutex::new(String::new()));
        Box::new(move |request| {
            let mut count = count.lock().unwrap();
            match request.path() {
                // The emulator gives no master token; here it has one, and the session token is over at the first file.
                "/session/v1/login-request" => None,
                "/session/token-request" => {
                    *count += 1;
                    Some(WebReply::json(
                        200,
                        &json!({ "success": true, "data": { "sessionToken": *token.lock().unwrap() } }),
                    ))
                }
                _ if sql(request).starts_with("CREATE OR REPLACE") && *count == 0 => {
                    *count += 1;
                    *token.lock().unwrap() = request.header("authorization").unwrap().to_owned();
                    Some(WebReply::json(200, &json!({ "success": false, "code": "390112", "message": "expired" })))
                }
                _ => None,
            }
        })
    });
    let Some(rig) = rig else { return };
    let delivery = Subject::open(&rig).deliver(numbered(0..3));
    assert_eq!((delivery.delivered, *renewed.lock().unwrap()), (3, 1));
    // There was no master token, so it logged in twice.
    assert_eq!(rig.asked("/session/v1/login-request").len(), 2);
    assert_eq!(rig.seen(None)["e"].rows.len(), 3);
}

#[test]
fn a_session_is_renewed_with_the_master_token_and_goes_on() {
    let rig = Ruled::with(|_| {
        let (state, far) = (Mutex::new((String::new(), false)), super::bridge().unwrap().port);
        Box::new(move |request| {
            let mut state = state.lock().unwrap();
            match request.path() {
                "/session/token-request" => {
                    assert_eq!(request.header("authorization"), Some("Snowflake Token=\"master\""));
                    assert_eq!(request.json()["requestType"], "RENEW");
                    let data = json!({ "sessionToken": state.0, "masterToken": "master2" });
                    Some(WebReply::json(200, &json!({ "success": true, "data": data })))
                }
                "/session/v1/login-request" => {
                    let Some(WebReply::Answer(_, body)) = web::forward(request, far) else { panic!() };
                    let mut answer: Value = serde_json::from_slice(&body).unwrap();
                    answer["data"]["masterToken"] = "master".into();
                    state.0 = answer["data"]["token"].as_str().unwrap().to_owned();
                    Some(WebReply::json(200, &answer))
                }
                // In the middle of the transaction, which must go on in the same session.
                _ if sql(request).starts_with("INSERT INTO") && sql(request).contains("QUALIFY") && !state.1 => {
                    state.1 = true;
                    Some(WebReply::json(200, &json!({ "success": false, "code": "390112", "message": "expired" })))
                }
                _ => None,
            }
        })
    });
    let Some(rig) = rig else { return };
    Subject::open(&rig).deliver(numbered(0..3));
    assert_eq!((rig.asked("/session/v1/login-request").len(), rig.asked("/session/token-request").len()), (1, 1));
    let requests = rig.asked("/queries/v1/query-request");
    let inserts: Vec<_> = requests.iter().filter(|request| sql(request).contains("QUALIFY")).collect();
    assert_eq!(inserts[0].query("requestId"), inserts[1].query("requestId"), "the same statement under the same id");
    assert_eq!(rig.seen(None)["e"].rows.len(), 3);
}

#[test]
fn a_statement_that_runs_on_is_asked_for_until_it_ends() {
    let rig = Ruled::with(|_| {
        let (waits, far) = (Mutex::new((0, None::<Request>)), super::bridge().unwrap().port);
        Box::new(move |request| {
            let mut waits = waits.lock().unwrap();
            let running = json!({ "success": false, "code": "333334", "message": null,
                "data": { "getResultUrl": "/queries/abc/result" } });
            if sql(request).starts_with("COPY INTO") {
                waits.1 = Some(request.clone());
                return Some(WebReply::json(200, &running));
            }
            if request.path() != "/queries/abc/result" {
                return None;
            }
            waits.0 += 1;
            if waits.0 < 3 {
                return Some(WebReply::json(200, &running));
            }
            web::forward(waits.1.as_ref().unwrap(), far)
        })
    });
    let Some(rig) = rig else { return };
    Subject::open(&rig).deliver(numbered(0..3));
    assert_eq!(rig.asked("/queries/abc/result").len(), 3);
    assert_eq!(rig.seen(None)["e"].rows.len(), 3);
}

#[test]
fn what_an_operator_must_mend_stops_with_advice() {
    for (start, code, hint) in [
        ("CREATE TABLE", "003001", "GRANT"),
        ("INSERT INTO", "000606", "`warehouse`"),
        ("CREATE SCHEMA", "002003", "GRANT USAGE"),
    ] {
        let Some(rig) = refusing(start, code, "in Snowflake's words") else { return };
        let failure = Subject::open(&rig).try_deliver(numbered(0..3)).unwrap_err();
        assert!(matches!(&failure, Failure::Stop { advice, .. } if advice.contains(hint)), "{code}: {failure}");
        assert!(failure.to_string().contains("in Snowflake's words"), "{failure}");
    }
    let Some(rig) = refusing("COPY INTO", "000625", "lock") else { return };
    let failure = Subject::open(&rig).try_deliver(numbered(0..3)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
}

#[test]
fn a_refused_login_stops_and_secrets_are_never_shown() {
    let rig = Ruled::with(|_| {
        Box::new(|request| {
            let answer = json!({ "success": false, "code": "390100", "message": "Incorrect username or password", "data": null });
            (request.path() == "/session/v1/login-request").then(|| WebReply::json(200, &answer))
        })
    });
    let Some(rig) = rig else { return };
    let secret = snowflake::Secret::new("hunter2");
    let settings = |auth| snowflake::SnowflakeSettings { auth, ..super::settings(rig.port, &rig.inner.database) };
    for auth in [Auth::Password(secret.clone()), Auth::OAuth(secret.clone()), Auth::Token(secret)] {
        let settings = settings(auth);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let part = tidegate_warehouse::SyncPart { sync: "sync".to_owned(), ..Default::default() };
        let mut destination = open(&settings, &part).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failure = runtime.block_on(destination.deliver(Arc::new(numbered(0..1)))).unwrap_err();
        assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

/// A result of many rows comes in parts, each at an address of its own.
#[test]
fn results_in_parts_are_read_to_the_end() {
    let rig = Ruled::with(|port| {
        Box::new(move |request| {
            if request.path() == "/part" {
                assert_eq!(request.header("x-guard"), Some("yes"));
                return Some(WebReply::Answer(200, b"[\"7\"]".to_vec()));
            }
            sql(request).starts_with("SELECT MAX").then(|| {
                let data = json!({ "rowtype": [{ "name": "M" }], "rowset": [], "chunkHeaders": { "x-guard": "yes" },
                    "chunks": [{ "url": format!("http://127.0.0.1:{port}/part"), "rowCount": 1 }] });
                WebReply::json(200, &json!({ "success": true, "data": data }))
            })
        })
    });
    let Some(rig) = rig else { return };
    assert_eq!(Subject::open(&rig).durable_to(), Some(7));
}
