//! What the program counts and times where it happens, how Prometheus is told, and the spans of requests that are followed.
//!
//! Nouns: a **metric** (a name, a kind, labels and a sentence), a **series** (a metric with one value of each label), a **span** (a part of the way
//! of a request's events, with its beginning and its end).
//!
//! Guarantees:
//! * What is counted on the way of events costs a few relaxed additions for each batch, and none for each event.
//! * Labels are names of what a workspace has, numbers of partitions and fixed words: never names of events, nor anything of a user. A family
//!   has a bounded number of series; what is beyond counts under `other`.
//! * Spans wait in a bounded buffer. Nobody waits for whoever takes them; what does not fit is dropped and counted.
//!
//! This room does not know what an event is, nor where numbers go.

mod definitions;
mod engine;
mod series;
mod spans;
mod text;

pub use definitions::*;
pub use engine::{DestinationNumbers, EngineMetrics, EngineNumbers, IngestNumbers, SyncNumbers};
pub use series::{BUCKETS_US, Histogram, HistogramReading, SeriesFamily};
pub use spans::{FinishedSpan, SpanBoard, SpanCounts, SpanKind, SpanValue, TraceContext, TracedGroup};
pub use text::MetricsText;
