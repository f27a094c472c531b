//! Logging set-up: sentences with fields on stderr, coloured on a terminal, JSON when asked for.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Installs the log writer; a second call does nothing.
pub fn init(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _ =
        if json { builder.json().try_init() } else { builder.with_ansi(std::io::stderr().is_terminal()).try_init() };
}
