//! Counts of days and of parts of a second as dates and times of ISO 8601, and back.

use jiff::civil::{Date, Time, date};
use jiff::{Span, Timestamp};

const NANOS_OF_SECOND: i128 = 1_000_000_000;
const NANOS_OF_DAY: i128 = 86_400 * NANOS_OF_SECOND;
const EPOCH: Date = date(1970, 1, 1);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Millis,
    Micros,
    Nanos,
}

impl TimeUnit {
    const fn nanos(self) -> i128 {
        match self {
            Self::Millis => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }
}

/// A date, by days since 1970. None outside of the years 0 to 9999.
pub(crate) fn day(days: i64) -> Option<String> {
    let date = EPOCH.checked_add(Span::new().try_days(days).ok()?).ok()?;
    (date.year() >= 0).then(|| date.to_string())
}

/// A date and a time without an offset, by what has passed since 1970. None outside of the years 0 to 9999.
pub(crate) fn moment(count: i64, unit: TimeUnit) -> Option<String> {
    of_nanos(i128::from(count) * unit.nanos())
}

/// The same of seconds and nanoseconds.
pub(crate) fn moment_of_seconds(seconds: i64, nanos: u32) -> Option<String> {
    of_nanos(i128::from(seconds) * NANOS_OF_SECOND + i128::from(nanos))
}

fn of_nanos(nanos: i128) -> Option<String> {
    let day = day(i64::try_from(nanos.div_euclid(NANOS_OF_DAY)).ok()?)?;
    Some(format!("{day}T{}", clock_time(nanos.rem_euclid(NANOS_OF_DAY))))
}

/// A time of a day, by what has passed since midnight. None where a day is over by then.
pub(crate) fn time_of_day(count: i64, unit: TimeUnit) -> Option<String> {
    let nanos = i128::from(count) * unit.nanos();
    (0..NANOS_OF_DAY).contains(&nanos).then(|| clock_time(nanos))
}

fn clock_time(nanos: i128) -> String {
    let seconds = nanos / NANOS_OF_SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = fraction(u32::try_from(nanos % NANOS_OF_SECOND).unwrap_or(0));
    format!("{hour:02}:{minute:02}:{second:02}{fraction}")
}

/// The fraction of a second in three, six or nine digits; nothing where there is none.
pub(crate) fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

/// The days since 1970 of a date.
pub(crate) fn days_of(text: &str) -> Option<i64> {
    // A text with a time behind the date would be taken too, without the time.
    let date: Date = text.parse().ok().filter(|_| text.len() == "2026-01-31".len())?;
    Some(date.duration_since(EPOCH).as_hours() / 24)
}

/// The count of a time with an offset. None where it is no such time, or has more digits than are counted.
pub(crate) fn count_of_instant(text: &str, unit: TimeUnit) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    counted(time.as_nanosecond(), unit)
}

/// The count of a date and a time without an offset.
pub(crate) fn count_of_moment(text: &str, unit: TimeUnit) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    counted(i128::from(days_of(day)?) * NANOS_OF_DAY + nanos_of_day(time)?, unit)
}

/// The count of a time of a day.
pub(crate) fn count_of_day(text: &str, unit: TimeUnit) -> Option<i64> {
    counted(nanos_of_day(text)?, unit)
}

fn nanos_of_day(text: &str) -> Option<i128> {
    let time: Time = text.parse().ok().filter(|_| text.get(2..3) == Some(":"))?;
    let seconds = i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second());
    Some(seconds * NANOS_OF_SECOND + i128::from(time.subsec_nanosecond()))
}

fn counted(nanos: i128, unit: TimeUnit) -> Option<i64> {
    let is_whole = nanos % unit.nanos() == 0;
    i64::try_from(nanos / unit.nanos()).ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_times_and_times_counts() {
        for (count, unit, text) in [
            (0, TimeUnit::Millis, "1970-01-01T00:00:00"),
            (-1, TimeUnit::Millis, "1969-12-31T23:59:59.999"),
            (1_700_000_000_123_456, TimeUnit::Micros, "2023-11-14T22:13:20.123456"),
            (1_700_000_000_123_456_789, TimeUnit::Nanos, "2023-11-14T22:13:20.123456789"),
            (253_402_300_799_999, TimeUnit::Millis, "9999-12-31T23:59:59.999"),
        ] {
            assert_eq!(moment(count, unit).as_deref(), Some(text));
            assert_eq!(count_of_moment(text, unit), Some(count));
        }
        assert_eq!(count_of_instant("2023-11-14T23:13:20.123456+01:00", TimeUnit::Micros), Some(1_700_000_000_123_456));
        assert_eq!(count_of_instant("2023-11-14T22:13:20.123456Z", TimeUnit::Millis), None);
        assert_eq!(moment(i64::MAX, TimeUnit::Millis), None);
        assert_eq!(moment(i64::MIN, TimeUnit::Micros), None);
        assert_eq!(day(19_675).as_deref(), Some("2023-11-14"));
        assert_eq!((day(i64::MAX), day(-800_000)), (None, None));
        assert_eq!(days_of("1969-12-31"), Some(-1));
        assert_eq!(
            (days_of("1969-12-31T12:00:00"), count_of_day("1969-12-31T12:00:00", TimeUnit::Millis)),
            (None, None)
        );
        assert_eq!(time_of_day(45_296_789, TimeUnit::Millis).as_deref(), Some("12:34:56.789"));
        assert_eq!(count_of_day("12:34:56.789", TimeUnit::Millis), Some(45_296_789));
        assert_eq!((time_of_day(86_400_000, TimeUnit::Millis), time_of_day(-1, TimeUnit::Micros)), (None, None));
    }
}
