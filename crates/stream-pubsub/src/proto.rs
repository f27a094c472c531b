//! The messages of Pub/Sub's interface `google.pubsub.v1` that are used here, with the fields that are used: what is left out is passed over
//! when it is read. The numbers are those of Google's `pubsub.proto`.

use std::collections::BTreeMap;

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PubsubMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) attributes: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(crate) message_id: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) publish_time: Option<ProtoTimestamp>,
    #[prost(string, tag = "5")]
    pub(crate) ordering_key: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ProtoTimestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl ProtoTimestamp {
    /// Of microseconds since the Unix epoch.
    pub(crate) fn of_us(us: i64) -> Self {
        let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
        Self { seconds: us.div_euclid(1_000_000), nanos }
    }

    /// In microseconds since the Unix epoch.
    pub(crate) fn us(self) -> i64 {
        self.seconds.saturating_mul(1_000_000).saturating_add(i64::from(self.nanos) / 1_000)
    }
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ProtoDuration {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReceivedMessage {
    #[prost(string, tag = "1")]
    pub(crate) ack_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) message: Option<PubsubMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PullRequest {
    #[prost(string, tag = "1")]
    pub(crate) subscription: String,
    #[prost(int32, tag = "3")]
    pub(crate) max_messages: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PullResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) received_messages: Vec<ReceivedMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct AcknowledgeRequest {
    #[prost(string, tag = "1")]
    pub(crate) subscription: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) ack_ids: Vec<String>,
}

/// `ModifyAckDeadlineRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct DeadlineRequest {
    #[prost(string, tag = "1")]
    pub(crate) subscription: String,
    #[prost(int32, tag = "3")]
    pub(crate) ack_deadline_seconds: i32,
    #[prost(string, repeated, tag = "4")]
    pub(crate) ack_ids: Vec<String>,
}

/// With a time: the other target, a snapshot, is not used.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SeekRequest {
    #[prost(string, tag = "1")]
    pub(crate) subscription: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) time: Option<ProtoTimestamp>,
}

/// `GetSubscriptionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SubscriptionRequest {
    #[prost(string, tag = "1")]
    pub(crate) subscription: String,
}

/// `Subscription`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SubscriptionAnswer {
    #[prost(string, tag = "2")]
    pub(crate) topic: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) push_config: Option<PushAnswer>,
    #[prost(int32, tag = "5")]
    pub(crate) ack_deadline_seconds: i32,
    #[prost(bool, tag = "7")]
    pub(crate) retain_acked_messages: bool,
    #[prost(bool, tag = "10")]
    pub(crate) enable_message_ordering: bool,
    #[prost(bool, tag = "15")]
    pub(crate) detached: bool,
    #[prost(bool, tag = "16")]
    pub(crate) enable_exactly_once_delivery: bool,
    /// How long its topic keeps messages, where it does.
    #[prost(message, optional, tag = "17")]
    pub(crate) topic_message_retention_duration: Option<ProtoDuration>,
}

/// `PushConfig`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PushAnswer {
    #[prost(string, tag = "1")]
    pub(crate) push_endpoint: String,
}

/// `GetTopicRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TopicRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic: String,
}

/// `Topic`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TopicAnswer {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) messages: Vec<PubsubMessage>,
}

/// `PublishResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PublishAnswer {
    #[prost(string, repeated, tag = "1")]
    pub(crate) message_ids: Vec<String>,
}

/// `google.iam.v1.TestIamPermissionsRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PermissionsRequest {
    #[prost(string, tag = "1")]
    pub(crate) resource: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) permissions: Vec<String>,
}

/// `google.iam.v1.TestIamPermissionsResponse`: those of the request that whoever asked has.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PermissionsAnswer {
    #[prost(string, repeated, tag = "1")]
    pub(crate) permissions: Vec<String>,
}

/// `google.protobuf.Empty`, and what is looked at as little.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct EmptyAnswer {}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RpcDetail {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RpcErrorInfo {
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) metadata: BTreeMap<String, String>,
}
