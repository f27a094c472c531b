//! Calls of gRPC with one request and one answer, over HTTP/2: a frame of five bytes and a message each way, and a status in the trailers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;
use prost::Message;
use reqwest::Client;
use tidegate_net::trust::{RefusedCertificate, is_without_tls};
use tidegate_process::telemetry::with_causes;
use tidegate_stream::StreamError;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::token::TokenSource;

/// An answer beyond this is refused.
const ANSWER_BYTES_MAX: usize = 48 << 20;
/// Before a message: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;
/// Of what the far side says.
const SHOWN_CHARS_MAX: usize = 300;

/// A method that can be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GrpcMethod {
    /// `/package.Service/Method`.
    pub(crate) path: &'static str,
    /// The field of the request that says what it is about; Google routes by it.
    pub(crate) about: &'static str,
    /// From the request to the whole answer.
    pub(crate) time_max: Duration,
}

/// What the far side says of a call that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    FailedPrecondition,
    Unimplemented,
    Unauthenticated,
    /// Its number: the call may be tried again.
    Other(i32),
}

/// Why a call gave no answer.
#[derive(Debug, Clone)]
pub(crate) enum GrpcError {
    Status {
        code: GrpcCode,
        message: String,
        /// A `google.rpc.Status`, where there is one.
        details: Option<Bytes>,
    },
    /// There is no token, or the far side is not who it should be.
    Stream(StreamError),
    /// Nobody answered, or with something that is no gRPC.
    Away(String),
    TimedOut,
    TooLarge,
}

/// Calls methods at one place.
pub(crate) struct GrpcClient {
    client: Client,
    /// Scheme, host and port.
    base: String,
    tokens: Option<TokenSource>,
}

impl GrpcCode {
    const fn of(number: i32) -> Self {
        match number {
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            7 => Self::PermissionDenied,
            9 => Self::FailedPrecondition,
            12 => Self::Unimplemented,
            16 => Self::Unauthenticated,
            number => Self::Other(number),
        }
    }

    /// Of an answer that has no status of gRPC: a proxy's, mostly.
    const fn of_http(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            _ => Self::Other(14),
        }
    }
}

impl GrpcClient {
    pub(crate) fn new(client: Client, base: String, tokens: Option<TokenSource>) -> Self {
        Self { client, base, tokens }
    }

    /// Calls a method about `name`.
    ///
    /// # Errors
    /// There is no answer, or one that says no.
    pub(crate) async fn call<Q, A>(&self, method: GrpcMethod, name: &str, request: &Q) -> Result<A, GrpcError>
    where
        Q: Message,
        A: Message + Default,
    {
        let body = framed(request)?;
        let Some(tokens) = &self.tokens else {
            return self.send(method, name, body, None).await;
        };
        let token = tokens.token().await.map_err(GrpcError::Stream)?;
        let answer = self.send(method, name, body.clone(), Some(&token)).await;
        match answer {
            // It may have been revoked before its end.
            Err(GrpcError::Status { code: GrpcCode::Unauthenticated, .. }) => {
                tokens.forget(&token).await;
                let token = tokens.token().await.map_err(GrpcError::Stream)?;
                self.send(method, name, body, Some(&token)).await
            }
            answer => answer,
        }
    }

    async fn send<A: Message + Default>(
        &self,
        method: GrpcMethod,
        name: &str,
        body: Bytes,
        token: Option<&Arc<Zeroizing<String>>>,
    ) -> Result<A, GrpcError> {
        let about: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let mut request = self
            .client
            .post(format!("{}{}", self.base, method.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-accept-encoding", "identity")
            .header("grpc-timeout", format!("{}m", method.time_max.as_millis()))
            .header("x-goog-request-params", format!("{}={about}", method.about))
            .timeout(method.time_max)
            .body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token.as_str());
        }
        let response = request.send().await.map_err(away)?;
        let response = hyper::Response::<reqwest::Body>::from(response);
        let (head, mut body) = response.into_parts();
        let (mut bytes, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.map_err(away)?.into_data() {
                Ok(data) if bytes.len() + data.len() > ANSWER_BYTES_MAX => return Err(GrpcError::TooLarge),
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
            }
        }
        // An answer without a message has its status in its head.
        let said = trailers.as_ref().filter(|trailers| trailers.contains_key("grpc-status")).unwrap_or(&head.headers);
        match status(said) {
            Some(0) => unframed(bytes.freeze()),
            Some(number) => {
                Err(GrpcError::Status { code: GrpcCode::of(number), message: message(said), details: details(said) })
            }
            None if head.status.is_success() => {
                Err(GrpcError::Away("the answer has no status of gRPC; it was cut off, or is no gRPC".to_owned()))
            }
            None => Err(GrpcError::Status {
                code: GrpcCode::of_http(head.status.as_u16()),
                message: format!("it answers {} and is no gRPC", head.status.as_u16()),
                details: None,
            }),
        }
    }
}

fn framed(request: &impl Message) -> Result<Bytes, GrpcError> {
    let length = request.encoded_len();
    let mut body = BytesMut::with_capacity(FRAME_BYTES + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).map_err(|_| GrpcError::TooLarge)?);
    // The room is there.
    request.encode(&mut body).map_err(|error| GrpcError::Away(error.to_string()))?;
    Ok(body.freeze())
}

fn unframed<A: Message + Default>(mut bytes: Bytes) -> Result<A, GrpcError> {
    let no_message = || GrpcError::Away("the answer is no whole message".to_owned());
    if bytes.len() < FRAME_BYTES {
        return Err(no_message());
    }
    let is_compressed = bytes.get_u8() != 0;
    let length = bytes.get_u32();
    if is_compressed || usize::try_from(length).ok() != Some(bytes.len()) {
        return Err(no_message());
    }
    A::decode(bytes).map_err(|error| GrpcError::Away(format!("the answer cannot be read: {error}")))
}

fn status(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn message(headers: &HeaderMap) -> String {
    let text = headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    let text = percent_decode_str(text).decode_utf8_lossy();
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

fn details(headers: &HeaderMap) -> Option<Bytes> {
    let text = headers.get("grpc-status-details-bin")?.to_str().ok()?;
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok().map(Bytes::from)
}

fn away(error: reqwest::Error) -> GrpcError {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        return GrpcError::TimedOut;
    }
    let reason = with_causes(&error);
    let advice = match RefusedCertificate::in_causes(&error) {
        Some(refused) => Some(refused.advice("`ca_file`")),
        None if is_without_tls(&error) => {
            Some("its port speaks no TLS: write `endpoint: host:port` for an emulator, without https://".to_owned())
        }
        None => None,
    };
    match advice {
        Some(advice) => GrpcError::Stream(StreamError::Stop { reason, advice }),
        None => GrpcError::Away(reason),
    }
}
