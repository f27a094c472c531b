//! Any sightings, in any ranges, with restarts and power cuts between: the index says what a plain map says.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Ids by number, and when each was received.
type Events = Vec<(u16, i64)>;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// Ids by number, and how far each is behind the clock.
    Events(Events),
    /// The clock moves on.
    Clock(i64),
    /// The process ends and begins again.
    Restart,
    /// The state forgets its last ranges, and the log is refined again from there.
    PowerCut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((0..600_u16, 0..HOUR_US), 1..60).prop_map(Step::Events),
        2 => (0..8 * HOUR_US).prop_map(Step::Clock),
        1 => Just(Step::Restart),
        1 => (0..6_usize).prop_map(Step::PowerCut),
    ]
}

/// The rule itself.
#[derive(Default, Clone)]
struct Model(HashMap<u16, i64>);

impl Model {
    fn mark(&mut self, events: &[(u16, i64)]) -> Vec<bool> {
        let seen = |(id, at): &(u16, i64)| {
            let is_seen = self.0.get(id).is_some_and(|first| first + 24 * HOUR_US >= *at);
            if !is_seen {
                self.0.insert(*id, *at);
            }
            is_seen
        };
        events.iter().map(seen).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_index_says_what_a_map_says(steps in prop::collection::vec(step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        // Tails of 125 marks: runs are made and merged all the time, and none is too many.
        let mut index = open(dir.path(), 1_000_000, 0);
        index.tail_max = 125;
        let mut clock = 1_700_000_000_000_000_i64;
        let mut log: Vec<(Range<u64>, Events)> = Vec::new();
        let mut models = vec![Model::default()];
        for step in steps {
            match step {
                Step::Events(events) => {
                    let events: Vec<_> = events.into_iter().map(|(id, behind)| (id, clock - behind)).collect();
                    let start = log.last().map_or(0, |(range, _)| range.end);
                    log.push((start..start + events.len() as u64, events));
                }
                Step::Clock(by) => clock += by,
                Step::Restart => {
                    let refined_to = index.known_to();
                    drop(index);
                    index = open(dir.path(), 1_000_000, refined_to);
                    index.tail_max = 125;
                    prop_assert_eq!(index.known_to(), refined_to);
                }
                Step::PowerCut(lost) => {
                    drop(index);
                    let kept = log.len().saturating_sub(lost);
                    let refined_to = kept.checked_sub(1).map_or(0, |at| log[at].0.end);
                    index = open(dir.path(), 1_000_000, refined_to);
                    index.tail_max = 125;
                    prop_assert!(index.known_to() <= refined_to);
                    models.truncate(kept + 1);
                }
            }
            // What the index does not know is marked from the log; what is new gets its verdict the same way.
            let from = log.iter().position(|(range, _)| range.start == index.known_to()).unwrap_or(log.len());
            models.truncate(from + 1);
            for (range, events) in &log[from..] {
                let names: Vec<String> = events.iter().map(|(id, _)| id.to_string()).collect();
                let ids: Vec<_> = names.iter().zip(events).map(|(name, (_, at))| (name.as_str(), *at)).collect();
                let mut model = models.last().cloned().unwrap_or_default();
                prop_assert_eq!(mark_range(&mut index, &ids, range), model.mark(events));
                models.push(model);
            }
        }
    }
}
