//! Whether a condition holds for an object, and the number that says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::{CountMark, ObjectMemory};
use crate::message::{instant, length, told_length};
use crate::rule::{AlertCondition, ShareBound};
use crate::snapshot::{AlertSnapshot, SourceSeen, SyncSeen};

/// What the object is called where a condition is about everything.
const THE_DISK: &str = "the disk";
const ALL_EVENTS: &str = "all events";
const THE_QUARANTINE: &str = "the quarantine";

/// Whether a condition holds; none where that cannot be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AlertReading {
    pub(crate) holds: Option<bool>,
    /// The number, in words.
    pub(crate) text: String,
}

impl AlertReading {
    fn of(holds: bool, text: String) -> Self {
        Self { holds: Some(holds), text }
    }

    fn unknown() -> Self {
        Self::default()
    }
}

/// What a condition is about. `known` are the objects that it was about before.
pub(crate) fn objects(
    condition: &AlertCondition,
    snapshot: &AlertSnapshot,
    known: &BTreeMap<String, ObjectMemory>,
) -> BTreeSet<String> {
    fn named<T>(kind: &str, one: Option<&String>, all: &BTreeMap<String, T>) -> BTreeSet<String> {
        let names = all.keys().filter(|name| one.is_none_or(|one| one == *name));
        names.map(|name| format!("{kind} {name}")).collect()
    }
    match condition {
        AlertCondition::VolumeDrop { source, .. }
        | AlertCondition::VolumeSpike { source, .. }
        | AlertCondition::SourceSilent { source, .. }
        | AlertCondition::Violations { source, .. } => named("source", source.as_ref(), &snapshot.sources),
        AlertCondition::FunctionFailing { function, .. } => named("function", function.as_ref(), &snapshot.functions),
        AlertCondition::SyncFailing { sync } | AlertCondition::SyncLate { sync, .. } => {
            named("sync", sync.as_ref(), &snapshot.syncs)
        }
        AlertCondition::DeliveryErrors { destination, .. } => {
            let all: BTreeMap<String, ()> =
                snapshot.syncs.values().map(|sync| (sync.destination.clone(), ())).collect();
            named("destination", destination.as_ref(), &all)
        }
        AlertCondition::Certificate { .. } => {
            // A file that has never had a certificate is none of one; one that cannot be read any more stays how it was.
            let files = snapshot.certificates.iter().map(|(file, ends_us)| (format!("certificate {file}"), ends_us));
            let watched = files.filter(|(object, ends_us)| ends_us.is_some() || known.contains_key(object));
            watched.map(|(object, _)| object).collect()
        }
        AlertCondition::QuarantineGrowth { .. } => BTreeSet::from([THE_QUARANTINE.to_owned()]),
        AlertCondition::Disk { .. } => BTreeSet::from([THE_DISK.to_owned()]),
        AlertCondition::Conservation => BTreeSet::from([ALL_EVENTS.to_owned()]),
    }
}

/// The source of an object, where a condition looks at what comes in an hour.
pub(crate) fn source_by_hours<'s>(
    condition: &AlertCondition,
    object: &str,
    snapshot: &'s AlertSnapshot,
) -> Option<&'s SourceSeen> {
    let is_by_hours = matches!(
        condition,
        AlertCondition::VolumeDrop { .. } | AlertCondition::VolumeSpike { .. } | AlertCondition::SourceSilent { .. }
    );
    snapshot.sources.get(object.strip_prefix("source ").filter(|_| is_by_hours)?)
}

/// Reads a condition for one of its objects; what has to be remembered for that is in `memory`.
pub(crate) fn read(
    condition: &AlertCondition,
    object: &str,
    snapshot: &AlertSnapshot,
    memory: &mut ObjectMemory,
) -> AlertReading {
    let name = object.split_once(' ').map_or(object, |(_, name)| name);
    let source = || snapshot.sources.get(name);
    let sync = || snapshot.syncs.get(name);
    let now_us = snapshot.at_us;
    match condition {
        AlertCondition::VolumeDrop { percent, events_min, .. } => {
            let Some(source) = source() else { return AlertReading::unknown() };
            dropped(source, now_us, (*percent, *events_min, &*memory))
        }
        AlertCondition::VolumeSpike { percent, events_min, .. } => {
            let Some(source) = source() else { return AlertReading::unknown() };
            spiked(source, now_us, (*percent, *events_min, &*memory))
        }
        AlertCondition::SourceSilent { window_us, .. } => {
            let Some(source) = source() else { return AlertReading::unknown() };
            silent(source, now_us, (*window_us, memory))
        }
        AlertCondition::Violations { share, .. } => {
            let Some(source) = source() else { return AlertReading::unknown() };
            let now = CountMark { at_us: now_us, part: source.violations, all: source.accepted };
            over(*share, memory.count(now, share.window_us), "violate the contract")
        }
        AlertCondition::QuarantineGrowth { events, window_us } => {
            let now = CountMark { at_us: now_us, part: snapshot.quarantined, all: snapshot.quarantined };
            let (came, _) = memory.count(now, *window_us);
            let text =
                format!("{came} events came into quarantine within {}; {events} are too many", length(*window_us));
            AlertReading::of(came >= *events, text)
        }
        AlertCondition::FunctionFailing { share, .. } => {
            let Some(function) = snapshot.functions.get(name) else { return AlertReading::unknown() };
            let now = CountMark { at_us: now_us, part: function.failed, all: function.events };
            let reading = over(*share, memory.count(now, share.window_us), "came to nothing in it");
            match &function.stopped {
                Some(why) => AlertReading::of(true, format!("it is stopped, and its events wait in the log: {why}")),
                None => reading,
            }
        }
        AlertCondition::SyncFailing { .. } => sync().map_or_else(AlertReading::unknown, failing),
        AlertCondition::SyncLate { age_us, .. } => {
            sync().map_or_else(AlertReading::unknown, |sync| late(sync, now_us, *age_us))
        }
        AlertCondition::DeliveryErrors { share, .. } => {
            let to_it = snapshot.syncs.values().filter(|sync| sync.destination == name);
            let (part, delivered) = to_it.fold((0_u64, 0_u64), |(part, delivered), sync| {
                (part.saturating_add(sync.quarantined), delivered.saturating_add(sync.delivered))
            });
            let now = CountMark { at_us: now_us, part, all: part.saturating_add(delivered) };
            over(*share, memory.count(now, share.window_us), "were not taken and are in quarantine")
        }
        AlertCondition::Disk { percent } => {
            let Some(disk) = snapshot.disk.filter(|disk| disk.total > 0) else { return AlertReading::unknown() };
            let free = u128::from(disk.free) * 100 / u128::from(disk.total);
            let gib = disk.free >> 30;
            let text = format!("{free} % of the disk are free, {gib} GiB; fewer than {percent} % are too few");
            AlertReading::of(free < u128::from(*percent), text)
        }
        AlertCondition::Certificate { left_us } => {
            let Some(Some(ends_us)) = snapshot.certificates.get(name) else { return AlertReading::unknown() };
            let left = ends_us.saturating_sub(now_us);
            let text = if left < 0 {
                format!("it ended at {}", instant(*ends_us))
            } else {
                let left = told_length(left).map(|left| format!(", in {left}")).unwrap_or_default();
                format!("it ends at {}{left}", instant(*ends_us))
            };
            AlertReading::of(left < *left_us, text)
        }
        AlertCondition::Conservation => {
            let Some(has_breach) = snapshot.has_breach else { return AlertReading::unknown() };
            let text = if has_breach { "events are not accounted for" } else { "all events are accounted for" };
            AlertReading::of(has_breach, text.to_owned())
        }
    }
}

fn over(share: ShareBound, (part, all): (u64, u64), what: &str) -> AlertReading {
    let ShareBound { percent, events_min, window_us } = share;
    let text =
        format!("{part} of {all} events within {} {what}; more than {percent} % are too many", length(window_us));
    let is_over = u128::from(part) * 100 > u128::from(all) * u128::from(percent);
    AlertReading::of(all >= events_min.max(1) && is_over, text)
}

/// What came in the same hours of earlier weeks, as far as the source had begun and could have events then.
fn earlier(source: &SourceSeen, hour: i64, memory: &ObjectMemory) -> Vec<u64> {
    let Some(first) = source.first_hour else { return Vec::new() };
    let hours = AlertSnapshot::same_hours(hour).filter(|hour| *hour >= first && !memory.has_missed(*hour));
    hours.map(|hour| source.hours.get(&hour).copied().unwrap_or(0)).collect()
}

/// What is usual for an hour: the median of the same hours of earlier weeks.
fn usual(source: &SourceSeen, hour: i64, memory: &ObjectMemory) -> Option<u64> {
    let mut counts = earlier(source, hour, memory);
    counts.sort_unstable();
    let (low, high) = (counts.get(counts.len().checked_sub(1)? / 2)?, counts.get(counts.len() / 2)?);
    Some(low / 2 + high / 2 + (low % 2 + high % 2) / 2)
}

fn dropped(source: &SourceSeen, now_us: i64, (percent, events_min, memory): (u64, u64, &ObjectMemory)) -> AlertReading {
    let hour = AlertSnapshot::whole_hour(now_us);
    if memory.has_missed(hour) && !source.is_paused {
        return AlertReading::unknown();
    }
    let Some(usual) = usual(source, hour, memory).filter(|usual| *usual >= events_min.max(1)) else {
        return AlertReading::of(false, "too little is known of earlier weeks".to_owned());
    };
    let came = source.hours.get(&hour).copied().unwrap_or(0);
    let is_low = u128::from(came) * 100 < u128::from(usual) * u128::from(percent);
    let text = format!(
        "{came} events in the hour from {}, where {usual} are usual by earlier weeks; fewer than {percent} % of that are too few",
        begin(hour)
    );
    AlertReading::of(is_low && !source.is_paused, text)
}

fn spiked(source: &SourceSeen, now_us: i64, (percent, events_min, memory): (u64, u64, &ObjectMemory)) -> AlertReading {
    let mut known = None;
    for hour in [AlertSnapshot::hour(now_us), AlertSnapshot::whole_hour(now_us)] {
        let Some(usual) = usual(source, hour, memory) else { continue };
        let came = source.hours.get(&hour).copied().unwrap_or(0);
        let is_high = came >= events_min && u128::from(came) * 100 > u128::from(usual.max(1)) * u128::from(percent);
        let text = format!(
            "{came} events in the hour from {}, where {usual} are usual by earlier weeks; more than {percent} % of that are too many",
            begin(hour)
        );
        if is_high {
            return AlertReading::of(true, text);
        }
        known = Some(text);
    }
    AlertReading::of(false, known.unwrap_or_else(|| "too little is known of earlier weeks".to_owned()))
}

fn silent(source: &SourceSeen, now_us: i64, (window_us, memory): (i64, &mut ObjectMemory)) -> AlertReading {
    // A source that has never had events at this time of the week may be silent.
    let hour = AlertSnapshot::hour(now_us);
    let counts = earlier(source, hour, memory);
    let is_usual = !counts.is_empty() && counts.iter().all(|count| *count == 0);
    // Such a time counts for nothing afterwards either: else it would be silent for too long with the first minute of the day.
    let since_us = memory.same_since(source.accepted, now_us, is_usual || source.is_paused);
    let quiet_us = now_us.saturating_sub(since_us);
    if source.accepted == 0 || source.is_paused {
        return AlertReading::of(false, "it has had no events yet, or is paused".to_owned());
    }
    let quiet = told_length(quiet_us).map(|quiet| format!("no event for {quiet}"));
    let quiet = quiet.unwrap_or_else(|| "events come".to_owned());
    let text = format!("{quiet}; {} without are too long", length(window_us));
    AlertReading::of(quiet_us >= window_us && !is_usual, text)
}

fn failing(sync: &SyncSeen) -> AlertReading {
    match &sync.failure {
        Some(failure) if !sync.is_paused => AlertReading::of(true, format!("it fails: {failure}")),
        Some(_) => AlertReading::of(false, "it is paused".to_owned()),
        None => AlertReading::of(false, "it delivers".to_owned()),
    }
}

fn late(sync: &SyncSeen, now_us: i64, age_us: i64) -> AlertReading {
    let Some(oldest_us) = sync.oldest_waiting_us.filter(|_| !sync.is_paused) else {
        return AlertReading::of(false, "nothing waits for it".to_owned());
    };
    let waited_us = now_us.saturating_sub(oldest_us);
    let waited = told_length(waited_us).map(|waited| format!("the oldest event has waited for {waited}"));
    let waited = waited.unwrap_or_else(|| "the oldest event has just come".to_owned());
    let text = format!("{waited}; longer than {} is too long", length(age_us));
    AlertReading::of(waited_us > age_us, text)
}

fn begin(hour: i64) -> String {
    instant(hour.saturating_mul(3_600_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// A source that has had so many events in the same hour of each earlier week.
    fn source(weeks: &[u64], came: u64, hour: i64) -> SourceSeen {
        let mut hours: BTreeMap<i64, u64> = AlertSnapshot::same_hours(hour).zip(weeks.iter().copied()).collect();
        let first_hour = hours.keys().next().copied();
        hours.insert(hour, came);
        SourceSeen { hours, first_hour, accepted: came, ..SourceSeen::default() }
    }

    #[test]
    fn what_is_usual_is_the_median_of_the_same_hours_of_earlier_weeks() {
        let memory = ObjectMemory::default();
        let usual = |weeks: &[u64]| usual(&source(weeks, 0, 10_000), 10_000, &memory);
        assert_eq!(usual(&[]), None);
        assert_eq!([usual(&[7]), usual(&[4, 8]), usual(&[1, 900, 100])], [Some(7), Some(6), Some(100)]);
        assert_eq!(usual(&[1, 100, 101, 900]), Some(100));
    }

    #[test]
    fn an_hour_is_held_against_earlier_weeks_and_one_without_any_says_nothing() {
        let now_us = 10_001 * HOUR_US + HOUR_US / 2;
        let hour = AlertSnapshot::whole_hour(now_us);
        assert_eq!(hour, 10_000);
        let memory = ObjectMemory::default();
        let holds = |weeks: &[u64], came| dropped(&source(weeks, came, hour), now_us, (50, 100, &memory)).holds;
        assert_eq!([holds(&[1_000; 4], 499), holds(&[1_000; 4], 500)], [Some(true), Some(false)]);
        assert_eq!([holds(&[99; 4], 0), holds(&[], 0)], [Some(false); 2], "so few are not usual");
        let holds = |weeks: &[u64], came| spiked(&source(weeks, came, hour), now_us, (200, 100, &memory)).holds;
        assert_eq!([holds(&[1_000; 4], 2_001), holds(&[1_000; 4], 2_000)], [Some(true), Some(false)]);
        assert_eq!(
            [holds(&[0; 4], 99), holds(&[0; 4], 100), holds(&[], 9_999)],
            [Some(false), Some(true), Some(false)]
        );
    }

    #[test]
    fn before_somebody_has_looked_nobody_knows_whether_events_are_accounted_for() {
        let holds = |has_breach| {
            let snapshot = AlertSnapshot { has_breach, ..AlertSnapshot::default() };
            read(&AlertCondition::Conservation, ALL_EVENTS, &snapshot, &mut ObjectMemory::default()).holds
        };
        assert_eq!([holds(None), holds(Some(true)), holds(Some(false))], [None, Some(true), Some(false)]);
    }

    #[test]
    fn a_source_may_be_silent_when_it_always_was_at_this_time_of_the_week() {
        let now_us = 10_000 * HOUR_US;
        let holds = |weeks: &[u64]| {
            let (mut memory, seen) = (ObjectMemory::default(), source(weeks, 5, 10_000));
            memory.moved = Some((5, now_us - HOUR_US));
            silent(&seen, now_us, (HOUR_US / 2, &mut memory)).holds
        };
        assert_eq!([holds(&[0, 0]), holds(&[0, 3]), holds(&[])], [Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn a_time_in_which_a_source_may_be_silent_counts_for_nothing_afterwards() {
        let (night, minute_us) = (10_000, HOUR_US / 60);
        let mut seen = source(&[0, 0], 5, night);
        seen.hours.extend(AlertSnapshot::same_hours(night + 1).map(|hour| (hour, 9)));
        // The last event came ten minutes before the night.
        let moved = Some((5, night * HOUR_US - 10 * minute_us));
        let mut memory = ObjectMemory { moved, ..ObjectMemory::default() };
        let holds = |seen: &SourceSeen, minutes: i64, memory: &mut ObjectMemory| {
            silent(seen, night * HOUR_US + minutes * minute_us, (HOUR_US / 2, memory)).holds
        };
        for minutes in [0, 30, 59, 60, 79] {
            assert_eq!(holds(&seen, minutes, &mut memory), Some(false), "{minutes}");
        }
        assert_eq!(holds(&seen, 80, &mut memory), Some(true), "ten minutes in the evening, twenty in the morning");
        // And so does the time in which it was paused.
        seen.is_paused = true;
        let moved = Some((5, night * HOUR_US + 50 * minute_us));
        let mut memory = ObjectMemory { moved, ..ObjectMemory::default() };
        assert_eq!([60, 110].map(|minutes| holds(&seen, minutes, &mut memory)), [Some(false); 2]);
        seen.is_paused = false;
        assert_eq!([111, 119].map(|minutes| holds(&seen, minutes, &mut memory)), [Some(false); 2]);
    }

    #[test]
    fn a_time_of_nothing_is_not_told() {
        let now_us = 10_000 * HOUR_US;
        let text = |quiet_us: i64| {
            let (mut memory, seen) = (ObjectMemory::default(), source(&[9], 5, 10_000));
            memory.moved = Some((5, now_us - quiet_us));
            silent(&seen, now_us, (HOUR_US / 2, &mut memory)).text
        };
        assert_eq!(text(0), "events come; 30 min without are too long");
        assert_eq!(text(2_000_000), "no event for 2 s; 30 min without are too long");
        let text = |waited_us: i64| {
            let seen = SyncSeen { oldest_waiting_us: Some(now_us - waited_us), ..SyncSeen::default() };
            late(&seen, now_us, HOUR_US / 2).text
        };
        assert_eq!(text(0), "the oldest event has just come; longer than 30 min is too long");
        assert_eq!(text(2_000_000), "the oldest event has waited for 2 s; longer than 30 min is too long");
    }

    #[test]
    fn a_share_is_of_the_window_alone_and_few_events_say_nothing() {
        let share = ShareBound { percent: 5, events_min: 20, window_us: 16_000 };
        let mut memory = ObjectMemory::default();
        let mut at = |at_us, part, all| {
            let counted = memory.count(CountMark { at_us, part, all }, share.window_us);
            (counted, over(share, counted, "fail").holds)
        };
        assert_eq!(at(1_000, 900, 1_000), ((0, 0), Some(false)), "what was before is not of the window");
        assert_eq!(at(2_000, 910, 1_010), ((10, 10), Some(false)), "ten are few");
        assert_eq!(at(3_000, 910, 1_100), ((10, 100), Some(true)));
        assert_eq!(at(40_000, 910, 1_200), ((0, 100), Some(false)), "the window has passed");
        assert_eq!(at(41_000, 3, 4), ((0, 0), Some(false)), "counts begin anew");
    }
}
