//! What a guest may ask of the host, and what the host holds for one call.

use wasmtime::ResourceLimiter;

use super::Limits;
use super::bindings::tidegate::plugin::{host, types};
use super::call::Line;

/// The host's side of one call.
pub(super) struct Guest {
    limits: Limits,
    now_ms: u64,
    seed: u64,
    pub(super) ticks_left: u64,
    pub(super) lines: Vec<Line>,
    pub(super) lines_dropped: u64,
    line_bytes: usize,
    /// By name; a bounded set.
    pub(super) counters: Vec<(String, u64)>,
    pub(super) memory_bytes: usize,
    pub(super) memory_refused: bool,
}

const COUNTERS_MAX: usize = 32;

impl Guest {
    pub(super) fn new(limits: Limits, now_ms: u64, seed: u64, ticks_left: u64) -> Self {
        Self {
            limits,
            now_ms,
            seed,
            ticks_left,
            lines: Vec::new(),
            lines_dropped: 0,
            line_bytes: 0,
            counters: Vec::new(),
            memory_bytes: 0,
            memory_refused: false,
        }
    }
}

impl types::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) {
        let end = message.floor_char_boundary(self.limits.log_line_bytes_max);
        let text = message[..end].escape_debug().to_string();
        let full =
            self.lines.len() == self.limits.log_lines_max || self.line_bytes + text.len() > self.limits.log_bytes_max;
        if full {
            self.lines_dropped += 1;
            return;
        }
        self.line_bytes += text.len();
        let level = match level {
            host::Level::Debug => "debug",
            host::Level::Info => "info",
            host::Level::Warn => "warn",
            host::Level::Error => "error",
        };
        self.lines.push(Line { level, text });
    }

    fn count(&mut self, name: String, delta: u32) {
        if let Some((_, value)) = self.counters.iter_mut().find(|(known, _)| *known == name) {
            *value += u64::from(delta);
        } else if self.counters.len() < COUNTERS_MAX && name.len() <= 64 {
            self.counters.push((name, u64::from(delta)));
        }
    }

    fn now_ms(&mut self) -> u64 {
        self.now_ms
    }

    fn seed(&mut self) -> u64 {
        self.seed
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // Several memories share the bound.
        let total = self.memory_bytes + desired.saturating_sub(current);
        if total > self.limits.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.limits.table_elements_max)
    }

    fn instances(&self) -> usize {
        self.limits.instances_max
    }

    fn tables(&self) -> usize {
        self.limits.tables_max
    }

    fn memories(&self) -> usize {
        self.limits.memories_max
    }
}
