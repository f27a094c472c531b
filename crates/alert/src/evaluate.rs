//! From what was remembered and what is counted to what is told.

use crate::memory::{AlertMemory, AlertPhase, ObjectMemory};
use crate::message::{AlertChange, harmless};
use crate::reading::{self, AlertReading};
use crate::rule::AlertRule;
use crate::snapshot::AlertSnapshot;

/// Between two looks; when more time has passed, nobody has looked.
const LOOKED_US: i64 = 150_000_000;
/// Objects of one rule.
const OBJECTS_MAX: usize = 1_000;
const GONE: &str = "it is not there any more";

/// What an evaluation has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvaluatedAlert {
    pub memory: AlertMemory,
    /// What has changed, for the history.
    pub changes: Vec<AlertChange>,
    /// What is to be told.
    pub told: Vec<AlertChange>,
}

/// Evaluates a rule. While it is muted nothing is told; what is different then is told afterwards, if it still is.
#[must_use]
pub fn evaluate(rule: &AlertRule, memory: &AlertMemory, snapshot: &AlertSnapshot, is_muted: bool) -> EvaluatedAlert {
    let now_us = snapshot.at_us;
    let passed_us = now_us.saturating_sub(memory.evaluated_us);
    let is_gap = memory.evaluated_us > 0 && !(0..=LOOKED_US).contains(&passed_us);
    let mut before = if is_gap { memory.shifted(passed_us, now_us) } else { memory.clone() };
    let memory = AlertMemory { evaluated_us: now_us, ..AlertMemory::default() };
    let mut evaluated = EvaluatedAlert { memory, ..EvaluatedAlert::default() };
    let objects = reading::objects(&rule.condition, snapshot, &before.objects);
    for object in objects.into_iter().take(OBJECTS_MAX) {
        let mut one = before.objects.remove(&object).unwrap_or_default();
        if let Some(source) = reading::source_by_hours(&rule.condition, &object, snapshot) {
            one.note_hours(now_us, (before.evaluated_us, is_gap), source.is_paused);
        }
        let found = reading::read(&rule.condition, &object, snapshot, &mut one);
        evaluated.step(rule, (object, one), (&found, now_us, is_muted));
    }
    // What is gone recovers, and is forgotten then.
    for (object, one) in before.objects {
        if one.phase.fires() || one.is_told {
            let found = AlertReading { holds: Some(false), text: GONE.to_owned() };
            evaluated.step(rule, (object, one), (&found, now_us, is_muted));
        }
    }
    evaluated
}

impl EvaluatedAlert {
    fn step(
        &mut self,
        rule: &AlertRule,
        (object, mut one): (String, ObjectMemory),
        (found, now_us, is_muted): (&AlertReading, i64, bool),
    ) {
        let did_fire = one.phase.fires();
        if found.holds.is_some() {
            one.text = harmless(&found.text);
        }
        one.follow(rule, found.holds, now_us);
        let change = |one: &ObjectMemory| AlertChange {
            object: object.clone(),
            is_firing: one.phase.fires(),
            at_us: now_us,
            began_us: one.began_us,
            text: one.text.clone(),
        };
        if one.phase.fires() != did_fire {
            self.changes.push(change(&one));
        }
        if one.phase.fires() != one.is_told && !is_muted {
            one.is_told = one.phase.fires();
            self.told.push(change(&one));
        }
        self.memory.objects.insert(object, one);
    }
}

impl ObjectMemory {
    /// Goes to the next phase, if it is time.
    fn follow(&mut self, rule: &AlertRule, holds: Option<bool>, now_us: i64) {
        let Some(holds) = holds else { return };
        let passed_us = now_us.saturating_sub(self.since_us);
        let next = match (self.phase, holds) {
            (AlertPhase::Ok, true) => {
                self.began_us = now_us;
                if rule.for_us <= 0 { AlertPhase::Firing } else { AlertPhase::Pending }
            }
            (AlertPhase::Pending, true) if passed_us >= rule.for_us => AlertPhase::Firing,
            (AlertPhase::Pending, false) => AlertPhase::Ok,
            (AlertPhase::Firing, false) if rule.recover_us <= 0 => AlertPhase::Ok,
            (AlertPhase::Firing, false) => AlertPhase::Recovering,
            (AlertPhase::Recovering, true) => AlertPhase::Firing,
            (AlertPhase::Recovering, false) if passed_us >= rule.recover_us => AlertPhase::Ok,
            (phase, _) => phase,
        };
        if next != self.phase {
            self.phase = next;
            self.since_us = now_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rule::AlertCondition;
    use crate::snapshot::{SourceSeen, SyncSeen};

    const SECOND_US: i64 = 1_000_000;

    fn rule(for_s: i64, recover_s: i64) -> AlertRule {
        AlertRule {
            for_us: for_s * SECOND_US,
            recover_us: recover_s * SECOND_US,
            ..AlertRule::new("a", AlertCondition::SyncFailing { sync: None })
        }
    }

    /// A look at a sync that fails or not, or is not there.
    fn look(at_s: i64, fails: Option<bool>) -> AlertSnapshot {
        let mut snapshot = AlertSnapshot { at_us: at_s * SECOND_US, ..AlertSnapshot::default() };
        if let Some(fails) = fails {
            let failure = fails.then(|| "away".to_owned());
            snapshot.syncs.insert("crm".to_owned(), SyncSeen { failure, ..SyncSeen::default() });
        }
        snapshot
    }

    /// Goes on over looks that fail or not, a second apart; what was told.
    fn told(rule: &AlertRule, looks: &[(i64, bool)]) -> Vec<(i64, bool)> {
        let (mut memory, mut all) = (AlertMemory::default(), Vec::new());
        for (at_s, fails) in looks {
            let done = evaluate(rule, &memory, &look(*at_s, Some(*fails)), false);
            all.extend(done.told.iter().map(|change| (change.at_us / SECOND_US, change.is_firing)));
            memory = done.memory;
        }
        all
    }

    #[test]
    fn a_condition_fires_once_it_has_held_and_recovers_once_it_has_not_for_long_enough() {
        let looks: Vec<(i64, bool)> = [
            (1, true),
            (2, false),
            (3, true),
            (4, true),
            (6, true),
            (7, true),
            (8, false),
            (9, true),
            (10, false),
            (13, false),
            (15, false),
        ]
        .to_vec();
        assert_eq!(told(&rule(3, 5), &looks), [(6, true), (15, false)]);
        assert_eq!(told(&rule(0, 0), &[(1, true), (2, true), (3, false), (4, false)]), [(1, true), (3, false)]);
    }

    #[test]
    fn no_time_passes_while_nobody_looks() {
        let rule = rule(60, 60);
        assert!(told(&rule, &[(1, true), (10_000, true), (10_030, true)]).is_empty());
        assert_eq!(told(&rule, &[(1, true), (10_000, true), (10_060, true)]), [(10_060, true)]);
        // A clock that goes back takes nothing away either.
        let back = [(10_000, true), (6_400, true), (6_430, true), (6_460, true)];
        assert_eq!(told(&rule, &back), [(6_460, true)]);
    }

    #[test]
    fn what_is_gone_recovers_and_is_forgotten() {
        let rule = rule(0, 0);
        let fired = evaluate(&rule, &AlertMemory::default(), &look(1, Some(true)), false);
        let gone = evaluate(&rule, &fired.memory, &look(2, None), false);
        assert_eq!(
            gone.told.iter().map(|change| (change.is_firing, &*change.text)).collect::<Vec<_>>(),
            [(false, GONE)]
        );
        let after = evaluate(&rule, &gone.memory, &look(3, None), false);
        assert!(after.memory.objects.is_empty() && after.told.is_empty());
    }

    #[test]
    fn what_fires_while_it_is_muted_is_told_afterwards_if_it_still_does() {
        let rule = rule(0, 0);
        let muted = evaluate(&rule, &AlertMemory::default(), &look(1, Some(true)), true);
        assert_eq!((muted.changes.len(), muted.told.len()), (1, 0));
        assert_eq!(evaluate(&rule, &muted.memory, &look(2, Some(true)), false).told.len(), 1);
        assert!(evaluate(&rule, &muted.memory, &look(2, Some(false)), false).told.is_empty());
    }

    /// A look at a source that has had a thousand events in each hour but for these.
    fn look_at_hours(at_s: i64, is_paused: bool, others: &[(i64, u64)]) -> AlertSnapshot {
        let at_us = at_s * SECOND_US;
        let mut hours: BTreeMap<i64, u64> =
            AlertSnapshot::hours_needed(at_us).into_iter().map(|hour| (hour, 1_000)).collect();
        hours.extend(others.iter().copied());
        let source = SourceSeen { hours, first_hour: Some(0), is_paused, ..SourceSeen::default() };
        AlertSnapshot { at_us, sources: BTreeMap::from([("web".to_owned(), source)]), ..AlertSnapshot::default() }
    }

    fn drop_rule() -> AlertRule {
        let condition = AlertCondition::VolumeDrop { source: None, percent: 50, events_min: 100 };
        AlertRule { recover_us: 0, ..AlertRule::new("a", condition) }
    }

    #[test]
    fn an_hour_in_which_a_source_was_paused_or_nobody_looked_is_no_drop() {
        let (rule, hour_s) = (drop_rule(), 3_600);
        let begin_s = 10_000 * hour_s + 600;
        let none = [(10_000, 0), (10_001, 0), (10_002, 0), (10_003, 0)];
        let fires = |done: &EvaluatedAlert| done.memory.objects["source web"].phase.fires();
        // The server did not run from 10,000 to 10,002.
        let mut done = evaluate(&rule, &AlertMemory::default(), &look_at_hours(begin_s, false, &none), false);
        for at_s in (begin_s + 2 * hour_s..begin_s + 4 * hour_s).step_by(120) {
            done = evaluate(&rule, &done.memory, &look_at_hours(at_s, false, &none), false);
            let hour = AlertSnapshot::whole_hour(at_s * SECOND_US);
            assert_eq!(fires(&done), hour == 10_003, "{hour}");
        }
        // It was paused for a minute of 10,000.
        let mut done = evaluate(&rule, &AlertMemory::default(), &look_at_hours(begin_s, false, &none), false);
        for at_s in (begin_s + 60..begin_s + 2 * hour_s).step_by(60) {
            done = evaluate(&rule, &done.memory, &look_at_hours(at_s, at_s == begin_s + 60, &none), false);
            let hour = AlertSnapshot::whole_hour(at_s * SECOND_US);
            assert_eq!(fires(&done), hour == 10_001, "{hour}");
        }
    }

    #[test]
    fn an_hour_in_which_nobody_looked_says_nothing_of_what_is_usual_weeks_later() {
        let (rule, hour_s) = (drop_rule(), 3_600);
        let earlier_s = 10_000 * hour_s + 600;
        let first = evaluate(&rule, &AlertMemory::default(), &look_at_hours(earlier_s, false, &[]), false);
        let mut memory =
            evaluate(&rule, &first.memory, &look_at_hours(earlier_s + 2 * hour_s, false, &[]), false).memory;
        // By the missed hour, and another one that was empty, 500 would be usual.
        let others = [(10_001, 0), (10_001 - 168, 0), (10_001 + 168, 300)];
        let at_s = earlier_s + (2 + 168) * hour_s;
        memory.evaluated_us = (at_s - 60) * SECOND_US;
        let done = evaluate(&rule, &memory, &look_at_hours(at_s, false, &others), false);
        assert_eq!(done.told.len(), 1, "{:?}", done.memory);
    }

    #[test]
    fn a_certificate_that_cannot_be_read_any_more_stays_how_it_was_and_a_file_without_any_is_none() {
        let condition = AlertCondition::certificate(Some(100 * SECOND_US));
        let rule = AlertRule { recover_us: 0, ..AlertRule::new("a", condition) };
        let look = |at_s: i64, files: &[(&str, Option<i64>)]| AlertSnapshot {
            at_us: at_s * SECOND_US,
            certificates: files.iter().map(|(file, ends_us)| ((*file).to_owned(), *ends_us)).collect(),
            ..AlertSnapshot::default()
        };
        let soon = look(1, &[("a.pem", Some(50 * SECOND_US)), ("key.pem", None)]);
        let fired = evaluate(&rule, &AlertMemory::default(), &soon, false);
        assert_eq!((fired.told.len(), fired.memory.objects.len()), (1, 1));
        let unread = evaluate(&rule, &fired.memory, &look(2, &[("a.pem", None), ("key.pem", None)]), false);
        assert!(unread.told.is_empty() && unread.changes.is_empty(), "{unread:?}");
        assert_eq!(unread.memory.objects, fired.memory.objects);
        let renewed = evaluate(&rule, &unread.memory, &look(3, &[("a.pem", Some(500 * SECOND_US))]), false);
        assert_eq!(renewed.told.iter().map(|change| change.is_firing).collect::<Vec<bool>>(), [false]);
        let gone = evaluate(&rule, &unread.memory, &look(3, &[]), false);
        assert_eq!(gone.told.len(), 1, "a file that nobody names any more recovers");
    }

    proptest! {
        #[test]
        fn firing_and_recovery_are_told_in_turn_whatever_happens_and_whenever_it_starts_anew(
            steps in proptest::collection::vec((0_i64..400, proptest::option::of(any::<bool>()), any::<bool>(), any::<bool>()), 1..80),
            for_s in 0_i64..60,
            recover_s in 0_i64..60,
        ) {
            let rule = rule(for_s, recover_s);
            let (mut memory, mut at_s, mut is_told, mut fires) = (AlertMemory::default(), 1, false, false);
            for (passed, fails, is_muted, restarts) in steps {
                at_s += passed;
                if restarts {
                    let kept = serde_json::to_string(&memory).unwrap();
                    let read: AlertMemory = serde_json::from_str(&kept).unwrap();
                    prop_assert_eq!(&read, &memory);
                    memory = read;
                }
                let snapshot = look(at_s, fails);
                let done = evaluate(&rule, &memory, &snapshot, is_muted);
                prop_assert_eq!(&done, &evaluate(&rule, &memory, &snapshot, is_muted));
                prop_assert!(done.told.is_empty() || !is_muted);
                for change in &done.told {
                    prop_assert_eq!(change.is_firing, !is_told);
                    is_told = change.is_firing;
                }
                for change in &done.changes {
                    prop_assert_eq!(change.is_firing, !fires);
                    fires = change.is_firing;
                }
                memory = done.memory;
                // Told is what is, once nobody is muted.
                prop_assert!(is_muted || is_told == memory.objects.values().any(|one| one.phase.fires()));
            }
        }

        #[test]
        fn nothing_fires_before_the_condition_has_held_for_as_long_as_it_must(
            looks in proptest::collection::vec((1_i64..20, any::<bool>()), 1..100),
            for_s in 1_i64..40,
        ) {
            let rule = rule(for_s, 0);
            let (mut at_s, mut held_since, mut memory) = (0, None, AlertMemory::default());
            for (passed, fails) in looks {
                at_s += passed;
                held_since = fails.then(|| held_since.unwrap_or(at_s));
                let done = evaluate(&rule, &memory, &look(at_s, Some(fails)), false);
                let fires = done.memory.objects.values().any(|one| one.phase.fires());
                prop_assert_eq!(fires, held_since.is_some_and(|since| at_s - since >= for_s));
                memory = done.memory;
            }
        }
    }
}
