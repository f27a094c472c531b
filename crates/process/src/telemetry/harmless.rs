//! Text from outside, made harmless for whoever shows it.
//!
//! A name in a workspace, an event, a guest's log line, a driver's error: all of them reach terminals. None of them may
//! move the cursor, colour the screen, turn the direction of the text or hide in it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal would do something else with `c` than show it: control characters (but the end of a line and the
/// tab), marks that turn the direction of text, and characters that nobody sees.
#[must_use]
pub const fn is_harmful(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Text of several lines: what is harmful is spelled out, as `\u{1b}`.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    spelled(text, is_harmful, |out, c| write!(out, "\\u{{{:x}}}", c as u32))
}

/// Text that stays within its line.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    spelled(
        text,
        |c| is_harmful(c) || c == '\n' || c == '\t',
        |out, c| match c {
            '\n' => out.write_str("\\n"),
            '\t' => out.write_str("\\t"),
            c => write!(out, "\\u{{{:x}}}", c as u32),
        },
    )
}

/// JSON that means the same: what is harmful stands in it as `\u001b`. Such characters occur within strings only.
#[must_use]
pub fn json(json: &str) -> Cow<'_, str> {
    spelled(json, is_harmful, |out, c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
    })
}

fn spelled(
    text: &str,
    is_harmful: impl Fn(char) -> bool,
    mut spell: impl FnMut(&mut String, char) -> std::fmt::Result,
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_harmful) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_harmful(c) {
            // Writing to a String cannot fail.
            let _ = spell(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out_and_the_rest_is_left() {
        assert_eq!(text("a\x1b[31mb\u{202e}c\u{200b}\n\tä漢😀"), "a\\u{1b}[31mb\\u{202e}c\\u{200b}\n\tä漢😀");
        assert_eq!(line("a\nb\rc"), "a\\nb\\u{d}c");
        assert!(matches!(text("nothing"), Cow::Borrowed("nothing")));
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({"\u{9b}31m": "\u{202e}\u{e0041}\u{7f}\u{feff} ä"});
        let plain = json(&value.to_string()).into_owned();
        assert!(!plain.chars().any(is_harmful), "{plain:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), value);
    }
}
