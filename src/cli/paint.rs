//! Colour on a terminal, plain text in a pipe; tables; text from outside made harmless.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets};

fn style(code: &str, text: &str, terminal: bool) -> String {
    if terminal { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub(super) fn bold(text: &str) -> String {
    style("1", text, std::io::stdout().is_terminal())
}

pub(super) fn good(text: &str) -> String {
    style("32", text, std::io::stdout().is_terminal())
}

pub(super) fn error(text: &str) -> String {
    style("1;31", text, std::io::stderr().is_terminal())
}

/// A table that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(140);
    }
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
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
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
