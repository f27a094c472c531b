//! The port that takes events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::address::{self, ConnectArgs};
use super::error::ClientError;
use super::http::{ANSWER_TIME_MAX, ServerAnswer, ServerHttp, credentials};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Somebody with the write key of a source. Clones share their connections.
#[derive(Clone)]
pub(in crate::cli) struct IngestClient {
    http: ServerHttp,
    authorization: HeaderValue,
}

impl IngestClient {
    /// A client of the server at `address`; connects to nothing yet.
    pub(in crate::cli) fn new(address: &str, write_key: &str, connect: &ConnectArgs) -> Result<Self, ClientError> {
        let base = address::parse(address, "http://127.0.0.1:8080")?;
        // Base64 is visible ASCII, whatever the key is.
        let authorization = credentials(format!("Basic {}", STANDARD.encode(format!("{write_key}:"))))?;
        Ok(Self { http: ServerHttp::new(base, connect)?, authorization })
    }

    /// Posts a batch with the write key in a header, as the server SDKs do.
    pub(in crate::cli) async fn batch(&self, body: Bytes) -> Result<ServerAnswer, ClientError> {
        self.with_key("/v1/batch", &[JSON], body).await
    }

    /// Posts a body as some SDK does: its path, its headers, the write key in a header.
    pub(in crate::cli) async fn with_key(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<ServerAnswer, ClientError> {
        self.post(path, headers, body, true).await
    }

    /// The same with the write key in the body.
    pub(in crate::cli) async fn without_key(&self, path: &str, body: Bytes) -> Result<ServerAnswer, ClientError> {
        self.post(path, &[JSON], body, false).await
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        has_key: bool,
    ) -> Result<ServerAnswer, ClientError> {
        let mut request = self.http.request(Method::POST, path, "")?;
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if has_key {
            request = request.header(AUTHORIZATION, self.authorization.clone());
        }
        self.http.send(request.body(body), ANSWER_TIME_MAX).await
    }
}
