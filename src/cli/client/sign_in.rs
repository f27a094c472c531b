//! A server as somebody sees it who has no token yet.

use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderValue, ORIGIN};
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_api_types::control::{CreateToken, CreatedToken, WhoAmI};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::sign_in::{LoginWays, PollDevice, PolledDevice, SignIn, SignedOut, StartedDevice};

use super::address::{self, ConnectArgs};
use super::admin::understood;
use super::error::ClientError;
use super::http::{ANSWER_TIME_MAX, ServerAnswer, ServerHttp};

/// A client without a token.
pub(in crate::cli) struct SignInClient {
    http: ServerHttp,
}

/// A session that was opened with a password.
pub(in crate::cli) struct OpenedSession {
    pub(in crate::cli) who: WhoAmI,
    cookie: HeaderValue,
}

type SignInAnswer<T> = Result<T, ClientError>;

impl SignInClient {
    /// A client of the admin API at `address`; connects to nothing yet. A password goes over plain http to another machine only where
    /// `allow_http` says so.
    pub(in crate::cli) fn new(address: &str, allow_http: bool, connect: &ConnectArgs) -> SignInAnswer<Self> {
        let base = address::parse(address, "http://127.0.0.1:8089")?;
        if address::is_open_to_others(&base) && !allow_http {
            return Err(ClientError::OpenToOthers { origin: address::origin(&base) });
        }
        Ok(Self { http: ServerHttp::new(base, connect)? })
    }

    pub(in crate::cli) async fn ways(&self) -> SignInAnswer<LoginWays> {
        self.exchange(self.http.request(Method::GET, path::LOGIN, "")?).await
    }

    pub(in crate::cli) async fn start_device(&self, provider: &str) -> SignInAnswer<StartedDevice> {
        self.exchange(self.http.request(Method::POST, path::LOGIN_DEVICE, provider)?).await
    }

    pub(in crate::cli) async fn poll_device(&self, provider: &str, handle: &str) -> SignInAnswer<PolledDevice> {
        let request = self.http.request(Method::POST, path::LOGIN_DEVICE_POLL, provider)?;
        self.exchange(with_json(request, &PollDevice { handle: handle.to_owned() })?).await
    }

    pub(in crate::cli) async fn sign_in(&self, asked: &SignIn) -> SignInAnswer<OpenedSession> {
        let request = with_json(self.http.request(Method::POST, path::LOGIN, "")?, asked)?;
        let mut answer = self.http.send(request, ANSWER_TIME_MAX).await?;
        let cookie = answer.cookie.take();
        let who = self.understood(answer)?;
        let missing = || ClientError::Answer { origin: self.http.origin(), problem: "it has no session".to_owned() };
        Ok(OpenedSession { who, cookie: cookie.ok_or_else(missing)? })
    }

    /// Makes a token in a workspace for whose session it is.
    pub(in crate::cli) async fn create_token(
        &self,
        session: &OpenedSession,
        workspace: &str,
        asked: &CreateToken,
    ) -> SignInAnswer<CreatedToken> {
        let query = WorkspaceQuery { workspace: Some(workspace.to_owned()) };
        let request = with_json(self.http.query(Method::POST, (path::TOKENS, ""), &query)?, asked)?;
        self.exchange(self.with_session(request, session)).await
    }

    pub(in crate::cli) async fn end(&self, session: &OpenedSession) -> SignInAnswer<SignedOut> {
        let request = self.http.request(Method::DELETE, path::SESSION, "")?;
        self.exchange(self.with_session(request, session)).await
    }

    /// A session changes something only for pages of the server itself, and says so.
    fn with_session(&self, request: RequestBuilder, session: &OpenedSession) -> RequestBuilder {
        request.header(COOKIE, session.cookie.clone()).header(ORIGIN, self.http.origin())
    }

    async fn exchange<T: DeserializeOwned>(&self, request: RequestBuilder) -> SignInAnswer<T> {
        self.understood(self.http.send(request, ANSWER_TIME_MAX).await?)
    }

    fn understood<T: DeserializeOwned>(&self, answer: ServerAnswer) -> SignInAnswer<T> {
        understood(answer, &self.http)
    }
}

fn with_json(request: RequestBuilder, asked: &impl Serialize) -> SignInAnswer<RequestBuilder> {
    let body = serde_json::to_vec(asked).map_err(|error| ClientError::Setup(error.to_string()))?;
    Ok(request.header(CONTENT_TYPE, "application/json").body(body))
}
