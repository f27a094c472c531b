//! A source of Pub/Sub: which subscriptions are read.

use std::sync::Arc;

use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin, StreamReader, StreamReply};

use crate::connection::PubsubConnection;
use crate::error::{READING, ROLE_OF_READERS, stream_error};
use crate::grpc::{GrpcClient, GrpcCode, GrpcError};
use crate::permissions::may;
use crate::proto::SubscriptionAnswer;
use crate::reader::PubsubReader;
use crate::subscription::{PulledSubscription, SubscriptionSettings, look};

const CONSUME: &str = "pubsub.subscriptions.consume";

/// Subscriptions that are read.
#[derive(Debug, Clone)]
pub struct PubsubOrigin {
    pub connection: PubsubConnection,
    /// At least one: names in the project, or whole ones (`projects/P/subscriptions/S`).
    pub subscriptions: Vec<String>,
}

impl PubsubOrigin {
    async fn reader(&self) -> Result<Box<dyn StreamReader>, StreamError> {
        let client = Arc::new(self.connection.connect()?);
        let mut subscriptions = Vec::with_capacity(self.subscriptions.len());
        let mut stopped = Vec::new();
        for short in &self.subscriptions {
            let name = self.connection.subscription_name(short);
            let settings = match self.found(&client, &name).await {
                Ok(settings) => settings,
                // The others are read all the same; of this one the pulls will tell.
                Err(error @ StreamError::Stop { .. }) => {
                    stopped.push(error);
                    None
                }
                Err(error) => return Err(error),
            };
            subscriptions.push(PulledSubscription {
                client: Arc::clone(&client),
                short: short.as_str().into(),
                name,
                settings: settings.as_ref().map_or(SubscriptionSettings::UNKNOWN, SubscriptionSettings::of),
            });
        }
        if stopped.len() == subscriptions.len()
            && let Some(error) = stopped.pop()
        {
            return Err(error);
        }
        Ok(Box::new(PubsubReader::begin(self.connection.place(), subscriptions)))
    }

    /// What upstream says of a subscription; none where the reader may not look at it, which it needs not.
    async fn found(&self, client: &GrpcClient, name: &str) -> Result<Option<SubscriptionAnswer>, StreamError> {
        let place = self.connection.place();
        let answer = match look(client, name).await {
            Ok(answer) => answer,
            Err(GrpcError::Status { code: GrpcCode::PermissionDenied, .. }) => return Ok(None),
            Err(error) => return Err(stream_error(&place, name, &error, READING)),
        };
        let pushes_to = answer.push_config.as_ref().map(|push| push.push_endpoint.as_str()).unwrap_or_default();
        if !pushes_to.is_empty() || answer.detached {
            let why = if answer.detached { "is detached from its topic" } else { "pushes its messages elsewhere" };
            let advice = "make another subscription of the topic, one that is pulled: `gcloud pubsub subscriptions create SUBSCRIPTION --topic=TOPIC`";
            return Err(StreamError::Stop { reason: format!("{place}: {name} {why}"), advice: advice.to_owned() });
        }
        Ok(Some(answer))
    }

    async fn see(&self) -> Result<Vec<String>, StreamError> {
        let client = self.connection.connect()?;
        let mut said = Vec::new();
        for short in &self.subscriptions {
            let name = self.connection.subscription_name(short);
            let found = self.found(&client, &name).await?;
            let may_read = may(&client, &name, CONSUME).await;
            if may_read == Some(false) {
                let reason = format!("{}: {name} may not be read", self.connection.place());
                return Err(StreamError::Stop { reason, advice: ROLE_OF_READERS.to_owned() });
            }
            said.push(match found {
                Some(answer) => described(short, &answer),
                None => {
                    let whether = if may_read.is_some() { "may be read" } else { "is perhaps to be read" };
                    format!(
                        "subscription {short} {whether}, and not looked at: it is read as one with ordering; \
                         with the role roles/pubsub.viewer more is read at once"
                    )
                }
            });
        }
        Ok(said)
    }
}

fn described(short: &str, answer: &SubscriptionAnswer) -> String {
    let settings = SubscriptionSettings::of(answer);
    let on = |is_on: bool| if is_on { "on" } else { "off" };
    let kept = if settings.keeps_acknowledged { "are kept" } else { "are not kept" };
    format!(
        "subscription {short} has the messages of {}: ack deadline {} seconds, ordering {}, exactly-once delivery {}; \
         acknowledged messages {kept}",
        answer.topic,
        settings.deadline_seconds,
        on(settings.is_ordered),
        on(settings.is_exactly_once),
    )
}

impl StreamOrigin for PubsubOrigin {
    fn kind(&self) -> &'static str {
        "pubsub"
    }

    fn place(&self) -> String {
        self.connection.place()
    }

    /// A subscription gives each message to one of those who pull it.
    fn shared_reads(&self) -> Vec<String> {
        let place = self.connection.place();
        let of_all =
            |short: &String| format!("the subscription {} of {place}", self.connection.subscription_name(short));
        self.subscriptions.iter().map(of_all).collect()
    }

    /// The subscription keeps what was acknowledged.
    fn open(&self, _: &str, _: Arc<dyn StreamCheckpoints>) -> StreamReply<'_, Box<dyn StreamReader>> {
        Box::pin(self.reader())
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.see())
    }
}
