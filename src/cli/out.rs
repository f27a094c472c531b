//! What the command line prints, to its last character.
//!
//! Names of a workspace, events, what guests and far sides say: all of that is printed by some command. Nothing of it may
//! touch the terminal, so every line passes here, and what would is spelled out; in JSON, so that it means the same. Our
//! own styles pass because they carry a mark that nobody outside can know.

use std::fmt::Arguments;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::HEXLOWER;
use tidegate_process::clock;
use tidegate_process::telemetry::harmless;

use crate::config::environment;

/// Whether standard output is for programs.
static JSON: AtomicBool = AtomicBool::new(false);

/// Everything printed from now on is JSON.
pub(super) fn is_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// A line on standard output.
pub(super) fn line(text: Arguments<'_>) {
    let text = text.to_string();
    if JSON.load(Ordering::Relaxed) {
        std::println!("{}", harmless::json(&text));
    } else {
        std::println!("{}", shown(&text));
    }
}

/// A line on standard error.
pub(super) fn error_line(text: Arguments<'_>) {
    std::eprintln!("{}", shown(&text.to_string()));
}

/// Text for the terminal, for whoever writes a whole screen at once.
pub(super) fn of_terminal(text: &str) -> String {
    shown(text)
}

fn shown(text: &str) -> String {
    let mut pieces = text.split(mark()).map(harmless::text);
    let mut out = pieces.next().unwrap_or_default().into_owned();
    for piece in pieces {
        out.push_str("\x1b[");
        out.push_str(&piece);
    }
    out
}

/// Begins a style. Nobody outside knows it, so no text from outside can hold one.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("<style {}>", HEXLOWER.encode(&clock::random::<16>())))
}

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Error,
}

/// `text` in a style of the terminal, or plain where there is none or nobody wants it.
pub(super) fn styled(code: &str, text: &str, stream: Stream) -> String {
    if is_coloured(stream) { format!("{0}{code}m{text}{0}0m", mark()) } else { text.to_owned() }
}

/// Whether a stream is a terminal whose user wants colours: <https://no-color.org>, `CLICOLOR=0` and `TERM=dumb` say no.
pub(super) fn is_coloured(stream: Stream) -> bool {
    let terminal = match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Error => std::io::stderr().is_terminal(),
    };
    terminal && !is_colour_unwanted()
}

/// Whether the terminal moves no cursor, so that nothing may be drawn over.
pub(super) fn is_dumb() -> bool {
    environment("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether the user has said that there shall be no colours.
pub(super) fn is_colour_unwanted() -> bool {
    is_dumb()
        || environment("NO_COLOR").is_some_and(|value| !value.is_empty())
        || environment("CLICOLOR").is_some_and(|value| value == "0")
}

/// Columns of a terminal that does not say how wide it is.
const COLUMNS_DEFAULT: u16 = 80;
/// Nobody reads lines that are narrower.
const COLUMNS_MIN: u16 = 20;

/// The width of standard output, if it is a terminal. A terminal of no width has not been told its own.
pub(super) fn columns() -> Option<u16> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
    Some(if size < COLUMNS_MIN { COLUMNS_DEFAULT } else { size })
}

/// The rows of standard output, if it is a terminal that says so.
pub(super) fn rows() -> Option<u16> {
    let out = std::io::stdout();
    let rows = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_row);
    Some(rows).filter(|rows| *rows > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_styles_pass_and_nobody_elses() {
        let own = format!("{0}1mbold{0}0m", mark());
        assert_eq!(shown(&own), "\x1b[1mbold\x1b[0m");
        assert_eq!(shown("\x1b[1mred <style 00>1m"), "\\u{1b}[1mred <style 00>1m");
    }
}
