//! What an event says: who, when, what. Clients send what they like, so each reader answers `None` for anything odd.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// A customer event. Numbers keep every digit.
pub type Event = Map<String, Value>;

/// An object as it is; an empty one for anything else, such as the `[]` that PHP writes for an empty object.
pub fn as_object(value: Option<&Value>) -> &Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// An id as text: text that is not blank as it is, a number by its digits, `None` for anything else.
pub fn id(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text).filter(|text| !text.trim().is_empty()).cloned(),
        Value::Number(number) => plain_decimal(&number.to_string()),
        _ => None,
    }
}

/// What code writes where it has nobody. Source: <https://posthog.com/docs/data/identify>, and Python's word for none.
const NOBODY: [&str; 15] = [
    "undefined",
    "null",
    "none",
    "nan",
    "[object object]",
    "0",
    "true",
    "false",
    "anonymous",
    "guest",
    "id",
    "distinctid",
    "distinct_id",
    "email",
    "not_authenticated",
];

/// The id of somebody as text: `None` where [`id`] gives none, and for what code writes for nobody, such as `undefined`,
/// `[object Object]`, 0 or `Guest`, in any case and also in quotes. Whoever has such an id would be one person.
pub fn somebody(value: Option<&Value>) -> Option<String> {
    let id = id(value)?;
    let bare = id.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}'));
    let is_nobody = bare.is_empty() || NOBODY.iter().any(|nobody| nobody.eq_ignore_ascii_case(bare));
    (!is_nobody).then_some(id)
}

/// `userId` as text; `None` when it is missing, blank or no id.
pub fn user_id(event: &Event) -> Option<String> {
    id(event.get("userId"))
}

/// `anonymousId` as text; `None` when it is missing, blank or no id.
pub fn anonymous_id(event: &Event) -> Option<String> {
    id(event.get("anonymousId"))
}

/// `groupId` as text; `None` when it is missing, blank or no id.
pub fn group_id(event: &Event) -> Option<String> {
    id(event.get("groupId"))
}

/// `previousId` as text; `None` when it is missing, blank or no id.
pub fn previous_id(event: &Event) -> Option<String> {
    id(event.get("previousId"))
}

/// `messageId` as text; `None` when it is missing, blank or no id.
pub fn message_id(event: &Event) -> Option<String> {
    id(event.get("messageId"))
}

/// By what a tool knows somebody: the user id, else the anonymous id, else `None`.
pub fn user(event: &Event) -> Option<String> {
    user_id(event).or_else(|| anonymous_id(event))
}

/// The `type` of an event; empty when it has none.
pub fn kind(event: &Event) -> &str {
    event.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// What happened: the `event` of a track, the `name` of a page or screen; `None` for all else and for blank ones.
pub fn name(event: &Event) -> Option<&str> {
    let member = match kind(event) {
        "track" => "event",
        "page" | "screen" => "name",
        _ => return None,
    };
    event.get(member)?.as_str().filter(|name| !name.trim().is_empty())
}

/// What stands in `context` at a path such as `page.url`; `None` when nothing does, and for blank text.
pub fn context<'a>(event: &'a Event, path: &str) -> Option<&'a Value> {
    let mut value = event.get("context")?;
    for step in path.split('.') {
        value = value.as_object()?.get(step)?;
    }
    let blank = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    (!blank).then_some(value)
}

/// `context.traits`, and over them the `traits` of the event itself.
pub fn traits(event: &Event) -> Map<String, Value> {
    let mut traits = as_object(context(event, "traits")).clone();
    traits.extend(as_object(event.get("traits")).clone());
    traits
}

/// `properties`; empty when they are no object.
pub fn properties(event: &Event) -> &Map<String, Value> {
    as_object(event.get("properties"))
}

/// A point in time: Unix milliseconds and seconds, rounded down, and RFC 3339 text in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instant {
    pub ms: i64,
    pub seconds: i64,
    pub text: String,
}

/// When the event happened, by its `timestamp`; `None` when that cannot be read.
pub fn time(event: &Event) -> Option<Instant> {
    instant(event.get("timestamp"))
}

/// The instant that RFC 3339 text names, whatever its fraction and offset; `None` for anything else.
pub fn instant(value: Option<&Value>) -> Option<Instant> {
    let text = value?.as_str()?;
    let (date_and_time, rest) = text.split_at_checked(19)?;
    let [year, month, day, hour, minute, second] = fields(date_and_time)?;
    let fraction_len = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) if fraction_len > 0 => rest.split_at(fraction_len),
        Some(_) => return None,
        None => ("", rest),
    };
    let offset_minutes = offset_minutes(offset)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let minutes = (days_before(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    from_ms((minutes * 60 + second) * 1000 + milliseconds)
}

/// The instant so many milliseconds after 1970; `None` before the year 0 and after 9999.
pub fn from_ms(ms: i64) -> Option<Instant> {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = date_of(days);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1000);
    Some(Instant { ms, seconds: ms.div_euclid(1000), text })
}

/// The numbers of `2026-01-31T12:30:45`.
fn fields(text: &str) -> Option<[i64; 6]> {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        shape => byte == *shape,
    };
    if !text.bytes().zip(SHAPE).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    Some([number(0, 4)?, number(5, 7)?, number(8, 10)?, number(11, 13)?, number(14, 16)?, number(17, 19)?])
}

fn offset_minutes(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let shape = |bytes: &[u8]| matches!(bytes, [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()));
    if !shape(text.as_bytes()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (text[1..3].parse().ok()?, text[4..6].parse().ok()?);
    let total = hours * 60 + minutes;
    (hours <= 23 && minutes <= 59).then_some(if text.starts_with('-') { -total } else { total })
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + is_leap(year) as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to a day of the calendar. Years begin in March here, so that the leap day is the last.
const fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400 + (month <= 2) as i64;
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// More digits than this are no id: the text of a number could ask for a billion zeros.
const EXPONENT_MAX: i32 = 400;

/// The text of a JSON number without exponent and without a fraction of zeros.
fn plain_decimal(text: &str) -> Option<String> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse().ok()?),
        None => (text, 0_i32),
    };
    if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    if point <= 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(1 - point).ok()?));
        point = 1;
    }
    let point = usize::try_from(point).ok()?;
    if point > digits.len() {
        digits.push_str(&"0".repeat(point - digits.len()));
    }
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}
