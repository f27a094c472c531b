//! Whether what is live fails most of its events: said by `push`, which looks for a moment, and by `versions`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::session::AdminSession;
use super::shown::Shown;
use crate::cli::{CommandFailure, style};

/// So many events say enough.
const EVENTS_ENOUGH: u64 = 20;

const PAUSE: Duration = Duration::from_millis(100);

/// What became of the events that the live version has seen.
#[derive(Debug, Clone, Copy, Default)]
struct SeenCharges {
    events: u64,
    failed: u64,
}

impl SeenCharges {
    /// Of one version.
    fn of(shown: &Shown, version: Option<&str>) -> Self {
        let mut seen = Self::default();
        for charge in shown.charges().iter().filter(|charge| Some(charge.version) == version) {
            seen.events += charge.events;
            seen.failed += charge.failed;
        }
        seen
    }

    fn since(self, before: Self) -> Self {
        let Self { events, failed } = before;
        Self { events: self.events.saturating_sub(events), failed: self.failed.saturating_sub(failed) }
    }

    const fn is_most(self) -> bool {
        self.failed * 2 > self.events
    }
}

/// Most events fail, as `--json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FailingVersion {
    events: u64,
    failed: u64,
    /// The last error, in words.
    error: Option<String>,
}

/// What a version had seen before a push.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChargesBefore(SeenCharges);

impl ChargesBefore {
    /// Of what the admin API shows; nothing of a name that is not there yet.
    pub(super) fn of(shown: Option<&Shown>, sha256: &str) -> Self {
        Self(shown.map(|shown| SeenCharges::of(shown, Some(sha256))).unwrap_or_default())
    }

    /// Looks for at most `patience` at what the live version does with the events that come; answers what is to be said if
    /// most of them fail, and nothing if none come.
    pub(super) async fn watch(
        self,
        session: &AdminSession,
        name: &str,
        patience: Duration,
    ) -> Result<Option<FailingVersion>, CommandFailure> {
        let until = Instant::now() + patience;
        loop {
            let shown = session.show(name).await?;
            let seen = SeenCharges::of(&shown, shown.live_sha()).since(self.0);
            if seen.events >= EVENTS_ENOUGH || Instant::now() >= until {
                return Ok(seen.is_most().then(|| failing(&shown, seen)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn failing(shown: &Shown, seen: SeenCharges) -> FailingVersion {
    let charges = shown.charges();
    let mut of_live = charges.iter().filter(|charge| Some(charge.version) == shown.live_sha());
    let error = of_live.find_map(|charge| charge.error).map(str::to_owned);
    FailingVersion { events: seen.events, failed: seen.failed, error }
}

/// The same as words for people, on standard error.
pub(super) fn warn_of(failing: &FailingVersion, one: &str, name: &str) {
    let error = failing.error.as_deref().map_or_else(String::new, |error| format!(": {}", style::plain(error, 500)));
    eprintln!(
        "{} {one} {name} failed {} of {} events that it saw{error}\n  what failed is in `tidegate quarantine`; `tidegate {one} rollback \
         {name}` goes back",
        style::error("warning:"),
        failing.failed,
        failing.events
    );
}

/// Warns of a live version that failed most of what it ever saw.
pub(super) fn warn(shown: &Shown, one: &str) {
    let seen = SeenCharges::of(shown, shown.live_sha());
    if seen.is_most() {
        warn_of(&failing(shown, seen), one, shown.name());
    }
}
