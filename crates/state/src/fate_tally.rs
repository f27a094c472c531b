//! Counts of what has become of events, by hour and event name, while they are in memory.
//!
//! Nouns: the **counts** of a place (so many came, so many of each fate), a **tally** (the counts of a log range or a batch, by key, before they are
//! written in its transaction). What a tally costs is paid for each event, so nothing here allocates for a name that it has.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::OnceLock;

/// Names that an hour of a tally has, of a log range or a batch: each is a row to look for. Further ones are counted together.
const TALLY_NAMES_MAX: usize = 256;
/// Under which name.
pub const FURTHER_NAMES: &str = "(further names)";

/// What came, and what has become of it. Counts of a log range may be below zero: they are added to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FateCounts {
    /// To a source: accepted. To a sync: what its source let go on and is for it.
    pub came: i64,
    /// What functions and mappings made beyond what came, less what they took away under this key: an event that gets another name is one less here
    /// and one more there.
    pub made: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    /// Was in quarantine, and was removed from there; or was older than its source keeps events.
    pub expired: i64,
    pub suppressed: i64,
    pub dropped: i64,
    pub filtered: i64,
    /// Waits for another try.
    pub pending: i64,
    pub delivered: i64,
    /// At the destination, by its own ledger: the state did not hear how.
    pub by_ledger: i64,
    /// From a source to its syncs.
    pub went_on: i64,
}

impl FateCounts {
    /// What should be the sum of the fates.
    #[must_use]
    pub const fn expected(&self) -> i64 {
        self.came + self.made
    }

    /// The sum of the fates.
    #[must_use]
    pub const fn found(&self) -> i64 {
        self.duplicates
            + self.quarantined
            + self.expired
            + self.suppressed
            + self.dropped
            + self.filtered
            + self.pending
            + self.delivered
            + self.by_ledger
            + self.went_on
    }

    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *own += other;
        }
    }

    pub(super) const fn numbers(&self) -> [i64; 12] {
        [
            self.came,
            self.made,
            self.duplicates,
            self.quarantined,
            self.expired,
            self.suppressed,
            self.dropped,
            self.filtered,
            self.pending,
            self.delivered,
            self.by_ledger,
            self.went_on,
        ]
    }

    pub(super) fn numbers_mut(&mut self) -> [&mut i64; 12] {
        [
            &mut self.came,
            &mut self.made,
            &mut self.duplicates,
            &mut self.quarantined,
            &mut self.expired,
            &mut self.suppressed,
            &mut self.dropped,
            &mut self.filtered,
            &mut self.pending,
            &mut self.delivered,
            &mut self.by_ledger,
            &mut self.went_on,
        ]
    }
}

/// Whether nothing is counted, so that a bench can tell what counting costs: by the fail point `fates_off` from the start of the process on. Never in
/// a build for users.
pub(super) fn is_off() -> bool {
    static OFF: OnceLock<bool> = OnceLock::new();
    let asked = || {
        fail::fail_point!("fates_off", |_| true);
        false
    };
    // The fail point is looked up once: a look takes as long as counting an event.
    fail::has_failpoints() && *OFF.get_or_init(asked)
}

/// Counts by hour and name, until they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FateTally {
    pub(super) hours: Vec<(i64, CountsByName)>,
}

pub(super) type CountsByName = HashMap<Box<str>, FateCounts, BuildHasherDefault<NameHasher>>;

/// So many events under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedEvents {
    pub hour: i64,
    pub name: Box<str>,
    pub events: i64,
}

impl FateTally {
    /// Has `count` count something under a key. A name that is there already costs no allocation.
    pub fn add(&mut self, (hour, name): (i64, &str), count: impl FnOnce(&mut FateCounts)) {
        if is_off() {
            return;
        }
        let at = self.hours.iter().position(|(known, _)| *known == hour).unwrap_or_else(|| {
            self.hours.push((hour, CountsByName::default()));
            self.hours.len() - 1
        });
        let names = &mut self.hours[at].1;
        let has_room = names.len() < TALLY_NAMES_MAX || names.contains_key(name);
        let name = if has_room { name } else { FURTHER_NAMES };
        if let Some(counts) = names.get_mut(name) {
            count(counts);
            return;
        }
        let mut counts = FateCounts::default();
        count(&mut counts);
        names.insert(name.into(), counts);
    }

    /// Adds all of another one.
    pub fn append(&mut self, other: &Self) {
        for (hour, names) in &other.hours {
            for (name, counts) in names {
                self.add((*hour, name), |own| own.add(counts));
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hours.is_empty()
    }

    /// The earliest hour in it.
    pub(super) fn first_hour(&self) -> Option<i64> {
        self.hours.iter().map(|(hour, _)| *hour).min()
    }

    #[must_use]
    pub fn total(&self) -> FateCounts {
        let mut total = FateCounts::default();
        self.hours.iter().flat_map(|(_, names)| names.values()).for_each(|counts| total.add(counts));
        total
    }

    /// How many of them went on under each key; `None` where that cannot be told of each of so many `events`.
    #[must_use]
    pub fn went_on_by_key(&self, events: usize) -> Option<Vec<KeyedEvents>> {
        // Whoever does not count looks at no event either, so that a bench tells what counting costs, and not less.
        if is_off() {
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        for (hour, names) in &self.hours {
            for (name, counts) in names.iter().filter(|(_, counts)| counts.went_on != 0) {
                // Of the further ones the names are lost.
                if counts.went_on < 0 || **name == *FURTHER_NAMES {
                    return None;
                }
                found.push(KeyedEvents { hour: *hour, name: name.clone(), events: counts.went_on });
            }
        }
        let sum: i64 = found.iter().map(|one| one.events).sum();
        (usize::try_from(sum) == Ok(events)).then_some(found)
    }
}

/// Hashes names of events, faster than the hasher of the library. Names may be chosen so that they meet: a tally has few enough for that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        // What decides the place is in the upper half.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    fn went_on(tally: &mut FateTally, name: &str, events: i64) {
        tally.add((7, name), |counts| {
            (counts.came, counts.went_on) = (counts.came + events.abs(), counts.went_on + events)
        });
    }

    #[test]
    fn what_went_on_is_told_by_key_where_it_is_told_of_each_event() {
        let mut tally = FateTally::default();
        went_on(&mut tally, "Sent", 2);
        went_on(&mut tally, "Opened", 1);
        tally.add((7, "Twice"), |counts| (counts.came, counts.duplicates) = (1, 1));
        let mut found = tally.went_on_by_key(3).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let of = |name: &str, events| KeyedEvents { hour: 7, name: name.into(), events };
        assert_eq!(found, [of("Opened", 1), of("Sent", 2)]);
        // One that is retried for a sync alone is in no count of the source.
        assert_eq!(tally.went_on_by_key(4), None);
        // One that was stopped under another name than it came: one less here is one too many there.
        went_on(&mut tally, "Other", -1);
        assert_eq!(tally.went_on_by_key(2), None);
    }

    #[test]
    fn beyond_the_bound_of_a_tally_it_is_not_told_by_key() {
        let mut tally = FateTally::default();
        for n in 0..TALLY_NAMES_MAX {
            went_on(&mut tally, &format!("Event {n}"), 1);
        }
        assert_eq!(tally.went_on_by_key(TALLY_NAMES_MAX).map(|keys| keys.len()), Some(TALLY_NAMES_MAX));
        went_on(&mut tally, "One more", 1);
        assert_eq!(tally.went_on_by_key(TALLY_NAMES_MAX + 1), None);
    }

    #[test]
    fn names_that_differ_little_are_spread() {
        let hash = |n: usize| BuildHasherDefault::<NameHasher>::default().hash_one(format!("Viewed by user-{n:04}"));
        // Both ends of a hash are used.
        let ends: [fn(u64) -> u64; 2] = [|hash| hash & 0xff, |hash| hash >> 56];
        for end in ends {
            let mut taken = [0_u32; 256];
            for n in 0..2_560 {
                taken[usize::try_from(end(hash(n))).unwrap()] += 1;
            }
            assert!(taken.iter().all(|taken| *taken < 60), "{taken:?}");
        }
    }
}
