//! Colour on a terminal, plain text in a pipe; tables; text from outside made harmless.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use tidegate_process::telemetry::harmless::is_harmful;

use super::out::{self, Stream};

pub(super) fn bold(text: &str) -> String {
    out::styled("1", text, Stream::Out)
}

pub(super) fn good(text: &str) -> String {
    out::styled("32", text, Stream::Out)
}

/// Something is wrong, on standard output.
pub(super) fn bad(text: &str) -> String {
    out::styled("1;31", text, Stream::Out)
}

pub(super) fn error(text: &str) -> String {
    out::styled("1;31", text, Stream::Error)
}

/// A table that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(out::columns().unwrap_or(140));
    table.set_header(header);
    table
}

/// Text from outside for a terminal: control characters are spelled out, so that an event cannot move the cursor or
/// colour the screen; at most `chars_max` characters.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max));
    for (n, c) in text.chars().enumerate() {
        if n == chars_max {
            out.push('…');
            break;
        }
        if is_harmful(c) || matches!(c, '\n' | '\t') {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_cannot_touch_the_terminal() {
        assert_eq!(super::plain("a\x1b[31mb\u{202e}c", 20), "a\\u{1b}[31mb\\u{202e}c");
        assert_eq!(super::plain("abcdef", 3), "abc…");
        assert_eq!([super::count(7), super::count(1234567)], ["7", "1,234,567"]);
    }
}
