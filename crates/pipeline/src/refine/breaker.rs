//! Stops a version that breaks batch after batch.
//!
//! One poison event in a batch is quarantined alone. A batch most of whose events break the function is an error of the
//! function: after [`BAD_BATCHES_MAX`] of those in a row the breaker opens. The batch in hand and everything after it
//! then waits in the log until another version goes live, or until the version is tried again after a growing pause.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FunctionChain;
use super::function_chain::key_of;

/// Bad batches in a row that open the breaker.
pub const BAD_BATCHES_MAX: u32 = 3;

const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long it is not said again that a version fails most of its events.
const SAID_PAUSE: Duration = Duration::from_secs(60);

/// The breakers of all versions: each with its settings, secrets and tables, for others may mend it.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<HashMap<String, Breaker>>);

#[derive(Debug, Default)]
struct Breaker {
    bad_batches: u32,
    opened: u32,
    open_until: Option<Instant>,
}

/// Which versions were said to fail most of their events, and when.
#[derive(Debug, Default)]
pub(super) struct Failing(Mutex<HashMap<(String, String), Instant>>);

impl Failing {
    /// Whether it is to be said now that a batch of a version came out badly.
    pub(super) fn is_news(&self, name: &str, version: &str, now: Instant) -> bool {
        let mut said = self.0.lock();
        said.retain(|_, at| now.saturating_duration_since(*at) < SAID_PAUSE);
        let key = (name.to_owned(), version.to_owned());
        let is_news = !said.contains_key(&key);
        said.entry(key).or_insert(now);
        is_news
    }
}

impl Breakers {
    /// When the first open breaker of `function_chain` may be tried again; `None` when all are closed.
    pub(super) fn open_until(&self, function_chain: &FunctionChain) -> Option<Instant> {
        let breakers = self.0.lock();
        if breakers.is_empty() {
            return None;
        }
        let now = Instant::now();
        let functions = function_chain.slots().iter().map(|slot| &slot.function);
        let open = functions.filter_map(|function| breakers.get(&key_of(function))?.open_until);
        open.filter(|until| *until > now).max()
    }

    /// Takes note of a batch of the function with the key that `key` makes; true when the breaker is open after it, so that its
    /// outcomes must not count. A good batch asks for no key where no batch was bad.
    pub(super) fn note(&self, key: impl FnOnce() -> String, bad: bool) -> bool {
        let mut breakers = self.0.lock();
        if !bad {
            if !breakers.is_empty() {
                breakers.remove(&key());
            }
            return false;
        }
        let breaker = breakers.entry(key()).or_default();
        breaker.bad_batches += 1;
        if breaker.bad_batches < BAD_BATCHES_MAX {
            return false;
        }
        let pause = PAUSE_MIN.saturating_mul(1 << breaker.opened.min(8)).min(PAUSE_MAX);
        breaker.opened += 1;
        breaker.open_until = Some(Instant::now() + pause);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refine::function_chain::named_by;

    #[test]
    fn a_version_is_said_to_fail_once_a_minute() {
        let (failing, now) = (Failing::default(), Instant::now());
        assert!(failing.is_news("f", "1", now));
        assert!(!failing.is_news("f", "1", now + SAID_PAUSE / 2));
        assert!(failing.is_news("f", "2", now), "another version");
        assert!(failing.is_news("f", "1", now + SAID_PAUSE));
    }

    #[test]
    fn only_bad_batches_in_a_row_open_it() {
        let breakers = Breakers::default();
        let note = |bad| breakers.note(|| "f".to_owned(), bad);
        for bad in [true, true, false, true, true] {
            assert!(!note(bad));
        }
        assert!(note(true));
        assert!(note(true), "a try that fails opens it again");
        assert!(!note(false));
        assert!(!note(true));
    }

    #[test]
    fn a_breaker_is_of_a_version_with_its_settings_and_tables() {
        let breakers = Breakers::default();
        let broken = named_by("f", "1", "{}", Some("tables"));
        for _ in 0..BAD_BATCHES_MAX {
            breakers.note(|| broken.to_string(), true);
        }
        let mended = [
            named_by("f", "2", "{}", Some("tables")),
            named_by("f", "1", "{\"n\":1}", Some("tables")),
            named_by("f", "1", "{}", Some("others")),
            named_by("f", "1", "{}", None),
        ];
        for mended in mended {
            assert!(!breakers.note(|| mended.to_string(), true), "{mended}");
        }
        assert!(breakers.note(|| broken.to_string(), true));
    }
}
