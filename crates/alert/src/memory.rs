//! How each object of a rule is, as it is kept over restarts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::snapshot::AlertSnapshot;

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
    /// Hours that say nothing of its source; none where no condition asks for hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedHours>,
}

/// Hours, counted from the epoch, in which a source was paused for a time, or the server did not run: few events say nothing then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissedHours {
    /// Whether the source was paused when somebody looked last.
    pub was_paused: bool,
    /// From one hour to another one, both of them too; the earliest first.
    pub ranges: Vec<(i64, i64)>,
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
        self.objects.values().all(ObjectMemory::is_blank)
    }

    /// Whether two memories say the same, but for when somebody looked and the numbers of what is in order: those change with every look.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let plain = |memory: &Self| -> BTreeMap<String, ObjectMemory> {
            // What says nothing is not kept.
            let kept = memory.objects.iter().filter(|(_, one)| !one.is_blank());
            kept.map(|(object, one)| (object.clone(), one.plain())).collect()
        };
        plain(self) == plain(other)
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
    fn is_blank(&self) -> bool {
        self.phase == AlertPhase::Ok
            && !self.is_told
            && self.marks.is_empty()
            && self.moved.is_none()
            && self.missed.is_none()
    }

    /// Without what is another one at each look.
    fn plain(&self) -> Self {
        Self {
            text: String::new(),
            moved: self.moved.map(|_| (0, 0)),
            excused_us: self.excused_us.map(|_| 0),
            ..self.clone()
        }
    }

    /// Notes which hours say nothing, at a look. `looked_us` is when somebody looked before, and `is_gap` that it was too long ago: the server
    /// did not run.
    pub(crate) fn note_hours(&mut self, now_us: i64, (looked_us, is_gap): (i64, bool), is_paused: bool) {
        let now = AlertSnapshot::hour(now_us);
        let missed = self.missed.get_or_insert_default();
        let since = if is_gap || missed.was_paused { AlertSnapshot::hour(looked_us) } else { now };
        if (is_gap || missed.was_paused || is_paused) && since <= now {
            missed.ranges.push((since, now));
        }
        missed.was_paused = is_paused;
        missed.ranges.sort_unstable();
        let oldest = AlertSnapshot::oldest_hour(now_us);
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for (first, last) in missed.ranges.drain(..).filter(|(first, last)| *last >= oldest && *first <= now) {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        missed.ranges = ranges;
    }

    /// Whether an hour says nothing of its source.
    pub(crate) fn has_missed(&self, hour: i64) -> bool {
        let mut ranges = self.missed.iter().flat_map(|missed| &missed.ranges);
        ranges.any(|(first, last)| (*first..=*last).contains(&hour))
    }

    /// Counts now, and answers what has come since the window began.
    pub(crate) fn count(&mut self, now: CountMark, window_us: i64) -> (u64, u64) {
        // Counts that are made anew begin at nothing.
        self.marks.retain(|mark| mark.part <= now.part && mark.all <= now.all && mark.at_us <= now.at_us);
        let pause_us = (window_us / MARKS_A_WINDOW).max(1);
        // While nothing is counted the last mark says it all.
        let is_due =
            |last: &CountMark| now.at_us - last.at_us >= pause_us && (last.part, last.all) != (now.part, now.all);
        if self.marks.last().is_none_or(is_due) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn memory(one: ObjectMemory) -> AlertMemory {
        AlertMemory { evaluated_us: 0, objects: BTreeMap::from([("source web".to_owned(), one)]) }
    }

    #[test]
    fn a_look_at_which_nothing_has_changed_leaves_a_memory_as_it_was() {
        // Events that come, and a pause that goes on.
        for is_paused in [false, true] {
            let mut one = ObjectMemory::default();
            let mut looked = |at_s: i64| {
                one.note_hours(at_s * SECOND_US, ((at_s - 15) * SECOND_US, false), is_paused);
                one.same_since(if is_paused { 7 } else { at_s.unsigned_abs() }, at_s * SECOND_US, is_paused);
                one.text = format!("{at_s} s");
                memory(one.clone())
            };
            let (first, second) = (looked(100), looked(115));
            assert!(first != second && first.is_alike(&second), "{first:?} {second:?}");
        }
        let before = memory(ObjectMemory::default());
        let fires = memory(ObjectMemory { phase: AlertPhase::Firing, ..ObjectMemory::default() });
        assert!(!fires.is_alike(&before) && AlertMemory::default().is_alike(&before));
        let mut paused = ObjectMemory::default();
        paused.same_since(7, SECOND_US, true);
        let mut resumed = paused.clone();
        resumed.same_since(7, SECOND_US, false);
        assert!(!memory(paused).is_alike(&memory(resumed)), "what counts as silence again is kept");
    }

    #[test]
    fn a_window_in_which_nothing_is_counted_takes_no_further_marks() {
        let mut one = ObjectMemory::default();
        let mut counted = |at_us, part| one.count(CountMark { at_us, part, all: part }, 160).0;
        for at_us in 0..100 {
            assert_eq!(counted(at_us, 3), 0);
        }
        assert_eq!([counted(100, 8), counted(259, 8), counted(260, 8)], [5, 5, 0]);
        assert_eq!(one.marks.len(), 1);
    }

    #[test]
    fn hours_that_are_missed_are_ranges_and_those_that_nobody_needs_any_more_go() {
        const HOUR_US: i64 = 3_600 * SECOND_US;
        let mut one = ObjectMemory::default();
        one.note_hours(5_000 * HOUR_US, (0, false), false);
        assert!(!memory(one.clone()).is_blank() && !one.has_missed(5_000));
        one.note_hours(5_003 * HOUR_US, (5_000 * HOUR_US, true), true);
        one.note_hours(5_004 * HOUR_US, (5_003 * HOUR_US, false), false);
        one.note_hours(5_009 * HOUR_US, (5_008 * HOUR_US, true), false);
        let kept = one.missed.clone().unwrap();
        assert_eq!(kept.ranges, [(5_000, 5_004), (5_008, 5_009)]);
        assert_eq!([5_004, 5_005, 5_008].map(|hour| one.has_missed(hour)), [true, false, true]);
        one.note_hours(5_700 * HOUR_US, (5_700 * HOUR_US, false), false);
        assert!(one.missed.is_some_and(|missed| missed.ranges.is_empty()));
    }
}
