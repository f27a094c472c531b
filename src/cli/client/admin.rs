//! The admin API: a method for each endpoint that a command uses.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_api_types::build::{Build, BuildQuery, PushQuery, Pushed};
use tidegate_api_types::control::WhoAmI;
use tidegate_api_types::destination::{Destinations, ShownDestination};
use tidegate_api_types::function::{ChangeCanary, Functions, OfSource, ShownFunction};
use tidegate_api_types::logs::{LogQuery, Logs};
use tidegate_api_types::reload::{Reload, Reloaded};
use tidegate_api_types::sign_in::{SetPassword, SignedOut};
use tidegate_api_types::version::{MakeLive, RollBack};
use tidegate_api_types::write_key::ShownWriteKeys;
use tidegate_api_types::{ProblemDetails, path};

use super::address::{self, ConnectArgs};
use super::error::ClientError;
use super::http::{ANSWER_TIME_MAX, ServerAnswer, ServerHttp, ServerStream, credentials};

/// The server gives up a body after 120 seconds.
pub(super) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(150);

/// Somebody with the admin token of a server.
pub(in crate::cli) struct AdminClient {
    http: ServerHttp,
    authorization: HeaderValue,
    /// The environment that is asked; that of the server's own folder where none is named.
    workspace: Option<String>,
}

type Answered<T> = Result<T, ClientError>;

impl AdminClient {
    /// A client of the admin API at `address`; connects to nothing yet. The token goes over plain http to another machine
    /// only where `allow_http` says so.
    pub(in crate::cli) fn new(
        address: &str,
        token: &str,
        allow_http: bool,
        connect: &ConnectArgs,
    ) -> Result<Self, ClientError> {
        let base = address::parse(address, "http://127.0.0.1:8089")?;
        if address::is_open_to_others(&base) && !allow_http {
            return Err(ClientError::OpenToOthers { origin: address::origin(&base) });
        }
        let authorization = credentials(format!("Bearer {}", token.trim()))?;
        Ok(Self { http: ServerHttp::new(base, connect)?, authorization, workspace: None })
    }

    /// Which server it is.
    pub(in crate::cli) fn origin(&self) -> String {
        self.http.origin()
    }

    /// The same, for an environment of the server.
    pub(in crate::cli) fn in_workspace(self, workspace: Option<String>) -> Self {
        Self { workspace, ..self }
    }

    /// A request about the environment.
    fn asked(&self, method: Method, at: (&str, &str), query: &impl Serialize) -> Answered<RequestBuilder> {
        self.http.query_in(method, at, query, self.workspace.as_deref())
    }

    pub(in crate::cli) async fn functions(&self) -> Answered<Functions> {
        self.get(path::FUNCTIONS, "", &()).await
    }

    pub(in crate::cli) async fn function(&self, name: &str) -> Answered<ShownFunction> {
        self.get(path::FUNCTION, name, &()).await
    }

    pub(in crate::cli) async fn push_function(
        &self,
        name: &str,
        query: PushQuery,
        version: Vec<u8>,
    ) -> Answered<Pushed> {
        self.upload(path::FUNCTION_VERSIONS, name, query, version).await
    }

    pub(in crate::cli) async fn make_function_live(&self, name: &str, asked: &MakeLive) -> Answered<ShownFunction> {
        self.post(path::FUNCTION_LIVE, name, asked).await
    }

    pub(in crate::cli) async fn roll_function_back(&self, name: &str) -> Answered<ShownFunction> {
        self.post(path::FUNCTION_ROLLBACK, name, &RollBack {}).await
    }

    pub(in crate::cli) async fn change_canary(&self, name: &str, asked: &ChangeCanary) -> Answered<ShownFunction> {
        self.post(path::FUNCTION_CANARY, name, asked).await
    }

    pub(in crate::cli) async fn attach_function(&self, name: &str, of: &OfSource) -> Answered<ShownFunction> {
        self.post(path::FUNCTION_ATTACH, name, of).await
    }

    pub(in crate::cli) async fn detach_function(&self, name: &str, of: &OfSource) -> Answered<ShownFunction> {
        self.post(path::FUNCTION_DETACH, name, of).await
    }

    pub(in crate::cli) async fn function_logs(&self, name: &str, query: &LogQuery) -> Answered<Logs> {
        self.get(path::FUNCTION_LOGS, name, query).await
    }

    pub(in crate::cli) async fn destinations(&self) -> Answered<Destinations> {
        self.get(path::DESTINATIONS, "", &()).await
    }

    pub(in crate::cli) async fn destination(&self, name: &str) -> Answered<ShownDestination> {
        self.get(path::DESTINATION, name, &()).await
    }

    pub(in crate::cli) async fn push_destination(
        &self,
        name: &str,
        query: PushQuery,
        version: Vec<u8>,
    ) -> Answered<Pushed> {
        self.upload(path::DESTINATION_VERSIONS, name, query, version).await
    }

    pub(in crate::cli) async fn make_destination_live(
        &self,
        name: &str,
        asked: &MakeLive,
    ) -> Answered<ShownDestination> {
        self.post(path::DESTINATION_LIVE, name, asked).await
    }

    pub(in crate::cli) async fn roll_destination_back(&self, name: &str) -> Answered<ShownDestination> {
        self.post(path::DESTINATION_ROLLBACK, name, &RollBack {}).await
    }

    pub(in crate::cli) async fn destination_logs(&self, name: &str, query: &LogQuery) -> Answered<Logs> {
        self.get(path::DESTINATION_LOGS, name, query).await
    }

    pub(in crate::cli) async fn build(&self, id: &str, query: &BuildQuery) -> Answered<Build> {
        self.get(path::BUILD, id, query).await
    }

    pub(in crate::cli) async fn write_keys(&self) -> Answered<ShownWriteKeys> {
        self.get(path::WRITE_KEYS, "", &()).await
    }

    pub(in crate::cli) async fn who_am_i(&self) -> Answered<WhoAmI> {
        self.get(path::WHO_AM_I, "", &()).await
    }

    /// Ends the token itself.
    pub(in crate::cli) async fn sign_out(&self) -> Answered<SignedOut> {
        self.exchange(self.http.request(Method::DELETE, path::SESSION, "")?, ANSWER_TIME_MAX).await
    }

    pub(in crate::cli) async fn set_password(&self, user: &str, asked: &SetPassword) -> Answered<()> {
        let body = serde_json::to_vec(asked).map_err(|error| ClientError::Setup(error.to_string()))?;
        let request = self.http.request(Method::PUT, path::USER_PASSWORD, user)?;
        let set = self.exchange_text(request.header(CONTENT_TYPE, "application/json").body(body)).await;
        set.map(drop).map_err(|error| error.about("user", user))
    }

    /// Compiling may take long.
    pub(in crate::cli) async fn reload(&self, reload: &Reload) -> Answered<Reloaded> {
        self.posted(path::RELOAD, "", reload, UPLOAD_TIME_MAX).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, name: &str, query: &impl Serialize) -> Answered<T> {
        self.exchange(self.asked(Method::GET, (path, name), query)?, ANSWER_TIME_MAX).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, name: &str, asked: &impl Serialize) -> Answered<T> {
        self.posted(path, name, asked, ANSWER_TIME_MAX).await
    }

    async fn posted<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        asked: &impl Serialize,
        limit: Duration,
    ) -> Answered<T> {
        let body = serde_json::to_vec(asked).map_err(|error| ClientError::Setup(error.to_string()))?;
        let request = self.asked(Method::POST, (path, name), &())?.header(CONTENT_TYPE, "application/json");
        self.exchange(request.body(body), limit).await
    }

    async fn upload(&self, path: &str, name: &str, query: PushQuery, version: Vec<u8>) -> Answered<Pushed> {
        let request = self.asked(Method::POST, (path, name), &query)?.header(CONTENT_TYPE, "application/wasm");
        self.exchange(request.body(version), UPLOAD_TIME_MAX).await
    }

    /// What other endpoints are asked through.
    pub(super) const fn http(&self) -> &ServerHttp {
        &self.http
    }

    /// The body of an answer that is none of JSON's.
    pub(super) async fn exchange_text(&self, request: RequestBuilder) -> Answered<String> {
        Ok(String::from_utf8_lossy(&self.exchange_bytes(request, ANSWER_TIME_MAX).await?).into_owned())
    }

    /// The body of an answer, whatever it is.
    pub(super) async fn exchange_bytes(&self, request: RequestBuilder, limit: Duration) -> Answered<Bytes> {
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        let answer = self.http.send(request, limit).await?;
        if !(200..300).contains(&answer.status) {
            return Err(refused(answer));
        }
        Ok(answer.body)
    }

    /// An answer that goes on.
    pub(super) async fn stream(&self, request: RequestBuilder) -> Answered<ServerStream> {
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        self.http.begin(request, ANSWER_TIME_MAX).await?.map_err(refused)
    }

    pub(super) async fn exchange<T: DeserializeOwned>(&self, request: RequestBuilder, limit: Duration) -> Answered<T> {
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        understood(self.http.send(request, limit).await?, &self.http)
    }
}

/// The body of an answer that says yes.
pub(super) fn understood<T: DeserializeOwned>(answer: ServerAnswer, http: &ServerHttp) -> Answered<T> {
    if !(200..300).contains(&answer.status) {
        return Err(refused(answer));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| ClientError::Answer { origin: http.origin(), problem: error.to_string() })
}

/// The server's own words, where they are its own.
fn refused(answer: ServerAnswer) -> ClientError {
    let status = answer.status;
    match (serde_json::from_slice::<ProblemDetails>(&answer.body), answer.location) {
        (Ok(problem), _) => ClientError::Refused(Box::new(problem)),
        (Err(_), Some(to)) if (300..400).contains(&status) => ClientError::Elsewhere { status, to },
        (Err(_), _) => ClientError::Unexpected { status },
    }
}
