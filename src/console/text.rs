//! What stands in pages: texts of others made harmless, numbers, sizes and times.

use maud::{Markup, html};
use serde_json::Value;
use tidegate_event::time;
use tidegate_process::telemetry::harmless::{self, is_harmful};

/// Characters of an event that a page shows.
pub(super) const EVENT_CHARS_MAX: usize = 48 << 10;
/// Characters of a short text of somebody else: a name, a reason.
pub(super) const SHORT_CHARS_MAX: usize = 300;

/// A text of somebody else, so that nothing in it moves or hides what stands beside it: control characters and those that turn the direction of
/// writing are spelled out, and what is behind `chars_max` is counted. The template escapes what HTML means something by.
pub(super) fn visible(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        if is_hidden(c) {
            shown.push_str(&format!("\\u{{{:04x}}}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    match chars.count() {
        0 => {}
        more => shown.push_str(&format!("… ({more} more characters)")),
    }
    shown
}

/// The same, of one line.
pub(super) fn short(text: &str) -> String {
    visible(text, SHORT_CHARS_MAX).replace(['\n', '\t'], " ")
}

fn is_hidden(c: char) -> bool {
    // Two that nobody sees hold letters and emoji together.
    is_harmful(c) && !matches!(c, '\u{200c}' | '\u{200d}')
}

/// A value as text of several lines.
pub(super) fn pretty(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    visible(&text, EVENT_CHARS_MAX)
}

/// A value as JSON that means the same and hides nothing: it may be put into a command.
pub(super) fn plain_json(value: &Value) -> String {
    harmless::json(&value.to_string()).into_owned()
}

/// A value as text of one line.
pub(super) fn compact(value: &Value) -> String {
    short(&value.to_string())
}

/// A number with its thousands apart.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut shown = String::new();
    if number < 0 {
        shown.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The same of what is never below zero.
pub(super) fn amount(number: u64) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A size, with one digit behind the point.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(scale, _)| bytes >= *scale) {
        None => format!("{bytes} bytes"),
        Some((scale, unit)) => format!("{}.{} {unit}", bytes / scale, bytes % scale * 10 / scale),
    }
}

/// Events in a second, of `events` in so many seconds.
pub(super) fn rate(events: i64, seconds: i64) -> String {
    let tenths = events.max(0).saturating_mul(10) / seconds.max(1);
    if tenths >= 100 { count(tenths / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// How long ago a time was that is written as RFC 3339, or how long it is until then.
pub(super) fn age(text: &str, now_us: i64) -> String {
    let Some(at_us) = time::parse(text) else { return short(text) };
    match now_us.saturating_sub(at_us) / 1_000_000 {
        // Clocks differ a little.
        -5..1 => "just now".to_owned(),
        seconds @ 1.. => format!("{} ago", length(seconds)),
        seconds => format!("in {}", length(seconds.saturating_neg())),
    }
}

fn length(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time, by how long ago it was.
pub(super) fn moment(text: &str, now_us: i64) -> Markup {
    html! { time datetime=(text) title=(text) { (age(text, now_us)) } }
}

/// The same, or a word for that there is none.
pub(super) fn moment_or(text: Option<&str>, otherwise: &str, now_us: i64) -> Markup {
    match text {
        Some(text) => moment(text, now_us),
        None => html! { span.quiet { (otherwise) } },
    }
}

/// The command that does the same, for the end of a page.
pub(super) fn command(line: &str) -> Markup {
    let line = visible(line, SHORT_CHARS_MAX);
    html! {
        p.command {
            span.quiet { "On the command line " }
            code { (line) }
            " "
            button.copy type="button" data-copy=(line) hidden { "Copy" }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_hides_or_turns_text_is_spelled_out() {
        assert_eq!(visible("a\u{202e}b\u{0}c\nd", 100), "a\\u{202e}b\\u{0000}c\nd");
        assert_eq!(visible("a\u{ad}b\u{e0041}", 100), "a\\u{00ad}b\\u{e0041}", "what nobody sees is no part of a name");
        assert_eq!(visible("aaaaa", 2), "aa… (3 more characters)");
        assert_eq!(short("a\nb"), "a b");
        assert_eq!(visible("👩‍👧 naïve", 100), "👩‍👧 naïve", "letters of any language stay");
        assert_eq!(pretty(&json!({"a": 1})), "{\n  \"a\": 1\n}");
        assert_eq!(pretty(&json!("text")), "text");
        let value = json!({"a": "\u{202e}b"});
        let plain = plain_json(&value);
        assert_eq!(plain, "{\"a\":\"\\u202eb\"}");
        assert_eq!(serde_json::from_str::<Value>(&plain).unwrap(), value);
        let page = html! { p { (visible("<script>", 100)) } }.into_string();
        assert_eq!(page, "<p>&lt;script&gt;</p>");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!((count(-1_234_567), count(12), amount(1_000)), ("-1,234,567".into(), "12".into(), "1,000".into()));
        assert_eq!((size(512), size(1_536), size(5 << 30)), ("512 bytes".into(), "1.5 KiB".into(), "5.0 GiB".into()));
        assert_eq!((rate(15, 10), rate(36_000, 10), rate(5, 0)), ("1.5".into(), "3,600".into(), "5.0".into()));
        let at = time::parse("2026-01-01T00:00:00Z").unwrap();
        let age = |seconds: i64| age("2026-01-01T00:00:00Z", at + seconds * 1_000_000);
        assert_eq!([age(-5), age(5), age(600), age(7_200)], ["just now", "5 s ago", "10 min ago", "2 h ago"]);
        assert_eq!([age(-30), age(-600), age(-900_000)], ["in 30 s", "in 10 min", "in 10 d"]);
    }
}
