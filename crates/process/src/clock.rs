//! Wall clock and randomness. Every other room takes them as arguments or asks here, so that a test can say what
//! time it is and a reader can see where the outside world leaks in.

use std::time::{SystemTime, UNIX_EPOCH};

/// The years 1 to 9999: the instants that every warehouse takes and every text of a time can spell.
const EARLIEST_US: i64 = -62_135_596_800_000_000;
/// The end of the year 9999, all but a day: what a clock beyond it is taken to show.
pub const LATEST_US: i64 = 253_402_214_400_000_000;

/// Microseconds since the Unix epoch, UTC; negative before it. A clock that shows a year beyond 9999 is taken to show the
/// last of them, so that no sum with a century more is out of range.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now_us() -> i64 {
    us_of(SystemTime::now())
}

fn us_of(now: SystemTime) -> i64 {
    let (since, sign) = match now.duration_since(UNIX_EPOCH) {
        Ok(since) => (since, 1),
        Err(before) => (before.duration(), -1),
    };
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    (sign * micros).clamp(EARLIEST_US, LATEST_US)
}

/// `N` bytes from the operating system's random source.
///
/// # Panics
/// When the operating system has no randomness to give, which it reports only at early boot.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// A random (version 4) UUID as text.
#[must_use]
pub fn uuid() -> String {
    uuid::Builder::from_random_bytes(random()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_before_1970_or_beyond_9999_is_a_time_all_the_same() {
        let second = Duration::from_secs(1);
        assert_eq!(us_of(UNIX_EPOCH + second), 1_000_000);
        assert_eq!(us_of(UNIX_EPOCH - second), -1_000_000);
        assert_eq!(us_of(UNIX_EPOCH + Duration::from_secs(1 << 40)), LATEST_US);
        assert_eq!(us_of(UNIX_EPOCH - Duration::from_secs(1 << 40)), EARLIEST_US);
    }
}
