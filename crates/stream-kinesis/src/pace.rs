//! How soon a shard may be asked again: it gives five answers and 2 MB a second to all of its readers.

use std::time::Duration;

const BYTES_PER_SECOND: f64 = 2e6;
/// A little more than a fifth of a second.
const NEXT: Duration = Duration::from_millis(220);
/// Where there was nothing, others may ask meanwhile.
const IDLE: Duration = Duration::from_millis(500);
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// After an answer with so many bytes of records; `is_behind` where more is there.
pub(crate) fn after_answer(bytes: usize, is_behind: bool) -> Duration {
    let read = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
    let least = if bytes == 0 && !is_behind { IDLE } else { NEXT };
    read.max(least)
}

/// After so many failures, one after the other.
pub(crate) fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8));
    doubled.min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shard_is_asked_for_more_than_it_gives() {
        assert_eq!(after_answer(0, false), IDLE);
        assert_eq!(after_answer(0, true), NEXT);
        assert_eq!(after_answer(1_000, false), NEXT);
        assert_eq!(after_answer(10_000_000, true), Duration::from_secs(5));
        assert_eq!((back_off(0), back_off(1), back_off(2)), (BACK_OFF_MIN, BACK_OFF_MIN, BACK_OFF_MIN * 2));
        assert_eq!(back_off(u32::MAX), BACK_OFF_MAX);
    }
}
