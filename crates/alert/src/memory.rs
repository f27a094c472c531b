//! How each object of a rule is, as it is kept over restarts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Parts of a window between two marks.
const MARKS_A_WINDOW: i64 = 16;

/// How an object is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertPhase {
    #[default]
    Ok,
    /// The condition holds, and not for long enough yet.
    Pending,
    Firing,
    /// It fires, and the condition does not hold any more, for not long enough yet.
    Recovering,
}

impl AlertPhase {
    #[must_use]
    pub const fn fires(self) -> bool {
        matches!(self, Self::Firing | Self::Recovering)
    }

    /// The word of answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
        }
    }
}

/// What was counted at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountMark {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub part: u64,
    pub all: u64,
}

/// How one object is. Times are microseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectMemory {
    pub phase: AlertPhase,
    /// When the phase began.
    pub since_us: i64,
    /// When the condition began to hold that it fires for.
    pub began_us: i64,
    /// Whether its firing was told, and no recovery since.
    pub is_told: bool,
    /// What was read last, in words.
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<CountMark>,
    /// What was counted last, and when it was another number last; times in which that is no matter are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<(u64, i64)>,
    /// When somebody looked last, where it was no matter then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excused_us: Option<i64>,
}

/// How all objects of a rule are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertMemory {
    /// When it was evaluated last.
    pub evaluated_us: i64,
    pub objects: BTreeMap<String, ObjectMemory>,
}

impl AlertMemory {
    /// Whether it says nothing that would be missed.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.objects
            .values()
            .all(|one| one.phase == AlertPhase::Ok && !one.is_told && one.marks.is_empty() && one.moved.is_none())
    }

    /// The same, as if the time from the last look to this one had not passed: nobody has looked.
    pub(crate) fn shifted(&self, by_us: i64, now_us: i64) -> Self {
        let later = |at_us: i64| at_us.saturating_add(by_us).min(now_us);
        let mut shifted = self.clone();
        for one in shifted.objects.values_mut() {
            if matches!(one.phase, AlertPhase::Pending | AlertPhase::Recovering) {
                one.since_us = later(one.since_us);
            }
            if one.phase == AlertPhase::Pending {
                one.began_us = later(one.began_us);
            }
            one.marks.iter_mut().for_each(|mark| mark.at_us = later(mark.at_us));
            one.moved = one.moved.map(|(count, at_us)| (count, later(at_us)));
            one.excused_us = one.excused_us.map(later);
        }
        shifted
    }
}

impl ObjectMemory {
    /// Counts now, and answers what has come since the window began.
    pub(crate) fn count(&mut self, now: CountMark, window_us: i64) -> (u64, u64) {
        // Counts that are made anew begin at nothing.
        self.marks.retain(|mark| mark.part <= now.part && mark.all <= now.all && mark.at_us <= now.at_us);
        let pause_us = (window_us / MARKS_A_WINDOW).max(1);
        if self.marks.last().is_none_or(|last| now.at_us - last.at_us >= pause_us) {
            self.marks.push(now);
        }
        let begins_us = now.at_us.saturating_sub(window_us);
        let older = self.marks.iter().take_while(|mark| mark.at_us <= begins_us).count();
        self.marks.drain(..older.saturating_sub(1));
        let base = self.marks.first().copied().unwrap_or(now);
        (now.part - base.part, now.all - base.all)
    }

    /// Since when a count is the same, without the time in which that was no matter; `is_excused` says that it is none now.
    pub(crate) fn same_since(&mut self, count: u64, now_us: i64, is_excused: bool) -> i64 {
        let excused_us = self.excused_us.map_or(0, |looked_us| now_us.saturating_sub(looked_us).max(0));
        let since_us = match self.moved {
            Some((known, at_us)) if known == count => at_us.saturating_add(excused_us).min(now_us),
            _ => now_us,
        };
        self.moved = Some((count, since_us));
        self.excused_us = is_excused.then_some(now_us);
        since_us
    }
}
