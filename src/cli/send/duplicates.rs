//! How many of the events that were sent the server knew already: it says so in its state, and not at the door.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_log as intake;
use tidegate_state::State;
use tokio::time::Instant;

use crate::app::paths;
use crate::config::Outline;

/// A server that has not refined everything by then says nothing of duplicates.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what was there before anything is sent: it is counted first, else it would be taken for what is sent now.
const PATIENCE_BEFORE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A source of a server whose data directory is here.
pub(super) struct Duplicates {
    data: PathBuf,
    source: String,
    before: DuplicateCount,
}

/// Duplicates of a source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DuplicateCount {
    pub(super) all: u64,
    /// Those of events that were in quarantine, and stay there.
    pub(super) quarantined: u64,
}

impl Duplicates {
    /// Reads where the count of the source stands; the first source unless one is named.
    pub(super) async fn count_from_here(outline: &Outline, source: Option<&str>) -> Option<Self> {
        let source = source.or_else(|| outline.sources.keys().next().map(String::as_str))?.to_owned();
        let mut duplicates = Self { data: outline.data.clone(), source, before: DuplicateCount::default() };
        // A server that has not started yet has counted nothing.
        if duplicates.state().is_some() {
            duplicates.before = duplicates.count(PATIENCE_BEFORE).await?;
        }
        Some(duplicates)
    }

    /// How many there are since. `None` when the server does not say so in time, or nothing of it can be read from here.
    pub(super) async fn since(&self) -> Option<DuplicateCount> {
        let counted = self.count(PATIENCE).await?;
        Some(DuplicateCount {
            all: counted.all.saturating_sub(self.before.all),
            quarantined: counted.quarantined.saturating_sub(self.before.quarantined),
        })
    }

    /// How many there are, once the server has looked at all that is in its log now.
    async fn count(&self, patience: Duration) -> Option<DuplicateCount> {
        let log = paths::log(&self.data);
        let ends =
            (0..intake::partitions_in(&log)).map(|partition| intake::end(&intake::partition_dir(&log, partition)));
        let ends: Vec<u64> = ends.collect::<Result<_, _>>().ok()?;
        let until = Instant::now() + patience;
        loop {
            let mut state = self.state()?;
            let mut is_refined = true;
            for (partition, end) in (0..).zip(&ends) {
                state = state.of_partition(partition);
                is_refined &= state.refined_to().ok()? >= *end;
            }
            if is_refined {
                return self.counted(&state);
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn state(&self) -> Option<State> {
        State::read(&paths::state(&self.data)).ok()
    }

    fn counted(&self, state: &State) -> Option<DuplicateCount> {
        let counters = state.counters().ok()?;
        let count = |wanted: &str| {
            let is_it = |(scope, name, _): &&(String, String, u64)| *scope == self.source && name == wanted;
            counters.iter().find(is_it).map_or(0, |(.., count)| *count)
        };
        Some(DuplicateCount { all: count("duplicates"), quarantined: count("duplicates of quarantined") })
    }
}
