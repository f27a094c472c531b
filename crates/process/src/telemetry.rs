//! What people read of a running program: the log on stderr, as sentences with fields, coloured on a terminal, or as JSON
//! when asked for.
//!
//! Text from outside reaches it in messages and fields, and is [`harmless`] when it leaves. A run of failures is a
//! [`Streak`]: two lines, not one for each attempt.

pub mod harmless;
mod streak;

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;

pub use streak::{Healed, Streak};

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLook {
    Plain,
    Coloured,
    Json,
}

/// A library that says at `info` what it does with each batch.
const TALKATIVE: &str = "krafka";
/// From which level on it is heard. Of topics that are gone it warns ten times a second; whoever uses it tells that once.
const HEARD_OF_TALKATIVE: [&str; 2] = ["krafka=warn", "krafka::metadata=error"];

/// Installs the log writer; a second call does nothing.
pub fn init(filter: &str, look: LogLook) {
    let builder = tracing_subscriber::fmt().with_env_filter(env_filter(filter)).with_target(false);
    let _ = match look {
        LogLook::Json => builder.json().with_writer(HarmlessJson).try_init(),
        LogLook::Plain | LogLook::Coloured => {
            let fields = debug_fn(|writer, field, value| {
                let text = format!("{value:?}");
                let text = harmless::line(&text);
                if field.name() == "message" { write!(writer, "{text}") } else { write!(writer, "{field}={text}") }
            });
            let builder = builder.with_writer(io::stderr).with_ansi(look == LogLook::Coloured);
            builder.fmt_fields(fields.delimited(" ")).try_init()
        }
    };
}

fn env_filter(filter: &str) -> EnvFilter {
    let is_silenced = !filter.contains(TALKATIVE) && !matches!(filter, "off" | "error");
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let heard = HEARD_OF_TALKATIVE.iter().filter(|_| is_silenced);
    heard.filter_map(|directive| directive.parse().ok()).fold(filter, EnvFilter::add_directive)
}

/// Makes writers of JSON lines that cannot touch a terminal.
struct HarmlessJson;

impl<'a> MakeWriter<'a> for HarmlessJson {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for HarmlessJson {
    /// Gets a whole line at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        io::stderr().write_all(harmless::json(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What an error says, and what its causes say, on one line. Some errors name their cause already; it is not said twice.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_library_that_talks_much_no_more_is_heard_than_is_said_once() {
        let heard = env_filter("info").to_string();
        for directive in HEARD_OF_TALKATIVE {
            assert!(heard.split(',').any(|said| said == directive), "{heard}");
        }
        assert!(!env_filter("info,krafka=debug").to_string().contains("metadata"), "who asks for it hears it");
        assert!(!env_filter("error").to_string().contains(TALKATIVE));
    }
}
