//! Stops a version that breaks batch after batch.
//!
//! One poison event in a batch is quarantined alone. A batch most of whose events break the function is an error of the
//! function: after [`BAD_BATCHES_MAX`] of those in a row the breaker opens. The batch in hand and everything after it
//! then waits in the log until another version goes live, or until the version is tried again after a growing pause.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FunctionChain;

/// Bad batches in a row that open the breaker.
pub const BAD_BATCHES_MAX: u32 = 3;

const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long it is not said again that a version fails most of its events.
const SAID_PAUSE: Duration = Duration::from_secs(60);

/// The breakers of all versions.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<HashMap<(String, String), Breaker>>);

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
        let open = |name: &str, version: &str| breakers.get(&(name.to_owned(), version.to_owned()))?.open_until;
        let now = Instant::now();
        let functions = function_chain.slots().iter().map(|slot| &slot.function);
        functions.filter_map(|f| open(f.name(), f.version())).filter(|until| *until > now).max()
    }

    /// Takes note of a batch; true when the breaker is open after it, so that its outcomes must not count.
    pub(super) fn note(&self, name: &str, version: &str, bad: bool) -> bool {
        let mut breakers = self.0.lock();
        let key = (name.to_owned(), version.to_owned());
        if !bad {
            breakers.remove(&key);
            return false;
        }
        let breaker = breakers.entry(key).or_default();
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
        for bad in [true, true, false, true, true] {
            assert!(!breakers.note("f", "1", bad));
        }
        assert!(!breakers.note("f", "2", true), "another version");
        assert!(breakers.note("f", "1", true));
        assert!(breakers.note("f", "1", true), "a try that fails opens it again");
        assert!(!breakers.note("f", "1", false));
        assert!(!breakers.note("f", "1", true));
    }
}
