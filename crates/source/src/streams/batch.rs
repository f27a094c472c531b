//! A batch of messages on its way from upstream into the log.

use tidegate_log::Frames;
use tidegate_stream::StreamReceipt;
use tokio::task::JoinSet;

/// Batches that are on their way at once.
pub const BATCHES_MAX: usize = 8;
/// Nothing more is read while the messages on their way have so many bytes.
pub const BYTES_MAX: usize = 8 << 20;

/// Records that go to the log in one append.
pub(super) struct FramedAppend {
    /// Of each partition of the log.
    pub(super) parts: Vec<(u16, Frames)>,
    pub(super) events: u64,
    pub(super) bytes: usize,
    /// Of the records: those that are no events.
    pub(super) quarantined: u64,
}

/// What became of messages, in their order.
#[derive(Default)]
pub(super) struct FramedBatch {
    pub(super) appends: Vec<FramedAppend>,
    pub(super) skipped: u64,
}

/// A batch whose parts are being mapped; they go to the log in their order.
pub(super) struct MappingBatch {
    pub(super) receipt: StreamReceipt,
    pub(super) messages: u64,
    /// Of payloads, keys and headers.
    pub(super) bytes: usize,
    pub(super) parts: Vec<MappingPart>,
}

/// A part of a batch.
pub(super) enum MappingPart {
    Mapped(FramedBatch),
    /// One task, which ends with this.
    Running(JoinSet<Option<FramedBatch>>),
    /// What maps them has panicked.
    Lost,
}

impl MappingPart {
    /// What became of its messages; none when what maps them has panicked, or the runtime ends meanwhile.
    pub(super) async fn mapped(self) -> Option<FramedBatch> {
        match self {
            Self::Mapped(framed) => Some(framed),
            Self::Running(mut mapping) => mapping.join_next().await?.ok().flatten(),
            Self::Lost => None,
        }
    }
}

/// A batch that is durable in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AppendedBatch {
    pub(super) receipt: StreamReceipt,
    pub(super) messages: u64,
    pub(super) bytes: usize,
    pub(super) events: u64,
    pub(super) quarantined: u64,
    pub(super) skipped: u64,
}
