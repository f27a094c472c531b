//! Splitting, calling, halving.

use std::ops::Range;
use std::time::Duration;

use super::{Function, Outcome, Ran, RunContext};
use crate::wasm::Break;
use crate::wasm::bindings::exports::tidegate::plugin::transformer;

const RETRIES_MAX: u32 = 3;
const CODE_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Lines kept of one run.
const LINES_MAX: usize = 1_000;
const COUNTERS_MAX: usize = 64;

impl Function {
    /// Runs `batch` and answers one outcome for each event.
    pub async fn run(&self, batch: &[String], cx: RunContext) -> Ran {
        let mut ran = Ran { outcomes: vec![Outcome::Keep; batch.len()], ..Ran::default() };
        let mut spent = Duration::ZERO;
        for part in self.parts(batch) {
            self.settle(batch, part, cx, &mut ran, &mut spent).await;
        }
        ran
    }

    /// Cuts a batch where a call would take too many events or bytes.
    fn parts(&self, batch: &[String]) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, event) in batch.iter().enumerate() {
            let full = at - start == self.limits.call_events_max || bytes + event.len() > self.limits.call_bytes_max;
            if full && at > start {
                parts.push(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += event.len();
        }
        if start < batch.len() {
            parts.push(start..batch.len());
        }
        parts
    }

    /// Settles one part: called whole, and halved as long as it breaks. `spent` counts the time of broken calls.
    async fn settle(&self, batch: &[String], part: Range<usize>, cx: RunContext, ran: &mut Ran, spent: &mut Duration) {
        let mut left = vec![part];
        while let Some(range) = left.pop() {
            if *spent > self.limits.bisect_max {
                let message = "the function broke so often that this event was not tried again";
                fault(ran, range, "bisect-limit", message);
                continue;
            }
            let events = &batch[range.clone()];
            let broke = match self.call(events, cx, ran).await {
                Ok(outcomes) if outcomes.len() == events.len() => {
                    for (at, outcome) in range.zip(outcomes) {
                        ran.outcomes[at] = convert(outcome);
                    }
                    continue;
                }
                Ok(outcomes) => {
                    let message = format!("{} outcomes for {} events", outcomes.len(), events.len());
                    Fault { code: "wrong-count".into(), message, whole: false }
                }
                Err((broke, busy)) => {
                    *spent += busy;
                    describe(broke)
                }
            };
            if broke.whole || range.len() == 1 {
                fault(ran, range, &broke.code, &broke.message);
                continue;
            }
            let middle = range.start + range.len() / 2;
            left.push(middle..range.end);
            left.push(range.start..middle);
        }
    }

    async fn call(
        &self,
        events: &[String],
        cx: RunContext,
        ran: &mut Ran,
    ) -> Result<Vec<transformer::Outcome>, (Break, Duration)> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let called = self.module.transform(&self.settings_json, events, cx.now_ms, cx.seed).await;
            let busy = called.stats.busy;
            let stats = &mut ran.stats;
            stats.calls += 1;
            stats.breaks += called.stats.breaks;
            stats.busy += busy;
            stats.memory_bytes_peak = stats.memory_bytes_peak.max(called.stats.memory_bytes_peak);
            stats.lines_dropped += called.stats.lines_dropped;
            for (name, delta) in called.stats.counters {
                if let Some((_, value)) = stats.counters.iter_mut().find(|(known, _)| *known == name) {
                    *value += delta;
                } else if stats.counters.len() < COUNTERS_MAX {
                    stats.counters.push((name, delta));
                }
            }
            let room = LINES_MAX.saturating_sub(ran.lines.len());
            ran.lines.extend(called.lines.into_iter().take(room));
            match called.outcome {
                Ok(outcomes) => return Ok(outcomes),
                Err(Break::Retryable { .. }) if attempt < RETRIES_MAX => {}
                Err(broke) => return Err((broke, busy)),
            }
        }
    }
}

struct Fault {
    code: String,
    message: String,
    /// Not the events' doing: halving would not help.
    whole: bool,
}

fn describe(broke: Break) -> Fault {
    let fault = |code: &str, message: &str, whole| Fault { code: code.into(), message: message.into(), whole };
    match broke {
        Break::CpuBudget => fault("cpu-budget", "the function used up its CPU time", false),
        Break::WallLimit => fault("wall-limit", "the function did not answer in time", false),
        Break::MemoryLimit => fault("memory-limit", "the function wanted more memory than it is granted", false),
        Break::OutputLimit => fault("output-limit", "the function handed back more than it may", false),
        Break::Trap(message) => fault("trap", &message, false),
        Break::Configure { code, message } => fault("configure-failed", &format!("{code}: {message}"), true),
        Break::Fatal { code, message } | Break::Retryable { code, message } => {
            fault("batch-failed", &format!("{code}: {message}"), false)
        }
    }
}

fn fault(ran: &mut Ran, range: Range<usize>, code: &str, message: &str) {
    for at in range {
        ran.outcomes[at] = Outcome::Fault { code: code.to_owned(), message: clip(message, MESSAGE_BYTES_MAX) };
    }
}

fn convert(outcome: transformer::Outcome) -> Outcome {
    match outcome {
        transformer::Outcome::Keep => Outcome::Keep,
        transformer::Outcome::Replace(event) => Outcome::Replace(event),
        transformer::Outcome::Emit(events) => Outcome::Emit(events),
        transformer::Outcome::Drop(reason) => Outcome::Drop(clip(&reason, CODE_BYTES_MAX)),
        transformer::Outcome::Fail(error) => {
            Outcome::Fail { code: clip(&error.code, CODE_BYTES_MAX), message: clip(&error.message, MESSAGE_BYTES_MAX) }
        }
    }
}

/// Text from a guest: cut, and without characters that could touch a terminal.
fn clip(text: &str, bytes_max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(bytes_max)];
    cut.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
