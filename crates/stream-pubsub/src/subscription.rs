//! A subscription, and the calls about it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;

use crate::grpc::{GrpcClient, GrpcCode, GrpcError, GrpcMethod};
use crate::proto::{
    AcknowledgeRequest, DeadlineRequest, EmptyAnswer, ProtoTimestamp, PullRequest, PullResponse, RpcErrorInfo,
    RpcStatus, SeekRequest, SubscriptionAnswer, SubscriptionRequest,
};

const ABOUT: &str = "subscription";
const SHORT: Duration = Duration::from_secs(10);
/// Pub/Sub answers an empty pull after some time of its own; another one follows at once.
const PULL_TIME_MAX: Duration = Duration::from_secs(90);
/// Going to a time touches many messages.
const SEEK_TIME_MAX: Duration = Duration::from_secs(25);
/// Of one call: Pub/Sub takes requests of up to 512 KiB.
const ACK_IDS_MAX: usize = 1_000;
const ACK_BYTES_MAX: usize = 384 << 10;
/// What a subscription has at least.
const LEASE_SECONDS_MIN: i32 = 10;
/// With exactly-once delivery a lease that ends costs more: the message was perhaps in the log already.
const LEASE_SECONDS_EXACTLY_ONCE: i32 = 60;

const GET: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Subscriber/GetSubscription", about: ABOUT, time_max: SHORT };
const PULL: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Subscriber/Pull", about: ABOUT, time_max: PULL_TIME_MAX };
const ACKNOWLEDGE: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Subscriber/Acknowledge", about: ABOUT, time_max: SHORT };
const DEADLINE: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Subscriber/ModifyAckDeadline", about: ABOUT, time_max: SHORT };
const SEEK: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Subscriber/Seek", about: ABOUT, time_max: SEEK_TIME_MAX };

/// What is known of a subscription. It may be read by whoever may not look at it.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionSettings {
    /// How long a message is ours, before that is extended.
    pub(crate) deadline_seconds: i32,
    /// Messages of a key come in their order. Taken for so where it is not known.
    pub(crate) is_ordered: bool,
    pub(crate) is_exactly_once: bool,
    /// Messages that were acknowledged can be had again. Taken for so where it is not known.
    pub(crate) keeps_acknowledged: bool,
}

/// A subscription that is read.
pub(crate) struct PulledSubscription {
    pub(crate) client: Arc<GrpcClient>,
    /// As the settings of the source name it.
    pub(crate) short: Arc<str>,
    pub(crate) name: String,
    pub(crate) settings: SubscriptionSettings,
}

/// What became of the ack ids of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AckOutcome {
    /// Worth another try.
    pub(crate) again: Vec<String>,
    /// Their messages are not ours any more, and come again.
    pub(crate) lost: Vec<String>,
}

impl SubscriptionSettings {
    pub(crate) const UNKNOWN: Self = Self {
        deadline_seconds: LEASE_SECONDS_MIN,
        is_ordered: true,
        is_exactly_once: false,
        keeps_acknowledged: true,
    };

    pub(crate) fn of(answer: &SubscriptionAnswer) -> Self {
        Self {
            deadline_seconds: answer.ack_deadline_seconds.max(LEASE_SECONDS_MIN),
            is_ordered: answer.enable_message_ordering,
            is_exactly_once: answer.enable_exactly_once_delivery,
            keeps_acknowledged: answer.retain_acked_messages || answer.topic_message_retention_duration.is_some(),
        }
    }

    /// For how long a message is ours when that was extended.
    pub(crate) fn lease_seconds(&self) -> i32 {
        if self.is_exactly_once { self.deadline_seconds.max(LEASE_SECONDS_EXACTLY_ONCE) } else { self.deadline_seconds }
    }
}

/// What upstream says of a subscription.
pub(crate) async fn look(client: &GrpcClient, name: &str) -> Result<SubscriptionAnswer, GrpcError> {
    client.call(GET, name, &SubscriptionRequest { subscription: name.to_owned() }).await
}

impl PulledSubscription {
    /// Messages that are there, up to `messages_max`; none after some time.
    pub(crate) async fn pull(&self, messages_max: i32) -> Result<PullResponse, GrpcError> {
        let request = PullRequest { subscription: self.name.clone(), max_messages: messages_max };
        match self.client.call(PULL, &self.name, &request).await {
            Err(GrpcError::TimedOut | GrpcError::Status { code: GrpcCode::DeadlineExceeded, .. }) => {
                Ok(PullResponse::default())
            }
            answer => answer,
        }
    }

    /// Acknowledges a piece of [`pieces`].
    pub(crate) async fn acknowledge(&self, ack_ids: Vec<String>) -> Result<AckOutcome, GrpcError> {
        let request = AcknowledgeRequest { subscription: self.name.clone(), ack_ids };
        let answer: Result<EmptyAnswer, _> = self.client.call(ACKNOWLEDGE, &self.name, &request).await;
        outcome(answer, request.ack_ids)
    }

    /// Makes the messages of a piece of [`pieces`] ours for so long from now on; with 0 they are given back.
    pub(crate) async fn extend(&self, ack_ids: Vec<String>, seconds: i32) -> Result<AckOutcome, GrpcError> {
        let request = DeadlineRequest { subscription: self.name.clone(), ack_deadline_seconds: seconds, ack_ids };
        let answer: Result<EmptyAnswer, _> = self.client.call(DEADLINE, &self.name, &request).await;
        outcome(answer, request.ack_ids)
    }

    /// Everything that was published before that time counts as acknowledged, and what came later as not.
    pub(crate) async fn seek(&self, at_us: i64) -> Result<(), GrpcError> {
        let request = SeekRequest { subscription: self.name.clone(), time: Some(ProtoTimestamp::of_us(at_us)) };
        let _: EmptyAnswer = self.client.call(SEEK, &self.name, &request).await?;
        Ok(())
    }

    /// Gives messages back, so that they come again at once. Where that does not succeed they come again when their leases end.
    pub(crate) async fn give_back(&self, ack_ids: Vec<String>) {
        for piece in pieces(ack_ids) {
            if let Err(error) = self.extend(piece, 0).await {
                tracing::debug!(
                    subscription = self.name,
                    ?error,
                    "messages could not be given back; they come again later"
                );
                return;
            }
        }
    }
}

/// Ack ids in as many requests as they need.
pub(crate) fn pieces(ack_ids: Vec<String>) -> Vec<Vec<String>> {
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
    for ack_id in ack_ids {
        if piece.len() >= ACK_IDS_MAX || (bytes + ack_id.len() > ACK_BYTES_MAX && !piece.is_empty()) {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += ack_id.len();
        piece.push(ack_id);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// With exactly-once delivery an answer names the ack ids that did not succeed; those that it does not name did.
fn outcome(answer: Result<EmptyAnswer, GrpcError>, ack_ids: Vec<String>) -> Result<AckOutcome, GrpcError> {
    let error = match answer {
        Ok(_) => return Ok(AckOutcome::default()),
        Err(error) => error,
    };
    let GrpcError::Status { details: Some(details), .. } = &error else { return Err(error) };
    let mut outcome = AckOutcome::default();
    for detail in RpcStatus::decode(details.clone()).unwrap_or_default().details {
        if !detail.type_url.ends_with("/google.rpc.ErrorInfo") {
            continue;
        }
        for (ack_id, what) in RpcErrorInfo::decode(detail.value).unwrap_or_default().metadata {
            // Other pairs say of which service it is.
            if !ack_ids.contains(&ack_id) {
                continue;
            }
            if what.starts_with("TRANSIENT_FAILURE") {
                outcome.again.push(ack_id);
            } else if what.starts_with("PERMANENT_FAILURE") {
                outcome.lost.push(ack_id);
            }
        }
    }
    if outcome == AckOutcome::default() { Err(error) } else { Ok(outcome) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::RpcDetail;

    #[test]
    fn ack_ids_go_in_as_many_requests_as_they_need() {
        let ids = |count: usize, bytes: usize| vec!["i".repeat(bytes); count];
        let sizes = |ids: Vec<String>| pieces(ids).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(ids(0, 10)), [0_usize; 0]);
        assert_eq!(sizes(ids(2_001, 10)), [1_000, 1_000, 1]);
        assert_eq!(sizes(ids(3, ACK_BYTES_MAX / 2)), [2, 1]);
        assert_eq!(sizes(ids(1, ACK_BYTES_MAX * 2)), [1]);
    }

    #[test]
    fn with_exactly_once_delivery_what_an_answer_names_did_not_succeed_and_the_rest_did() {
        let metadata = [
            ("a", "PERMANENT_FAILURE_INVALID_ACK_ID"),
            ("b", "TRANSIENT_FAILURE_OTHER"),
            ("service", "pubsub.googleapis.com"),
        ];
        let metadata = metadata.map(|(name, what)| (name.to_owned(), what.to_owned())).into_iter().collect();
        let value = Bytes::from(RpcErrorInfo { metadata }.encode_to_vec());
        let type_url = "type.googleapis.com/google.rpc.ErrorInfo".to_owned();
        let details = RpcStatus { details: vec![RpcDetail { type_url, value }] }.encode_to_vec();
        let error = |details| GrpcError::Status {
            code: GrpcCode::FailedPrecondition,
            message: "some ack ids failed".to_owned(),
            details,
        };
        let ids = || ["a", "b", "c"].map(str::to_owned).to_vec();
        let outcome_of = outcome(Err(error(Some(Bytes::from(details)))), ids()).unwrap();
        assert_eq!(outcome_of, AckOutcome { again: vec!["b".to_owned()], lost: vec!["a".to_owned()] });
        assert!(outcome(Err(error(None)), ids()).is_err(), "nothing of it counts where nothing is named");
        assert_eq!(outcome(Ok(EmptyAnswer {}), ids()).unwrap(), AckOutcome::default());
    }
}
