//! What passed between a guest and its host beside the events: log lines and counters, bounded and made legible, and what
//! the guest was given.

use std::collections::BTreeMap;

use tidegate_event::json;
use tidegate_event::value::Value;

use super::legible::{NAME_BYTES_MAX, legible};
use super::limits::CallLimits;

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub text: String,
}

/// The log lines and counters of one run. It never fails and never grows past its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallLog {
    pub lines: Vec<LogLine>,
    /// Lines that found no room.
    pub lines_dropped: u64,
    pub counters: BTreeMap<String, u64>,
    /// Settings and entries of tables with numbers that the guest cannot see to the last digit.
    pub given: Vec<Value>,
    bytes: usize,
    /// An unfinished line of standard output or standard error.
    partial: Vec<u8>,
}

/// Entries of tables that are kept of a run.
const GIVEN_MAX: usize = 256;

/// Deeper ones are not.
const GIVEN_DEPTH_MAX: usize = 128;

impl CallLog {
    /// Keeps a text of JSON that the guest was given.
    pub(super) fn give(&mut self, json_text: &str) {
        if self.given.len() < GIVEN_MAX
            && let Ok(value) = json::parse(json_text.as_bytes(), GIVEN_DEPTH_MAX)
            && !self.given.contains(&value)
        {
            self.given.push(value);
        }
    }

    pub(super) fn log(&mut self, limits: &CallLimits, level: Level, message: &str) {
        let room = limits.log_bytes_max.saturating_sub(self.bytes);
        if self.lines.len() >= limits.log_lines_max || room == 0 {
            self.lines_dropped += 1;
            return;
        }
        let text = legible(message, limits.log_line_bytes_max.min(room));
        self.bytes += text.len();
        self.lines.push(LogLine { level, text });
    }

    pub(super) fn count(&mut self, limits: &CallLimits, name: &str, delta: u32) {
        let name = legible(name, NAME_BYTES_MAX);
        if let Some(counter) = self.counters.get_mut(&name) {
            *counter = counter.saturating_add(delta.into());
        } else if self.counters.len() < limits.counter_names_max {
            self.counters.insert(name, delta.into());
        }
    }

    /// Takes bytes of standard output and logs each line that they finish.
    pub(super) fn print(&mut self, limits: &CallLimits, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = limits.log_line_bytes_max.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                self.finish_line(limits);
            }
        }
    }

    /// Logs what is left of an unfinished line.
    pub(super) fn finish_line(&mut self, limits: &CallLimits) {
        let partial = std::mem::take(&mut self.partial);
        if !partial.is_empty() {
            self.log(limits, Level::Info, &String::from_utf8_lossy(&partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let limits = CallLimits::default();
        let mut call_log = CallLog::default();
        for _ in 0..1_000 {
            call_log.log(&limits, Level::Info, &"x".repeat(5_000));
        }
        assert_eq!(call_log.lines.len(), 16);
        assert!(call_log.lines.iter().all(|line| line.text.len() == 1_024));
        assert_eq!(call_log.lines_dropped, 984);

        let mut call_log = CallLog::default();
        for i in 0..1_000 {
            call_log.log(&limits, Level::Info, "short");
            call_log.count(&limits, &i.to_string(), 1);
            call_log.count(&limits, "0", u32::MAX);
        }
        assert_eq!((call_log.lines.len(), call_log.lines_dropped, call_log.counters.len()), (100, 900, 32));
        assert_eq!(call_log.counters["0"], 1 + 1_000 * u64::from(u32::MAX));
    }

    #[test]
    fn printed_bytes_become_lines() {
        let limits = CallLimits::default();
        let mut call_log = CallLog::default();
        call_log.print(&limits, b"one\ntw");
        call_log.print(&limits, b"o\n\nthree");
        call_log.print(&limits, &[b'x'; 100_000]);
        call_log.finish_line(&limits);
        let texts: Vec<_> = call_log.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..2], ["one", "two"]);
        assert_eq!((texts.len(), texts[2].len()), (3, 1_024));
    }
}
