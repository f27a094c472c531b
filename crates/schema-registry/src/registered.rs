//! The schemas that messages name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_event::value::JsonObject;
use tidegate_message::{
    MessageMapping, MessageSchema, SchemaAnswer, SchemaFetchError, SchemaId, SchemaRegistry, UpstreamMessage,
};
use tidegate_stream::{StreamError, StreamMessage};

use super::http::HttpSchemaRegistry;
use super::kept::KeptSchemas;
use super::references::gather;
use super::settings::SchemaRegistrySettings;

/// The schemas of a registry, as far as messages have named them.
pub struct RegisteredSchemas {
    registry: Box<dyn SchemaRegistry>,
    kept: Mutex<KeptSchemas>,
}

/// What became of looking for the schemas of some messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaAnswers(BTreeMap<SchemaId, SchemaAnswer>);

impl SchemaAnswers {
    /// The answer that [`MessageMapping::map_by`] takes for a message; none where it needs no schema.
    #[must_use]
    pub fn of(&self, mapping: &MessageMapping, message: &UpstreamMessage<'_>) -> Option<&SchemaAnswer> {
        self.0.get(&mapping.needs(message)?)
    }
}

impl RegisteredSchemas {
    /// For the registry of these settings. Connects to nothing yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn open(settings: &SchemaRegistrySettings) -> Result<Self, StreamError> {
        let registry = HttpSchemaRegistry::new(settings).map_err(stream_error)?;
        Ok(Self::of(Box::new(registry)))
    }

    /// For any registry.
    #[must_use]
    pub fn of(registry: Box<dyn SchemaRegistry>) -> Self {
        Self { registry, kept: Mutex::default() }
    }

    /// The schemas that messages name. It waits for the registry.
    ///
    /// # Errors
    /// The registry is away, or does not let us in. The messages are then to be read again.
    pub async fn of_messages(
        &self,
        mapping: &MessageMapping,
        messages: &[StreamMessage],
        now: Instant,
    ) -> Result<SchemaAnswers, StreamError> {
        let mut answers = SchemaAnswers::default();
        for message in messages {
            let Some(id) = needed(mapping, message).filter(|id| !answers.0.contains_key(id)) else { continue };
            let answer = self.find(id, now).await.map_err(stream_error)?;
            answers.0.insert(id, answer);
        }
        Ok(answers)
    }

    /// The schema of an id. It waits for the registry unless the answer is at hand.
    ///
    /// # Errors
    /// The registry is away, or does not let us in.
    pub async fn find(&self, id: SchemaId, now: Instant) -> Result<SchemaAnswer, SchemaFetchError> {
        let kept = self.kept.lock().get(id, now);
        if let Some(answer) = kept {
            return Ok(answer);
        }
        let answer = match self.fetched(id).await {
            Ok(schema) => SchemaAnswer::Found(Arc::new(schema)),
            Err(SchemaFetchError::Unusable(reason)) => SchemaAnswer::Unusable(reason.into()),
            Err(other) => return Err(other),
        };
        self.kept.lock().put(id, answer.clone(), now);
        Ok(answer)
    }

    /// Whether the registry can be read: what was found, one sentence each.
    ///
    /// # Errors
    /// It is away, or does not let us in.
    pub async fn check(&self) -> Result<Vec<String>, StreamError> {
        self.registry.check().await.map_err(stream_error)
    }

    async fn fetched(&self, id: SchemaId) -> Result<MessageSchema, SchemaFetchError> {
        // Registries count with a sign. To another number they answer as a server of something else does, and any five bytes may name one.
        if i32::try_from(id.0).is_err() {
            return Err(SchemaFetchError::Unusable(format!("no registry has a schema with the id {id}")));
        }
        let schema = self.registry.schema(id).await?;
        let (schema, referenced) = gather(&*self.registry, schema).await?;
        MessageSchema::of_registry(&schema, &referenced).map_err(SchemaFetchError::Unusable)
    }
}

impl fmt::Debug for RegisteredSchemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredSchemas").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// The schema that a message names.
fn needed(mapping: &MessageMapping, message: &StreamMessage) -> Option<SchemaId> {
    // Where it is says nothing about that.
    let meta = JsonObject::new();
    let bytes = message.payload.as_deref()?;
    let headers = &message.headers;
    mapping.needs(&UpstreamMessage { bytes, content_type: "", headers, meta: &meta, is_http: false, position: "" })
}

fn stream_error(error: SchemaFetchError) -> StreamError {
    match error {
        SchemaFetchError::Away(reason) | SchemaFetchError::Unusable(reason) => StreamError::Retry(reason),
        SchemaFetchError::Refused { reason, advice } => StreamError::Stop { reason, advice },
    }
}
