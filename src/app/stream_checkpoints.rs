//! Positions of streams whose carriers keep none, in the state; or in leases, where servers share them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_process::telemetry::with_causes;
use tidegate_state::{State, StateError};
use tidegate_stream::{ShardLeases, StreamCheckpoints, StreamError};

use super::shared_leases::EnvironmentLeases;

/// Those of one source. The state is opened when it is first asked for.
pub(super) struct StateCheckpoints {
    path: PathBuf,
    source: String,
    leases: Option<EnvironmentLeases>,
    state: Mutex<Option<State>>,
}

impl StateCheckpoints {
    pub(super) fn new(path: PathBuf, source: &str, leases: Option<EnvironmentLeases>) -> Self {
        Self { path, source: source.to_owned(), leases, state: Mutex::new(None) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T, StateError>) -> Result<T, StreamError> {
        let mut opened = self.state.lock();
        let done = match &mut *opened {
            Some(state) => work(state),
            closed => State::open(&self.path).and_then(|state| work(closed.insert(state))),
        };
        done.map_err(|error| match &error {
            StateError::Damaged { .. } => {
                let advice =
                    "put a backup of the state back, or start with `tidegate serve --rebuild-state`".to_owned();
                StreamError::Stop { reason: with_causes(&error), advice }
            }
            _ => StreamError::Retry(with_causes(&error)),
        })
    }
}

impl StreamCheckpoints for StateCheckpoints {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        self.with(|state| state.stream_positions(&self.source))
    }

    fn save(&self, changed: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        self.with(|state| state.keep_stream_positions(&self.source, changed))
    }

    fn leases(&self, topic: &str) -> Option<Arc<dyn ShardLeases>> {
        Some(self.leases.as_ref()?.of_topic(&self.source, topic))
    }
}
