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
    before: u64,
}

impl Duplicates {
    /// Reads where the count of the source stands; the first source unless one is named.
    pub(super) async fn count_from_here(outline: &Outline, source: Option<&str>) -> Option<Self> {
        let source = source.or_else(|| outline.sources.keys().next().map(String::as_str))?.to_owned();
        let mut duplicates = Self { data: outline.data.clone(), source, before: 0 };
        // A server that has not started yet has counted nothing.
        if duplicates.state().is_some() {
            duplicates.before = duplicates.count(PATIENCE_BEFORE).await?;
        }
        Some(duplicates)
    }

    /// How many there are since. `None` when the server does not say so in time, or nothing of it can be read from here.
    pub(super) async fn since(&self) -> Option<u64> {
        self.count(PATIENCE).await.map(|counted| counted.saturating_sub(self.before))
    }

    /// How many there are, once the server has looked at all that is in its log now.
    async fn count(&self, patience: Duration) -> Option<u64> {
        let end = intake::end(&paths::log(&self.data)).ok()?;
        let until = Instant::now() + patience;
        loop {
            let state = self.state()?;
            if state.refined_to().ok()? >= end {
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

    fn counted(&self, state: &State) -> Option<u64> {
        let counters = state.counters().ok()?;
        let of_source = |(scope, name, _): &&(String, String, u64)| *scope == self.source && name == "duplicates";
        Some(counters.iter().find(of_source).map_or(0, |(.., count)| *count))
    }
}
