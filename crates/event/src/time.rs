//! Instants: microseconds since the Unix epoch, and the RFC 3339 spellings of every SDK.

use std::borrow::Cow;

use crate::value::Value;
use jiff::civil::DateTime;
use jiff::fmt::temporal::{DateTimePrinter, Pieces};
use jiff::{SignedDuration, Timestamp};

/// 0001-01-01T00:00:00Z, the earliest instant that every warehouse takes.
pub const EARLIEST_US: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z, the latest.
pub const LATEST_US: i64 = 253_402_300_799_999_999;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// Reads an RFC 3339 instant with any offset and fraction, as JavaScript, Python (`+00:00`), Go (nanoseconds) and PHP
/// (`date('c')`) write it; what is finer than a microsecond is cut. `None` for anything else, and for instants out of range.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    let text = in_nanoseconds(text);
    let micros = match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_microsecond(),
        Err(_) => at_the_end_of_time(&text)?,
    };
    (EARLIEST_US..=LATEST_US).contains(&micros).then_some(micros)
}

/// The text with no more fraction digits than are read, which is nine.
fn in_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some(point) = text.find('.') else { return Cow::Borrowed(text) };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    if digits <= 9 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{}", &text[..point + 10], &text[point + 1 + digits..]))
}

/// The last hours of the year 9999, where many put what never ends, are beyond what [`Timestamp`] holds.
fn at_the_end_of_time(text: &str) -> Option<i64> {
    if !text.starts_with("9999-12-3") {
        return None;
    }
    let pieces = Pieces::parse(text).ok()?;
    let civil = pieces.date().to_datetime(pieces.time()?);
    let offset = SignedDuration::from_secs(pieces.to_numeric_offset()?.seconds().into());
    i64::try_from((civil.duration_since(EPOCH) - offset).as_micros()).ok()
}

/// How an instant was read that is not spelled as RFC 3339 asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// As it is spelled.
    Rfc3339,
    /// It names no offset and was taken for UTC.
    Utc,
    /// A number, or digits, of seconds since 1970.
    EpochSeconds,
    /// The same of milliseconds.
    EpochMilliseconds,
    /// Not at all.
    Unreadable,
}

/// The fields of `context` in which the server says how it read `originalTimestamp` and `sentAt`.
pub const TIMESTAMP_READ_AS: &str = "timestampReadAs";
pub const SENT_AT_READ_AS: &str = "sentAtReadAs";

impl ReadAs {
    /// Its word in [`TIMESTAMP_READ_AS`] and [`SENT_AT_READ_AS`]; `None` where there is nothing to say.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Rfc3339 => None,
            Self::Utc => Some("utc"),
            Self::EpochSeconds => Some("epoch-seconds"),
            Self::EpochMilliseconds => Some("epoch-milliseconds"),
            Self::Unreadable => Some("unreadable"),
        }
    }
}

/// Epoch seconds have fewer digits than this before the year 5138, milliseconds have more since 1973.
const SECONDS_BELOW: f64 = 1e11;

/// Reads what a client gave as an instant, and says how. `None` when it is none, or out of range.
#[must_use]
pub fn read(value: &Value) -> Option<(i64, ReadAs)> {
    let epoch = |digits: &str| {
        let number = digits.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
        let (unit, read_as) =
            if number < SECONDS_BELOW { (1e6, ReadAs::EpochSeconds) } else { (1e3, ReadAs::EpochMilliseconds) };
        let micros = (number * unit).round();
        (micros <= LATEST_US as f64).then_some((micros as i64, read_as))
    };
    match value {
        Value::Number(number) => epoch(number.as_str()),
        Value::String(text) if text.len() <= 64 => {
            if let Some(micros) = parse(text) {
                return Some((micros, ReadAs::Rfc3339));
            }
            if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return epoch(text);
            }
            // What names its zone in brackets alone is not in UTC.
            let civil: DateTime = in_nanoseconds(text).parse().ok().filter(|_| !text.contains('['))?;
            let micros = i64::try_from(civil.duration_since(EPOCH).as_micros()).ok()?;
            (EARLIEST_US..=LATEST_US).contains(&micros).then_some((micros, ReadAs::Utc))
        }
        _ => None,
    }
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
    // Writing to a String cannot fail.
    let _ = match Timestamp::from_microsecond(micros) {
        Ok(instant) => PRINTER.print_timestamp(&instant, &mut *text),
        Err(_) => {
            let civil = EPOCH.saturating_add(SignedDuration::from_micros(micros));
            PRINTER.print_datetime(&civil, &mut *text).map(|()| text.push('Z'))
        }
    };
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
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
            ("9999-12-31T12:00:00.5+01:00", "9999-12-31T11:00:00.500000Z"),
            ("2024-05-06T09:08:09.1234567890123+02:00", "2024-05-06T07:08:09.123456Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(want), "{text}");
        }
        for text in ["", "yesterday", "2024-13-01T00:00:00Z", "1714979289", "2024-05-06", "99999-01-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "9999-12-31"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_clients_take_for_an_instant_is_read_and_said() {
        for (json, want, read_as) in [
            (r#""2024-05-06T07:08:09.123Z""#, "2024-05-06T07:08:09.123000Z", ReadAs::Rfc3339),
            (r#""2024-05-06T07:08:09.5""#, "2024-05-06T07:08:09.500000Z", ReadAs::Utc),
            (r#""2024-05-06 07:08:09""#, "2024-05-06T07:08:09.000000Z", ReadAs::Utc),
            (r#""2024-05-06""#, "2024-05-06T00:00:00.000000Z", ReadAs::Utc),
            (r#""2024-05-06T07:08:09.1234567891""#, "2024-05-06T07:08:09.123456Z", ReadAs::Utc),
            (r#""9999-12-31 23:59:59""#, "9999-12-31T23:59:59.000000Z", ReadAs::Utc),
            ("1714979289", "2024-05-06T07:08:09.000000Z", ReadAs::EpochSeconds),
            ("1714979289.25", "2024-05-06T07:08:09.250000Z", ReadAs::EpochSeconds),
            ("1714979289123", "2024-05-06T07:08:09.123000Z", ReadAs::EpochMilliseconds),
            (r#""1714979289123""#, "2024-05-06T07:08:09.123000Z", ReadAs::EpochMilliseconds),
            ("0", "1970-01-01T00:00:00.000000Z", ReadAs::EpochSeconds),
        ] {
            let value: Value = json.parse().unwrap();
            assert_eq!(read(&value).map(|(at, how)| (format(at), how)), Some((want.to_owned(), read_as)), "{json}");
        }
        for json in [
            r#""yesterday""#,
            r#""""#,
            "-5",
            "1e300",
            "true",
            "null",
            "{}",
            r#""2024-13-01T00:00:00""#,
            r#""1.2.3""#,
            r#""2024-05-06T07:08:09[Europe/Berlin]""#,
        ] {
            assert_eq!(read(&json.parse().unwrap()), None, "{json}");
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
