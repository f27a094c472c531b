//! A session: logging in, running statements one after another, renewing the token, logging out.
//!
//! Every statement has a request id. If the way fails (connection, gateway), the same request is sent again under the
//! same id, which Snowflake answers with the result of the first, so that a lost answer is no second execution. A
//! statement that takes long is asked for until it ends or its time is over. A session token that has expired is renewed
//! with the master token; the session, and a transaction in it, goes on.
//!
//! A session dropped inside a transaction closes itself, so that the transaction's locks do not outlive it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_process::clock;

use super::answer::{SnowflakeAnswer, json_rows};
use super::error::SnowflakeError;
use super::http::{self, Http};
use super::jwt::JwtSigner;
use super::settings::{Auth, CheckedSnowflake};

/// Times that one request is sent.
const SENDINGS: u32 = 3;
const LOGIN_TIME_MAX: Duration = Duration::from_secs(60);
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(3);
/// A statement waits so long for another transaction's lock.
const LOCK_SECONDS_MAX: u64 = 60;
/// Parts of one result beyond the first.
const CHUNKS_MAX: usize = 1_000;

const IN_PROGRESS: [&str; 2] = ["333333", "333334"];
const SESSION_EXPIRED: &str = "390112";

/// Somebody logged in.
pub(super) struct SnowflakeSession {
    http: Http,
    checked: Arc<CheckedSnowflake>,
    token: String,
    master: Option<String>,
    sequence: u64,
    /// A transaction is open.
    pub(super) in_transaction: bool,
}

impl SnowflakeSession {
    /// Logs in.
    pub(super) async fn login(
        http: &Http,
        checked: &Arc<CheckedSnowflake>,
        signer: Option<&JwtSigner>,
    ) -> Result<Self, SnowflakeError> {
        let what = "logging in";
        let settings = &checked.settings;
        let mut data = json!({
            // The name decides what an answer looks like: for this one Snowflake sends JSON when JSON is asked for.
            "CLIENT_APP_ID": "Go",
            "CLIENT_APP_VERSION": "1.13.0",
            "ACCOUNT_NAME": settings.account,
            "LOGIN_NAME": settings.user,
            "CLIENT_ENVIRONMENT": { "APPLICATION": "Tidegate", "OS": std::env::consts::OS },
            "SESSION_PARAMETERS": {
                "TIMEZONE": "Etc/UTC",
                "TIMESTAMP_INPUT_FORMAT": "AUTO",
                "QUERY_TAG": format!("tidegate {}", checked.sync),
                "LOCK_TIMEOUT": LOCK_SECONDS_MAX,
                "STATEMENT_TIMEOUT_IN_SECONDS": settings.statement_time_max.as_secs().max(1),
                "GO_QUERY_RESULT_FORMAT": "JSON",
                "CLIENT_SESSION_KEEP_ALIVE": false,
            },
        });
        let mut set = |key: &str, value: &str| data[key] = value.into();
        match &settings.auth {
            Auth::KeyFile(_) | Auth::Key(_) => {
                let signer =
                    signer.ok_or_else(|| SnowflakeError::Key { problem: "there is no private key".to_owned() })?;
                set("AUTHENTICATOR", "SNOWFLAKE_JWT");
                set("TOKEN", &signer.token(clock::now_us())?);
            }
            Auth::OAuth(token) => {
                set("AUTHENTICATOR", "OAUTH");
                set("TOKEN", token.expose());
            }
            Auth::Token(token) => {
                set("AUTHENTICATOR", "PROGRAMMATIC_ACCESS_TOKEN");
                set("TOKEN", token.expose());
            }
            Auth::Password(password) => set("PASSWORD", password.expose()),
        }
        let mut query = vec![("requestId", clock::uuid()), ("databaseName", checked.place.database.clone())];
        query.extend(settings.warehouse.clone().map(|warehouse| ("warehouse", warehouse)));
        query.extend(settings.role.clone().map(|role| ("roleName", role)));
        let url = with_query(&format!("{}/session/v1/login-request", http.base), &query);
        let request = http.client.post(url).timeout(LOGIN_TIME_MAX).header("Content-Type", "application/json");
        let answer = accepted(http::json(request.body(json!({ "data": data }).to_string()), what).await?, what)?;
        let text = |key: &str| answer["data"][key].as_str().map(str::to_owned);
        let token = text("token")
            .ok_or_else(|| SnowflakeError::Answer { doing: what, problem: "it has no token".to_owned() })?;
        Ok(Self {
            http: http.clone(),
            checked: Arc::clone(checked),
            token,
            master: text("masterToken"),
            sequence: 0,
            in_transaction: false,
        })
    }

    /// Runs one statement to its end.
    pub(super) async fn run(&mut self, doing: &'static str, sql: &str) -> Result<SnowflakeAnswer, SnowflakeError> {
        self.sequence += 1;
        let body = json!({
            "sqlText": sql,
            "asyncExec": false,
            "sequenceId": self.sequence,
            "querySubmissionTime": clock::now_us() / 1_000,
        })
        .to_string();
        let began = Instant::now();
        let request_id = clock::uuid();
        let mut answer = self.submit(doing, &body, &request_id).await?;
        if answer["code"].as_str() == Some(SESSION_EXPIRED) {
            self.renew().await?;
            answer = self.submit(doing, &body, &request_id).await?;
        }
        let mut pause = Duration::from_millis(100);
        while answer["code"].as_str().is_some_and(|code| IN_PROGRESS.contains(&code)) {
            let most = self.checked.settings.statement_time_max;
            if began.elapsed() > most {
                return Err(SnowflakeError::Late { doing, seconds: most.as_secs() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
            answer = self.result(doing, &answer).await?;
        }
        let mut answer = accepted(answer, doing)?;
        let mut answer = SnowflakeAnswer::of(answer["data"].take(), doing)?;
        self.chunks(doing, &mut answer).await?;
        Ok(answer)
    }

    async fn submit(&self, doing: &'static str, body: &str, request_id: &str) -> Result<Value, SnowflakeError> {
        let mut sending = 0;
        loop {
            let query = [("requestId", request_id.to_owned()), ("retryCount", sending.to_string())];
            let url = with_query(&format!("{}/queries/v1/query-request", self.http.base), &query);
            let request = self.http.client.post(url).header("Content-Type", "application/json");
            let request = request.header("Authorization", authorization(&self.token)).body(body.to_owned());
            let error = match http::json(request, doing).await {
                Err(error) if error.is_of_the_way() => error,
                other => return other,
            };
            sending += 1;
            if sending >= SENDINGS {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100 << sending)).await;
        }
    }

    /// Asks again for the result of a statement that still ran.
    async fn result(&self, doing: &'static str, running: &Value) -> Result<Value, SnowflakeError> {
        let path = running["data"]["getResultUrl"].as_str().filter(|path| path.starts_with('/')).ok_or_else(|| {
            SnowflakeError::Answer {
                doing,
                problem: "a statement runs on and there is nowhere to ask for it".to_owned(),
            }
        })?;
        let mut sending = 0;
        loop {
            let request = self.http.client.get(format!("{}{path}", self.http.base));
            let error = match http::json(request.header("Authorization", authorization(&self.token)), doing).await {
                Err(error) if error.is_of_the_way() => error,
                other => return other,
            };
            sending += 1;
            if sending >= SENDINGS {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100 << sending)).await;
        }
    }

    /// Reads what did not fit into the answer itself.
    async fn chunks(&self, doing: &'static str, answer: &mut SnowflakeAnswer) -> Result<(), SnowflakeError> {
        let chunks = answer.data["chunks"].as_array().cloned().unwrap_or_default();
        if chunks.len() > CHUNKS_MAX {
            return Err(SnowflakeError::Answer { doing, problem: format!("it has {} parts", chunks.len()) });
        }
        for chunk in &chunks {
            let mut request = self.http.client.get(chunk["url"].as_str().unwrap_or_default());
            match (answer.data["chunkHeaders"].as_object(), answer.data["qrmk"].as_str()) {
                (Some(headers), _) => {
                    for (name, value) in headers {
                        request = request.header(name, value.as_str().unwrap_or_default());
                    }
                }
                (None, Some(key)) => {
                    request = request.header("x-amz-server-side-encryption-customer-algorithm", "AES256");
                    request = request.header("x-amz-server-side-encryption-customer-key", key);
                }
                (None, None) => {}
            }
            let (status, mut body) = http::send(request, doing).await?;
            if !status.is_success() {
                return Err(http::unexpected(status, &body, doing));
            }
            // Rows with commas between them, without the brackets around.
            body.insert(0, b'[');
            body.push(b']');
            let rows: Vec<Value> = serde_json::from_slice(&body)
                .map_err(|error| SnowflakeError::Answer { doing, problem: error.to_string() })?;
            answer.rows.extend(json_rows(&rows));
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), SnowflakeError> {
        let what = "renewing the session";
        let expired =
            || SnowflakeError::Refused { doing: what, code: 390_114, message: "the session is over".to_owned() };
        let master = self.master.as_deref().ok_or_else(expired)?;
        let url = with_query(&format!("{}/session/token-request", self.http.base), &[("requestId", clock::uuid())]);
        let body = json!({ "oldSessionToken": self.token, "requestType": "RENEW" }).to_string();
        let request = self.http.client.post(url).header("Authorization", authorization(master));
        let request = request.header("Content-Type", "application/json").timeout(LOGIN_TIME_MAX).body(body);
        let answer = accepted(http::json(request, what).await?, what)?;
        let text = |key: &str| answer["data"][key].as_str().map(str::to_owned);
        self.token = text("sessionToken").ok_or_else(expired)?;
        self.master = text("masterToken").or(self.master.take());
        Ok(())
    }

    /// Ends the session; what was not committed is gone. Best effort.
    pub(super) async fn logout(mut self) {
        self.in_transaction = false;
        farewell(self.http.clone(), std::mem::take(&mut self.token)).await;
    }
}

impl Drop for SnowflakeSession {
    fn drop(&mut self) {
        if !self.in_transaction {
            return;
        }
        // A delivery was dropped half-way. Whoever comes next must not wait for locks that nobody holds any more, so this
        // one more answer is worth waiting for; it has a time limit.
        let (http, token) = (self.http.clone(), std::mem::take(&mut self.token));
        let goodbye = std::thread::Builder::new().name("snowflake-goodbye".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                if let Ok(http) = http.anew() {
                    farewell(http, token).await;
                }
            });
        });
        if let Ok(goodbye) = goodbye {
            let _ = goodbye.join();
        }
    }
}

async fn farewell(http: Http, token: String) {
    let url = format!("{}/session?delete=true", http.base);
    let request = http.client.post(url).header("Authorization", authorization(&token)).timeout(FAREWELL_TIME_MAX);
    let _ = http::send(request.body("{}"), "logging out").await;
}

fn authorization(token: &str) -> String {
    format!("Snowflake Token=\"{token}\"")
}

/// An address with parameters.
pub(super) fn with_query(url: &str, query: &[(&str, String)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{url}?{query}")
}

/// The answer, unless it is a refusal.
fn accepted(answer: Value, doing: &'static str) -> Result<Value, SnowflakeError> {
    if answer["success"].as_bool() == Some(true) {
        return Ok(answer);
    }
    let code = match &answer["code"] {
        Value::String(code) => code.parse().unwrap_or(0),
        code => code.as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(0),
    };
    let message = answer["message"].as_str().unwrap_or("no reason is given").to_owned();
    Err(SnowflakeError::Refused { doing, code, message })
}
