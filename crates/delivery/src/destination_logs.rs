//! What destination plugins logged lately. It is kept in memory, from the start of the process on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_process::clock;
use tidegate_wasm::{CallLog, Level};

/// Lines that are kept of each destination.
const LINES_MAX: usize = 1_000;

/// One line, told apart by its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Microseconds since the epoch.
    pub at_us: i64,
    /// The sha-256 of the component in hexadecimal; empty for that of a file.
    pub version: Arc<str>,
    pub level: Level,
    pub text: String,
}

/// The lines of all destinations. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct DestinationLogs(Arc<Mutex<BTreeMap<String, VecDeque<Logged>>>>);

/// Where one version writes.
#[derive(Debug, Clone)]
pub struct Page {
    retry_index: DestinationLogs,
    name: String,
    version: Arc<str>,
}

impl DestinationLogs {
    /// Where `version` of the destination `name` writes.
    #[must_use]
    pub fn page(&self, name: &str, version: &str) -> Page {
        Page { retry_index: self.clone(), name: name.to_owned(), version: version.into() }
    }

    /// The lines of a destination that fit, newest last, at most `lines_max`.
    pub fn lines(&self, name: &str, lines_max: usize, fits: impl Fn(&Logged) -> bool) -> Vec<Logged> {
        let retry_index = self.0.lock();
        let all = retry_index.get(name).into_iter().flatten().rev();
        let mut found: Vec<Logged> = all.filter(|line| fits(line)).take(lines_max).cloned().collect();
        found.reverse();
        found
    }
}

impl Page {
    /// The sha-256 of the component in hexadecimal; empty for that of a file.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn write(&self, call_log: &CallLog) {
        if call_log.lines.is_empty() {
            return;
        }
        let at_us = clock::now_us();
        let mut retry_index = self.retry_index.0.lock();
        let lines = retry_index.entry(self.name.clone()).or_default();
        for line in &call_log.lines {
            let (version, text) = (Arc::clone(&self.version), line.text.clone());
            lines.push_back(Logged { at_us, version, level: line.level, text });
        }
        let over = lines.len().saturating_sub(LINES_MAX);
        lines.drain(..over);
    }
}
