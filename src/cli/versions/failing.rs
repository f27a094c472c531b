//! Whether what is live fails most of its events: said by `push`, which looks for a moment, and by `versions`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::session::Session;
use crate::cli::{Failure, style};

/// So many events say enough.
const EVENTS_ENOUGH: u64 = 20;

const PAUSE: Duration = Duration::from_millis(100);

/// What became of the events that the live version has seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    events: u64,
    failed: u64,
}

impl Seen {
    /// Of what the admin API shows of one name.
    fn of(shown: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let mut seen = Self::default();
        let charges = shown["meters"]["charges"].as_array().into_iter().flatten();
        for charge in charges.filter(|charge| charge["version"] == shown["live"]["sha256"]) {
            seen.events += number(&charge["events"]);
            seen.failed += number(&charge["errors"]) + number(&charge["failed"]);
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

/// What the name had seen before a push.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before(Seen);

impl Before {
    /// Of what the admin API shows; nothing of a name that is not there yet.
    pub(super) fn of(shown: &Value, sha256: &Value) -> Self {
        let mut shown = shown.clone();
        shown["live"]["sha256"] = sha256.clone();
        Self(Seen::of(&shown))
    }

    /// Looks for at most `patience` at what the live version does with the events that come; answers what is to be said if
    /// most of them fail, and nothing if none come.
    pub(super) async fn watch(
        self,
        session: &mut Session,
        path: &str,
        patience: Duration,
    ) -> Result<Option<Value>, Failure> {
        let until = Instant::now() + patience;
        loop {
            let shown = session.get(path).await?;
            let seen = Seen::of(&shown).since(self.0);
            if seen.events >= EVENTS_ENOUGH || Instant::now() >= until {
                return Ok(seen.is_most().then(|| said(&shown, seen)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn said(shown: &Value, seen: Seen) -> Value {
    let charges = shown["meters"]["charges"].as_array().into_iter().flatten();
    let mut errors =
        charges.filter(|charge| charge["version"] == shown["live"]["sha256"]).map(|charge| &charge["error"]);
    let error = errors.find_map(Value::as_str);
    json!({"events": seen.events, "failed": seen.failed, "error": error})
}

/// The same as words for people, on standard error.
pub(super) fn warn_of(failing: &Value, one: &str, name: &str) {
    let error = failing["error"].as_str().map_or_else(String::new, |error| format!(": {}", style::plain(error, 500)));
    eprintln!(
        "{} {one} {name} failed {} of {} events that it saw{error}\n  what failed is in `tidegate quarantine`; `tidegate {one} rollback \
         {name}` goes back",
        style::error("warning:"),
        failing["failed"],
        failing["events"]
    );
}

/// Warns of a live version that failed most of what it ever saw.
pub(super) fn warn(shown: &Value, one: &str) {
    let seen = Seen::of(shown);
    if seen.is_most() {
        warn_of(&said(shown, seen), one, shown["name"].as_str().unwrap_or_default());
    }
}
