//! A small HTTP client for the program's own use: one connection, one request at a time, plain HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A server to send to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    authority: String,
    write_key: String,
}

/// A connection to it.
pub(super) struct Client {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{url:?} is not the address of a server; write {usual}")]
    Url { url: String, usual: &'static str },
    #[error("{url:?}: https is not spoken; use a tunnel, e.g. ssh -L, or a port on this machine, and write {usual}")]
    Https { url: String, usual: &'static str },
    #[error("could not reach http://{authority}: {cause}; is `tidegate serve` running there?")]
    Connect { authority: String, cause: std::io::Error },
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("no answer within {} seconds", ANSWER_MAX.as_secs())]
    TimedOut,
}

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Target {
    /// A server that takes events.
    pub(super) fn new(url: &str, write_key: &str) -> Result<Self, Error> {
        Self::at(url, write_key, "http://127.0.0.1:8080")
    }

    /// The admin API of a server.
    pub(super) fn of_admin(url: &str) -> Result<Self, Error> {
        Self::at(url, "", "http://127.0.0.1:8089")
    }

    fn at(url: &str, write_key: &str, usual: &'static str) -> Result<Self, Error> {
        let wrong = || Error::Url { url: url.to_owned(), usual };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() == Some("https") {
            return Err(Error::Https { url: url.to_owned(), usual });
        }
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { authority, write_key: write_key.to_owned() })
    }
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Posts a body; headers come in pairs. Reconnects when the connection is gone.
    pub(super) async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, Error> {
        let mut request = Request::post(path).header(header::HOST, &self.target.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body))?).await
    }

    /// Asks for a path; headers come in pairs.
    pub(super) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        let mut request = Request::get(path).header(header::HOST, &self.target.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default())?).await
    }

    /// Posts a batch with the target's write key, as the server SDKs do.
    pub(super) async fn batch(&mut self, body: Bytes) -> Result<Answer, Error> {
        use base64::Engine as _;
        let pair = format!("{}:", self.target.write_key);
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        self.post("/v1/batch", &[("content-type", "application/json"), ("authorization", &basic)], body).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        let sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let sender = self.sender.insert(sender);
        sender.ready().await?;
        let answer = async {
            let reply = sender.send_request(request).await?;
            let status = reply.status().as_u16();
            let retry_after = reply.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let body = reply.into_body().collect().await?.to_bytes();
            Ok(Answer { status, retry_after, body })
        };
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or(Err(Error::TimedOut));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let authority = &self.target.authority;
        let failed = |cause| Error::Connect { authority: authority.clone(), cause };
        let stream = TcpStream::connect(authority.as_str()).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
