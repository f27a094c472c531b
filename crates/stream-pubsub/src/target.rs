//! A project whose topics messages go to.

use tidegate_stream::{StreamError, StreamReply, StreamTarget, StreamWriter};

use crate::connection::PubsubConnection;
use crate::error::{ROLE_OF_WRITERS, WRITING, stream_error};
use crate::grpc::{GrpcCode, GrpcError};
use crate::permissions::may;
use crate::writer::{PubsubWriter, look};

const PUBLISH: &str = "pubsub.topics.publish";

/// A project whose topics messages go to.
#[derive(Debug, Clone)]
pub struct PubsubTarget {
    pub connection: PubsubConnection,
    /// The key of a message becomes its ordering key. Batches then follow one another, so that none overtakes another.
    pub ordering: bool,
    /// Topics that are known to be written to, for a check.
    pub topics: Vec<String>,
}

impl PubsubTarget {
    async fn writer(&self) -> Result<Box<dyn StreamWriter>, StreamError> {
        let client = self.connection.connect()?;
        Ok(Box::new(PubsubWriter::new(client, self.connection.clone(), self.ordering)))
    }

    async fn see(&self) -> Result<Vec<String>, StreamError> {
        let client = self.connection.connect()?;
        let place = self.connection.place();
        let mut said = Vec::new();
        for topic in &self.topics {
            let name = self.connection.topic_name(topic);
            let found = look(&client, &name).await;
            if may(&client, &name, PUBLISH).await == Some(false) {
                let reason = format!("{place}: nothing may be published to {name}");
                return Err(StreamError::Stop { reason, advice: ROLE_OF_WRITERS.to_owned() });
            }
            said.push(match found {
                Ok(()) => format!("topic {topic} is there"),
                Err(GrpcError::Status { code: GrpcCode::PermissionDenied, .. }) => {
                    format!("topic {topic} may be written to, and not looked at")
                }
                Err(error) => return Err(stream_error(&place, &name, &error, WRITING)),
            });
        }
        if self.topics.is_empty() {
            said.push("which topics are written to depends on the events; none was looked at".to_owned());
        }
        let order = if self.ordering { "on: the messages of a key keep their order" } else { "off" };
        said.push(format!(
            "ordering is {order}; what is written again after an error has the same attribute messageId"
        ));
        Ok(said)
    }
}

impl StreamTarget for PubsubTarget {
    fn kind(&self) -> &'static str {
        "pubsub"
    }

    fn place(&self) -> String {
        self.connection.place()
    }

    /// Nothing is kept under a name there.
    fn open(&self, _: &str) -> StreamReply<'_, Box<dyn StreamWriter>> {
        Box::pin(self.writer())
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.see())
    }
}
