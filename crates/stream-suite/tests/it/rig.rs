//! A far side in memory, with a ledger or without.

use std::sync::Arc;

use tidegate_stream::StreamTarget;
use tidegate_stream_suite::{MemoryStream, MemoryTarget, StreamRig};

pub struct MemoryRig<const KEEPS_LEDGER: bool>(MemoryStream);

impl<const KEEPS_LEDGER: bool> StreamRig for MemoryRig<KEEPS_LEDGER> {
    async fn new() -> Result<Self, String> {
        Ok(Self(MemoryStream::default()))
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::new(MemoryTarget { stream: self.0.clone(), keeps_ledger: KEEPS_LEDGER })
    }

    fn topic(&self) -> String {
        "events".to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("no topic".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        self.0.payloads("events")
    }
}
