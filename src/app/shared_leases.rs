//! Leases of shards in the database that `leases` of `tidegate.yaml` names, for the streams of all environments of this server.

use std::sync::Arc;
use std::time::Duration;

use tidegate_catalog::{LeaseTable, LeasedStream, PostgresCatalog, StreamLeases};
use tidegate_process::clock;
use tidegate_stream::{LeaseHolder, ShardLeases};

use crate::config::LeaseSettings;

/// Digits of an id that people see of a server without a name.
const SHOWN_DIGITS: usize = 8;
/// The times in a lease time for which a server may hold others up.
const SILENCES: u32 = 3;

/// The database, which all environments have in common. It is first asked when a stream is read.
#[derive(Debug, Clone)]
pub(super) struct SharedLeases {
    table: Arc<LeaseTable>,
    lease_time: Duration,
    name: Option<String>,
}

/// The leases of an environment, whose data directory is the holder.
#[derive(Debug, Clone)]
pub(super) struct EnvironmentLeases {
    shared: SharedLeases,
    environment: String,
    holder: LeaseHolder,
}

impl SharedLeases {
    pub(super) fn new(settings: &LeaseSettings) -> Self {
        let LeaseSettings { database, lease_time, name } = settings.clone();
        // One that stands still while it writes must not cost the others their leases.
        let database = PostgresCatalog::new(database).with_silence_max(lease_time / SILENCES);
        let table = LeaseTable::new(Arc::new(database), clock::now_us);
        Self { table: Arc::new(table), lease_time, name }
    }

    /// Those of an environment, whose data directory has this id.
    pub(super) fn of_environment(&self, environment: &str, data_id: &str) -> EnvironmentLeases {
        let name = self.name.clone().unwrap_or_else(|| data_id.chars().take(SHOWN_DIGITS).collect());
        let holder = LeaseHolder { id: data_id.to_owned(), name };
        EnvironmentLeases { shared: self.clone(), environment: environment.to_owned(), holder }
    }
}

impl EnvironmentLeases {
    /// Those of a topic of a source.
    pub(super) fn of_topic(&self, source: &str, topic: &str) -> Arc<dyn ShardLeases> {
        Arc::new(StreamLeases {
            table: Arc::clone(&self.shared.table),
            stream: LeasedStream {
                workspace: self.environment.clone(),
                source: source.to_owned(),
                topic: topic.to_owned(),
            },
            holder: self.holder.clone(),
            lease_time: self.shared.lease_time,
        })
    }
}
