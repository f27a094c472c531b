use std::sync::Arc;

use tidegate_stream::StreamTarget;
use tidegate_stream_suite::{StreamRig, stream_suite};

use crate::rig::{FakeCluster, TOPIC};

struct PlainKafka(FakeCluster);

impl StreamRig for PlainKafka {
    async fn new() -> Result<Self, String> {
        FakeCluster::start(false).await.map(Self)
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        self.0.target()
    }

    fn topic(&self) -> String {
        TOPIC.to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("no topic".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        self.0.payloads()
    }
}

stream_suite!(PlainKafka);
