//! A Pub/Sub within the process, as far as the tests need one: one subscription, one topic, and errors on demand.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::proto::{
    AcknowledgeRequest, DeadlineRequest, EmptyAnswer, ProtoTimestamp, PublishAnswer, PublishRequest, PubsubMessage,
    PullRequest, PullResponse, ReceivedMessage, RpcDetail, RpcErrorInfo, RpcStatus, SeekRequest, SubscriptionAnswer,
    SubscriptionRequest, TopicAnswer,
};

pub(super) const UNAVAILABLE: i32 = 14;
pub(super) const NOT_FOUND: i32 = 5;
pub(super) const PERMISSION_DENIED: i32 = 7;
pub(super) const FAILED_PRECONDITION: i32 = 9;
const INVALID_ARGUMENT: i32 = 3;
const UNIMPLEMENTED: i32 = 12;

/// A message of the subscription.
struct FakeMessage {
    id: String,
    key: String,
    deliveries: u32,
    is_leased: bool,
    is_acknowledged: bool,
}

/// An answer that says no.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) code: i32,
    /// Ack ids, and what became of each.
    pub(super) ack_ids: Vec<(String, &'static str)>,
}

#[derive(Default)]
pub(super) struct FakeState {
    messages: Vec<FakeMessage>,
    /// The next answers of a method, by the end of its path.
    refusals: VecDeque<(&'static str, Refusal)>,
    pub(super) subscription: SubscriptionAnswer,
    /// Ack ids of each call that acknowledged.
    pub(super) acknowledged: Vec<Vec<String>>,
    pub(super) given_back: Vec<String>,
    pub(super) seeks_us: Vec<i64>,
    pub(super) published: Vec<PublishRequest>,
    /// Subscriptions whose names end so are not there.
    pub(super) gone: Option<&'static str>,
    /// A message with this text is taken by nobody.
    pub(super) poison: Option<&'static str>,
}

pub(super) struct FakePubsub {
    pub(super) address: String,
    pub(super) state: Arc<Mutex<FakeState>>,
}

impl FakePubsub {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<Mutex<FakeState>> = Arc::default();
        let of_server = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&of_server);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, state }
    }

    /// Messages of these ids, each with this ordering key.
    pub(super) fn publish(&self, ids: &[&str], key: &str) {
        let message = |id: &&str| FakeMessage {
            id: (*id).to_owned(),
            key: key.to_owned(),
            deliveries: 0,
            is_leased: false,
            is_acknowledged: false,
        };
        self.state.lock().messages.extend(ids.iter().map(message));
    }

    /// The next call of this method is refused so.
    pub(super) fn refuse(&self, method: &'static str, refusal: Refusal) {
        self.state.lock().refusals.push_back((method, refusal));
    }

    /// All leases end.
    pub(super) fn expire(&self) {
        for message in &mut self.state.lock().messages {
            message.is_leased = false;
        }
    }

    /// Ids of messages that are not acknowledged.
    pub(super) fn open(&self) -> Vec<String> {
        let state = self.state.lock();
        let open = state.messages.iter().filter(|message| !message.is_acknowledged);
        open.map(|message| message.id.clone()).collect()
    }
}

impl Refusal {
    pub(super) fn of(code: i32) -> Self {
        Self { code, ack_ids: Vec::new() }
    }

    fn details(&self) -> Option<String> {
        if self.ack_ids.is_empty() {
            return None;
        }
        let metadata: BTreeMap<String, String> =
            self.ack_ids.iter().map(|(ack_id, what)| (ack_id.clone(), (*what).to_owned())).collect();
        let value = Bytes::from(RpcErrorInfo { metadata }.encode_to_vec());
        let detail = RpcDetail { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value };
        Some(STANDARD_NO_PAD.encode(RpcStatus { details: vec![detail] }.encode_to_vec()))
    }
}

impl FakeState {
    fn answer(&mut self, method: &str, body: Bytes) -> Result<Vec<u8>, Refusal> {
        let subscription = match method {
            "GetSubscription" => SubscriptionRequest::decode(body.clone()).unwrap().subscription,
            "Pull" => PullRequest::decode(body.clone()).unwrap().subscription,
            _ => String::new(),
        };
        if self.gone.is_some_and(|gone| subscription.ends_with(gone)) {
            return Err(Refusal::of(NOT_FOUND));
        }
        let refused = self.refusals.iter().position(|(of, _)| method == *of);
        let refusal = refused.and_then(|at| self.refusals.remove(at)).map(|(_, refusal)| refusal);
        // With a refusal that names ack ids the others are acknowledged.
        if let Some(refusal) = refusal.as_ref().filter(|refusal| refusal.ack_ids.is_empty()) {
            return Err(refusal.clone());
        }
        let answer = match method {
            "GetSubscription" => self.subscription.encode_to_vec(),
            "Pull" => self.pull(PullRequest::decode(body).unwrap().max_messages).encode_to_vec(),
            "Acknowledge" => {
                let asked = AcknowledgeRequest::decode(body).unwrap().ack_ids;
                let failed = refusal.as_ref().map(|refusal| refusal.ack_ids.clone()).unwrap_or_default();
                let is_taken = |ack_id: &&String| failed.iter().all(|(failed, _)| failed != *ack_id);
                let taken: Vec<String> = asked.iter().filter(is_taken).cloned().collect();
                for message in &mut self.messages {
                    let ack_id = format!("{}:{}", message.id, message.deliveries);
                    message.is_acknowledged |= taken.contains(&ack_id);
                }
                self.acknowledged.push(taken);
                EmptyAnswer {}.encode_to_vec()
            }
            "ModifyAckDeadline" => {
                let asked = DeadlineRequest::decode(body).unwrap();
                if asked.ack_deadline_seconds == 0 {
                    for message in &mut self.messages {
                        let ack_id = format!("{}:{}", message.id, message.deliveries);
                        message.is_leased &= !asked.ack_ids.contains(&ack_id);
                    }
                    self.given_back.extend(asked.ack_ids);
                }
                EmptyAnswer {}.encode_to_vec()
            }
            "Seek" => {
                let time = SeekRequest::decode(body).unwrap().time.unwrap();
                self.seeks_us.push(time.us());
                EmptyAnswer {}.encode_to_vec()
            }
            "GetTopic" => TopicAnswer { name: "t".to_owned() }.encode_to_vec(),
            "Publish" => {
                let request = PublishRequest::decode(body).unwrap();
                let is_poison = |message: &PubsubMessage| self.poison.is_some_and(|poison| message.data == poison);
                if request.messages.iter().any(is_poison) {
                    return Err(Refusal::of(INVALID_ARGUMENT));
                }
                let message_ids = (0..request.messages.len()).map(|number| number.to_string()).collect();
                self.published.push(request);
                PublishAnswer { message_ids }.encode_to_vec()
            }
            _ => return Err(Refusal::of(UNIMPLEMENTED)),
        };
        refusal.map_or(Ok(answer), Err)
    }

    fn pull(&mut self, messages_max: i32) -> PullResponse {
        let free = self.messages.iter_mut().filter(|message| !message.is_leased && !message.is_acknowledged);
        let deliver = |message: &mut FakeMessage| {
            (message.is_leased, message.deliveries) = (true, message.deliveries + 1);
            let pubsub = PubsubMessage {
                data: Bytes::from_static(b"{}"),
                attributes: [("Shop".to_owned(), "Berlin".to_owned())].into_iter().collect(),
                message_id: message.id.clone(),
                publish_time: Some(ProtoTimestamp { seconds: 1_700_000_000, nanos: 5_000 }),
                ordering_key: message.key.clone(),
            };
            ReceivedMessage { ack_id: format!("{}:{}", message.id, message.deliveries), message: Some(pubsub) }
        };
        let most = usize::try_from(messages_max).unwrap();
        PullResponse { received_messages: free.take(most).map(deliver).collect() }
    }
}

async fn answer(
    state: Arc<Mutex<FakeState>>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    // Whoever asked may be gone.
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::new(Full::new(Bytes::new()).boxed()));
    };
    let body = body.to_bytes().slice(5..);
    let method = path.rsplit('/').next().unwrap();
    let answer = state.lock().answer(method, body);
    let (mut frame, mut trailers) = (BytesMut::new(), HeaderMap::new());
    match answer {
        Ok(message) => {
            frame.put_u8(0);
            frame.put_u32(u32::try_from(message.len()).unwrap());
            frame.extend_from_slice(&message);
            trailers.insert("grpc-status", HeaderValue::from(0_i32));
        }
        Err(refusal) => {
            trailers.insert("grpc-status", HeaderValue::from(refusal.code));
            trailers.insert("grpc-message", HeaderValue::from_static("not%20now"));
            if let Some(details) = refusal.details() {
                trailers.insert("grpc-status-details-bin", HeaderValue::from_str(&details).unwrap());
            }
        }
    }
    let body = Full::new(frame.freeze()).with_trailers(ready(Some(Ok(trailers)))).boxed();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}
