//! How far events are erased that their sources keep no longer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_event::time;
use tidegate_state::{ErasedToTime, State, StateError};

use crate::cli::style;

/// Sources that have erased anything, or are about to.
pub(super) struct RetentionLines(Vec<ErasedToTime>);

impl RetentionLines {
    pub(super) fn read(state: &State) -> Result<Self, StateError> {
        state.erased_to_times().map(Self)
    }

    /// By source, up to when its events are erased.
    pub(super) fn to_json(&self) -> Value {
        let lines: BTreeMap<&str, Option<String>> =
            self.0.iter().map(|line| (line.source.as_str(), line.at_us.map(time::format))).collect();
        json!(lines)
    }

    pub(super) fn print(&self) {
        for ErasedToTime { source, at_us } in &self.0 {
            if let Some(at_us) = at_us {
                let (bold, source) = (style::bold("retention:"), style::plain(source, 200));
                println!("{bold} source {source}: erased up to {}", time::format(*at_us));
            }
        }
    }
}
