//! What people are told, in plain words: what it is, since when, the number, and what to do.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tidegate_event::time;

use crate::rule::{AlertCondition, AlertRule};

/// Of one text that is quoted.
const TEXT_CHARS_MAX: usize = 600;
/// Changes that one message names.
const CHANGES_SHOWN_MAX: usize = 50;

/// An object begins to fire, or recovers. Times are microseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertChange {
    /// `sync crm`, `source web`, `the disk`.
    pub object: String,
    pub is_firing: bool,
    pub at_us: i64,
    /// When the condition began to hold.
    pub began_us: i64,
    /// The number that says so, in words.
    pub text: String,
}

/// Changes of one rule that are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMessage {
    /// The same whenever it is sent again.
    pub id: String,
    /// The environment of the server.
    pub environment: String,
    pub rule: AlertRule,
    pub changes: Vec<AlertChange>,
    /// Nothing has happened: somebody tries the channel.
    pub is_test: bool,
}

impl AlertMessage {
    /// One that tries a channel.
    #[must_use]
    pub fn test(id: String, environment: &str, rule: &AlertRule, now_us: i64) -> Self {
        let change = AlertChange {
            object: "a test".to_owned(),
            is_firing: true,
            at_us: now_us,
            began_us: now_us,
            text: "somebody tries whether messages of this alert arrive; nothing has happened".to_owned(),
        };
        Self { id, environment: environment.to_owned(), rule: rule.clone(), changes: vec![change], is_test: true }
    }

    /// Whether any of it fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.changes.iter().any(|change| change.is_firing)
    }

    /// One line: `FIRING crm-failing: sync crm`.
    #[must_use]
    pub fn title(&self) -> String {
        let name = &self.rule.name;
        if self.is_test {
            return format!("TEST {name}");
        }
        let objects = |is_firing: bool| {
            let found = self.changes.iter().filter(move |change| change.is_firing == is_firing);
            found.map(|change| change.object.as_str()).collect::<Vec<&str>>()
        };
        match (&*objects(true), &*objects(false)) {
            ([one], []) => format!("FIRING {name}: {one}"),
            ([], [one]) => format!("RECOVERED {name}: {one}"),
            (firing, []) => format!("FIRING {name}: {} objects", firing.len()),
            ([], recovered) => format!("RECOVERED {name}: {} objects", recovered.len()),
            (firing, recovered) => format!("{name}: {} firing, {} recovered", firing.len(), recovered.len()),
        }
    }

    /// All of it, in lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.title();
        for change in self.changes.iter().take(CHANGES_SHOWN_MAX) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}", self.line(change));
        }
        if let Some(more) = self.changes.len().checked_sub(CHANGES_SHOWN_MAX).filter(|more| *more > 0) {
            let _ = write!(text, "\nand {more} more");
        }
        if self.is_firing() && !self.is_test {
            let _ = write!(text, "\nWhat to do: {}", advice(&self.rule.condition));
        }
        for (what, said) in [("Runbook", &self.rule.runbook), ("Owner", &self.rule.owner)] {
            if let Some(said) = said {
                let _ = write!(text, "\n{what}: {}", harmless(said));
            }
        }
        let _ = write!(text, "\nSeverity {}, environment {}", self.rule.severity.as_str(), self.environment);
        text
    }

    fn line(&self, change: &AlertChange) -> String {
        let AlertChange { object, at_us, began_us, text, .. } = change;
        match (self.is_test, change.is_firing) {
            (true, _) => text.clone(),
            (_, true) => format!("{object} since {}: {text}", instant(*began_us)),
            (_, false) => {
                let lasted = told_length(at_us.saturating_sub(*began_us));
                let lasted = lasted.map(|lasted| format!(" after {lasted}")).unwrap_or_default();
                format!("{object} recovered at {}{lasted}: {text}", instant(*at_us))
            }
        }
    }
}

/// What whoever is told can do.
#[must_use]
pub const fn advice(condition: &AlertCondition) -> &'static str {
    match condition {
        AlertCondition::VolumeDrop { .. } | AlertCondition::SourceSilent { .. } => {
            "see whether the client still sends, with which write key, and what it is answered: `tidegate tap` shows events \
             as they come, `tidegate status` when each key was used last"
        }
        AlertCondition::VolumeSpike { .. } => {
            "see what comes: `tidegate tap` shows events as they come; `rate` of the source bounds them"
        }
        AlertCondition::Violations { .. } => {
            "`tidegate quarantine` shows which events and why; mend the client, or the contract: `tidegate contract drift`"
        }
        AlertCondition::QuarantineGrowth { .. } => {
            "`tidegate quarantine` shows the reasons; mend the cause, then `tidegate quarantine retry`"
        }
        AlertCondition::FunctionFailing { .. } => {
            "`tidegate function logs` shows why; `tidegate function rollback` makes the version before live"
        }
        AlertCondition::SyncFailing { .. } => {
            "mend what the failure says; `tidegate status` shows it. What waits is kept in the log and delivered then"
        }
        AlertCondition::SyncLate { .. } => {
            "`tidegate status` shows how far the sync is behind and what it fails at; nothing is lost while the disk has room"
        }
        AlertCondition::DeliveryErrors { .. } => {
            "`tidegate quarantine` shows what the destination answered; mend it, then `tidegate quarantine retry`"
        }
        AlertCondition::Disk { .. } => {
            "make room: a sync that is behind or paused keeps the log, and so does the quarantine; when the disk is full, events \
             are refused with 503 and SDKs send them again"
        }
        AlertCondition::Certificate { .. } => "put a new certificate into the file, then `tidegate reload`",
        AlertCondition::Conservation => {
            "`tidegate audit conservation` shows where; keep the data directory as it is, and tell us"
        }
    }
}

/// `2026-11-30T10:00:00Z`.
pub(crate) fn instant(at_us: i64) -> String {
    let mut text = time::format(at_us);
    text.truncate(19);
    text.push('Z');
    text
}

/// `45 s`, `12 min`, `3 h`, `5 d`.
pub(crate) fn length(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The same; none below a second, of which nobody is told.
pub(crate) fn told_length(us: i64) -> Option<String> {
    (us >= 1_000_000).then(|| length(us))
}

/// Text from outside for a message: short, on one line, and nothing that is filled in where a message is sent.
pub(crate) fn harmless(text: &str) -> String {
    let mut kept: String = text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        kept.push_str("...");
    }
    kept.replace("{{", "{ {")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(changes: Vec<AlertChange>) -> AlertMessage {
        let rule = AlertRule {
            owner: Some("data team".to_owned()),
            ..AlertRule::new("late", AlertCondition::SyncFailing { sync: None })
        };
        AlertMessage { id: "1".to_owned(), environment: "default".to_owned(), rule, changes, is_test: false }
    }

    fn change(object: &str, is_firing: bool) -> AlertChange {
        let (began_us, at_us) = (1_764_496_800_000_000, 1_764_497_520_000_000);
        AlertChange { object: object.to_owned(), is_firing, at_us, began_us, text: "it fails: away".to_owned() }
    }

    #[test]
    fn a_message_says_what_since_when_and_what_to_do() {
        let text = message(vec![change("sync crm", true)]).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["FIRING late: sync crm", "sync crm since 2025-11-30T10:00:00Z: it fails: away"]);
        assert!(lines[2].starts_with("What to do: mend") && lines[3] == "Owner: data team", "{text}");
        let text = message(vec![change("sync crm", false)]).text();
        assert!(text.contains("sync crm recovered at 2025-11-30T10:12:00Z after 12 min"), "{text}");
        assert!(!text.contains("What to do"), "{text}");
        let both = message(vec![change("sync a", true), change("sync b", false), change("sync c", false)]);
        assert_eq!(both.title(), "late: 1 firing, 2 recovered");
    }

    #[test]
    fn a_recovery_at_once_names_no_length() {
        let at_once = AlertChange { began_us: 1_764_497_520_000_000, ..change("sync crm", false) };
        let text = message(vec![at_once]).text();
        assert!(text.contains("sync crm recovered at 2025-11-30T10:12:00Z: it fails: away"), "{text}");
    }

    #[test]
    fn text_from_outside_is_short_and_fills_nothing_in() {
        assert_eq!(harmless("a\r\nb {{secret.x}}"), "a  b { {secret.x}}");
        assert!(harmless(&"x".repeat(5_000)).len() < 700);
    }
}
