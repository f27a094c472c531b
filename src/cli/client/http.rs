//! One exchange with a server, bounded in time and size.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response};
use tidegate_net::WebSettings;
use url::Url;

use super::address::{self, ConnectArgs};
use super::error::ClientError;
use crate::config;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// The server itself waits for at most 25 seconds before it answers.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(40);
/// A listing of thousands of versions has some megabytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Connections to one server. Clones share them.
#[derive(Clone)]
pub(super) struct ServerHttp {
    client: Client,
    base: Url,
}

/// What came back.
#[derive(Debug)]
pub(in crate::cli) struct ServerAnswer {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) retry_after: Option<Duration>,
    pub(in crate::cli) body: Bytes,
    /// Where a redirect points to; it is not followed.
    pub(super) location: Option<String>,
    /// The first cookie that it sets, as it is sent back; it never prints.
    pub(super) cookie: Option<HeaderValue>,
}

/// How long an answer that goes on may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An answer that goes on.
pub(in crate::cli) struct ServerStream {
    response: Response,
    origin: String,
}

impl ServerStream {
    /// The next piece; `None` at the end.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| ClientError::of(&error, self.origin.clone(), SILENCE_MAX)),
            Err(_) => Err(ClientError::TimedOut { origin: self.origin.clone(), limit: SILENCE_MAX }),
        }
    }
}

/// The value of an `Authorization` header, which never prints.
pub(super) fn credentials(text: String) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

impl ServerHttp {
    /// Makes a client; connects to nothing yet.
    pub(super) fn new(base: Url, connect: &ConnectArgs) -> Result<Self, ClientError> {
        let settings = WebSettings { ca_file: connect.ca_file.clone(), proxies: config::proxies_of_environment()? };
        let client = match connect.own_certificate() {
            Some(own) => settings.client_with(&own)?,
            None => settings.client()?,
        };
        let client = client.connect_timeout(CONNECT_TIME_MAX).build();
        Ok(Self { client: client.map_err(|error| ClientError::Setup(error.to_string()))?, base })
    }

    /// A request to a path below the address; `parameter` takes the place of its `{..}`.
    pub(super) fn request(&self, method: Method, path: &str, parameter: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.client.request(method, address::join(&self.base, path, parameter)?))
    }

    /// The same with a query.
    pub(super) fn query(
        &self,
        method: Method,
        (path, parameter): (&str, &str),
        query: &impl serde::Serialize,
    ) -> Result<RequestBuilder, ClientError> {
        self.query_in(method, (path, parameter), query, None)
    }

    /// The same about an environment of the server.
    pub(super) fn query_in(
        &self,
        method: Method,
        (path, parameter): (&str, &str),
        query: &impl serde::Serialize,
        workspace: Option<&str>,
    ) -> Result<RequestBuilder, ClientError> {
        let mut url = address::join(&self.base, path, parameter)?;
        let query = serde_urlencoded::to_string(query).map_err(|error| ClientError::Setup(error.to_string()))?;
        url.set_query(Some(&query).filter(|query| !query.is_empty()).map(String::as_str));
        if let Some(workspace) = workspace {
            url.query_pairs_mut().append_pair("workspace", workspace);
        }
        Ok(self.client.request(method, url))
    }

    /// Sends a request and reads the whole answer, within `limit`.
    pub(super) async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<ServerAnswer, ClientError> {
        let failed = |error: reqwest::Error| ClientError::of(&error, self.origin(), limit);
        let response = request.timeout(limit).send().await.map_err(failed)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let location = header(LOCATION).map(str::to_owned);
        let set = response.headers().get_all(SET_COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pair = set.filter_map(|text| text.split(';').next()).find(|pair| !pair.ends_with('='));
        let mut cookie = pair.and_then(|pair| HeaderValue::try_from(pair).ok());
        if let Some(cookie) = &mut cookie {
            cookie.set_sensitive(true);
        }
        let status = response.status().as_u16();
        Ok(ServerAnswer { status, retry_after, location, cookie, body: self.body(response, limit).await? })
    }

    /// Sends a request whose answer goes on; where the server says no, that answer whole.
    pub(super) async fn begin(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<Result<ServerStream, ServerAnswer>, ClientError> {
        let late = |_| ClientError::TimedOut { origin: self.origin(), limit };
        let sent = tokio::time::timeout(limit, request.send()).await.map_err(late)?;
        let response = sent.map_err(|error| ClientError::of(&error, self.origin(), limit))?;
        if response.status().is_success() {
            return Ok(Ok(ServerStream { response, origin: self.origin() }));
        }
        let status = response.status().as_u16();
        let body = self.body(response, limit).await?;
        Ok(Err(ServerAnswer { status, retry_after: None, location: None, cookie: None, body }))
    }

    async fn body(&self, mut response: Response, limit: Duration) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| ClientError::of(&error, self.origin(), limit))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let problem = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(ClientError::Answer { origin: self.origin(), problem });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Which server it is.
    pub(super) fn origin(&self) -> String {
        address::origin(&self.base)
    }
}
