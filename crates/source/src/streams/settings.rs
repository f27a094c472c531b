//! How a stream source takes its messages.

use tidegate_message::{EventMapping, MappedField, MessageMapping, MessagePlace};
use tidegate_schema_registry::SchemaRegistrySettings;

/// What becomes of a message without a payload, which says that its key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TombstoneRule {
    /// It is quarantined like all that cannot be mapped.
    #[default]
    Quarantine,
    /// It is acknowledged, and counted.
    Skip,
}

impl TombstoneRule {
    /// The words of settings.
    pub const WORDS: [(&'static str, Self); 2] = [("quarantine", Self::Quarantine), ("skip", Self::Skip)];
}

/// How a stream source takes its messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSettings {
    pub mapping: MessageMapping,
    /// Headers that are kept with each event; their names in lower case.
    pub kept_headers: Vec<String>,
    pub tombstones: TombstoneRule,
    /// Where the schemas are that messages name.
    pub registry: Option<SchemaRegistrySettings>,
}

/// The mapping of a source that says nothing of it: what is an event already stays as it is, anything else becomes the properties of
/// an event that is named after its topic and happened when it was published.
#[must_use]
pub fn stream_mapping() -> MessageMapping {
    let meta = |name: &str| vec![MessagePlace::Meta(name.to_owned())];
    let fields = [(MappedField::Event, meta("topic")), (MappedField::Timestamp, meta("publishedAt"))];
    MessageMapping { pass_events: true, base: EventMapping::of(fields), ..MessageMapping::default() }
}
