//! Alerts that fire, as they were kept last.

use serde_json::{Value, json};
use tidegate_alert::AlertMemory;
use tidegate_event::time;
use tidegate_state::{State, StateError};

use crate::cli::style;

/// One object that an alert fires for.
struct FiringLine {
    alert: String,
    object: String,
    /// Microseconds since the epoch.
    began_us: i64,
    text: String,
}

/// What fires.
pub(super) struct AlertLines(Vec<FiringLine>);

impl AlertLines {
    pub(super) fn read(state: &State) -> Result<Self, StateError> {
        let mut lines = Vec::new();
        for (alert, memory) in state.alert_memories()? {
            // What cannot be read begins anew with the next look.
            let memory: AlertMemory = serde_json::from_str(&memory).unwrap_or_default();
            let firing = memory.objects.into_iter().filter(|(_, one)| one.phase.fires());
            lines.extend(firing.map(|(object, one)| FiringLine {
                alert: alert.clone(),
                object,
                began_us: one.began_us,
                text: one.text,
            }));
        }
        Ok(Self(lines))
    }

    pub(super) fn to_json(&self) -> Value {
        let line = |line: &FiringLine| json!({"alert": line.alert, "object": line.object, "since": time::format(line.began_us), "text": line.text});
        self.0.iter().map(line).collect()
    }

    pub(super) fn print(&self) {
        for FiringLine { alert, object, began_us, text } in &self.0 {
            let (alert, object, text) = (style::plain(alert, 100), style::plain(object, 200), style::plain(text, 500));
            println!("{} {alert}: {object} since {}: {text}", style::bold("alert:"), time::format(*began_us));
        }
    }
}
