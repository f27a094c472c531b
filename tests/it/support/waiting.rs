//! Waiting for what another process does: there is nothing to be woken by, so it is looked at again and again, and never
//! without a deadline.

use std::time::{Duration, Instant};

/// Longer than anything here takes, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two looks that cost the machine something.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// Looks until there is something. When the time is over, fails with what was seen last.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    looking(patience, PAUSE, what, look)
}

/// The same for what costs much to look at: looks ten times a second.
#[track_caller]
pub fn seldom<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    looking(PATIENCE, LONG_PAUSE, what, look)
}

#[track_caller]
fn looking<T>(patience: Duration, pause: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "not within {patience:?}: {what}: {seen}"),
        }
        std::thread::park_timeout(pause);
    }
}

/// Asks until it is so.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    within(PATIENCE, what, || if so() { Ok(()) } else { Err("it never was so".to_owned()) });
}
