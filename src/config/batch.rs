//! `batch` of a sync or of a destination plugin.

use std::time::Duration;

use tidegate_document::fields::Fields;

/// A batch is held in memory.
const BATCH_EVENTS_MAX: i64 = 10_000_000;
const BATCH_BYTES_MAX: u64 = 4 << 30;

/// When a batch is large or old enough; what is not said is the destination's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchConfig {
    pub events_max: Option<usize>,
    pub bytes_max: Option<usize>,
    pub age_max: Option<Duration>,
}

impl BatchConfig {
    /// Reads `batch`, which need not be there.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let read = |f: &mut Fields<'_>| Self {
            events_max: f.number_up_to("events_max", 1, BATCH_EVENTS_MAX),
            bytes_max: f.bytes_up_to("bytes_max", BATCH_BYTES_MAX),
            age_max: f.duration("age_max"),
        };
        fields.within("batch", read).unwrap_or_default()
    }
}
