//! Instants: microseconds since the Unix epoch, and the RFC 3339 spellings of every SDK.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// 0001-01-01T00:00:00Z, the earliest instant that every warehouse takes.
pub const EARLIEST_US: i64 = -62_135_596_800_000_000;
/// 9999-12-31T00:00:00Z, the latest.
pub const LATEST_US: i64 = 253_402_214_400_000_000;

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// Reads an RFC 3339 instant with any offset and up to nine fraction digits, as JavaScript, Python (`+00:00`), Go
/// (nanoseconds) and PHP (`date('c')`) write it. `None` for anything else, and for instants out of range.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    let instant: Timestamp = text.parse().ok()?;
    let micros = instant.as_microsecond();
    (EARLIEST_US..=LATEST_US).contains(&micros).then_some(micros)
}

/// `2026-11-23T09:30:00.123456Z`: always UTC, always six fraction digits, so that text order is time order.
#[must_use]
pub fn format(micros: i64) -> String {
    let mut text = String::with_capacity(27);
    format_into(micros, &mut text);
    text
}

/// `2026-11-23T09:30:00.123Z`, as JavaScript's `toISOString` spells it.
#[must_use]
pub fn format_millis(micros: i64) -> String {
    let mut text = format(micros);
    text.truncate(23);
    text.push('Z');
    text
}

fn format_into(micros: i64, text: &mut String) {
    let micros = micros.clamp(EARLIEST_US, LATEST_US);
    let instant = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    // Writing to a String cannot fail.
    let _ = PRINTER.print_timestamp(&instant, text);
}

/// When the event happened by the server's clock: `received - (sent - original)`.
///
/// The client's clock may be wrong by years; `sent` and `received` are assumed to be the same moment, so their
/// difference is the error. Without `sent` the client's word is taken. An event cannot have happened after it was
/// received, and the result stays within the years 1 to 9999.
#[must_use]
pub fn corrected(received_us: i64, sent_us: Option<i64>, original_us: Option<i64>) -> i64 {
    let happened = match (sent_us, original_us) {
        (Some(sent), Some(original)) => received_us.saturating_sub(sent.saturating_sub(original)),
        (None, Some(original)) => original,
        (_, None) => received_us,
    };
    happened.clamp(EARLIEST_US, received_us.max(EARLIEST_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_sdks_write() {
        for (text, want) in [
            ("2024-05-06T07:08:09.123Z", "2024-05-06T07:08:09.123000Z"),
            ("2024-05-06T07:08:09.123456+00:00", "2024-05-06T07:08:09.123456Z"),
            ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456Z"),
            ("2024-05-06T09:08:09+02:00", "2024-05-06T07:08:09.000000Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000Z"),
            ("9999-12-30T00:00:00Z", "9999-12-30T00:00:00.000000Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(want), "{text}");
        }
        for text in ["", "yesterday", "2024-13-01T00:00:00Z", "1714979289", "2024-05-06", "99999-01-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_wrong_client_clock_is_corrected_and_clamped() {
        let received = 1_700_000_000_000_000;
        let ten_years = 315_360_000_000_000;
        let sent = received + ten_years;
        assert_eq!(corrected(received, Some(sent), Some(sent - 5_000_000)), received - 5_000_000);
        assert_eq!(corrected(received, Some(sent), Some(sent + 5_000_000)), received);
        assert_eq!(corrected(received, None, Some(received - 7)), received - 7);
        assert_eq!(corrected(received, None, Some(received + 7)), received);
        assert_eq!(corrected(received, Some(sent), None), received);
        assert_eq!(corrected(received, Some(LATEST_US), Some(EARLIEST_US)), EARLIEST_US);
    }
}
