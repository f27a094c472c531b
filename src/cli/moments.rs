//! Moments in arguments: a time such as 2026-01-31T00:00:00Z, or an age such as 7d.

use tidegate_document::units;
use tidegate_event::time;
use tidegate_process::clock;

use super::CommandFailure;

/// In microseconds since the epoch.
pub(super) fn moment_us(text: &str) -> Option<i64> {
    time::parse(text).or_else(|| {
        let age = units::duration(text)?;
        Some(clock::now_us().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
    })
}

/// The same, of an option.
pub(super) fn option_us(option: &str, text: &str) -> Result<i64, CommandFailure> {
    moment_us(text).ok_or_else(|| {
        let wrong = format!("{option} {text:?} is no time such as 2026-01-31T00:00:00Z and no age such as 7d");
        CommandFailure::Failed(wrong)
    })
}

/// As the server takes it.
pub(super) fn option_time(option: &str, text: &str) -> Result<String, CommandFailure> {
    option_us(option, text).map(time::format)
}
