//! Counters and histograms by label, which many threads add to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

/// Upper ends of the buckets of every histogram, in microseconds: one set from a millisecond to two hours, so that numbers of different
/// metrics can be compared. Behind the last one is a bucket for the rest.
pub const BUCKETS_US: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    7_200_000_000,
];
const COUNTS: usize = BUCKETS_US.len() + 1;

/// Series of one family; further ones count together.
const SERIES_MAX: usize = 1_000;
const OTHER: &str = "other";
/// Between the labels of a key. No name has it.
const SEPARATOR: &str = "\u{1f}";

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; COUNTS],
    sum_us: AtomicU64,
}

/// What a histogram says at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramReading {
    /// Of each bucket by itself, the last one without an end.
    pub counts: [u64; COUNTS],
    pub sum_us: u64,
}

impl HistogramReading {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// So many of a hundred took no longer: the end of the bucket that they are in or below, in microseconds. None where nothing was observed,
    /// and where they reach into the bucket without an end.
    #[must_use]
    pub fn quantile_us(&self, percent: u8) -> Option<u64> {
        let wanted = u128::from(self.count()) * u128::from(percent);
        let mut below = 0_u128;
        let bucket = self.counts.iter().position(|count| {
            below += u128::from(*count);
            below > 0 && below * 100 >= wanted
        });
        BUCKETS_US.get(bucket?).copied()
    }
}

fn bucket(us: u64) -> usize {
    BUCKETS_US.partition_point(|end| *end < us)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let us = micros(took);
        if let Some(count) = self.counts.get(bucket(us)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// All of these, with one addition for each bucket that they are in.
    pub fn observe_all(&self, all: impl Iterator<Item = Duration>) {
        let (mut counts, mut sum_us) = ([0_u64; COUNTS], 0_u64);
        for took in all {
            let us = micros(took);
            if let Some(count) = counts.get_mut(bucket(us)) {
                *count += 1;
            }
            sum_us = sum_us.saturating_add(us);
        }
        for (count, more) in self.counts.iter().zip(counts).filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(sum_us, Ordering::Relaxed);
    }

    #[must_use]
    pub fn read(&self) -> HistogramReading {
        let mut counts = [0; COUNTS];
        for (read, count) in counts.iter_mut().zip(&self.counts) {
            *read = count.load(Ordering::Relaxed);
        }
        HistogramReading { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// Series by the values of their labels. They are made when they are first asked for, and stay.
#[derive(Debug)]
pub struct SeriesFamily<T> {
    series: RwLock<HashMap<Box<str>, Arc<T>>>,
}

impl<T> Default for SeriesFamily<T> {
    fn default() -> Self {
        Self { series: RwLock::default() }
    }
}

fn key_of<'a>(labels: &[&'a str]) -> Cow<'a, str> {
    match labels {
        [one] => Cow::Borrowed(*one),
        several => Cow::Owned(several.join(SEPARATOR)),
    }
}

impl<T: Default> SeriesFamily<T> {
    /// The series of these values. Whoever adds to it often keeps it.
    pub fn of(&self, labels: &[&str]) -> Arc<T> {
        let key = key_of(labels);
        if let Some(known) = self.series.read().get(&*key) {
            return Arc::clone(known);
        }
        let mut series = self.series.write();
        if series.len() < SERIES_MAX || series.contains_key(&*key) {
            return Arc::clone(series.entry(key.into()).or_default());
        }
        let others = vec![OTHER; labels.len()].join(SEPARATOR);
        Arc::clone(series.entry(others.into()).or_default())
    }

    /// The same, where it is there; none is made, and what counts under `other` has none.
    #[must_use]
    pub fn find(&self, labels: &[&str]) -> Option<Arc<T>> {
        self.series.read().get(&*key_of(labels)).cloned()
    }

    /// All of them in order, with the values of their labels.
    #[must_use]
    pub fn all(&self) -> Vec<(Vec<String>, Arc<T>)> {
        let split = |key: &str| key.split(SEPARATOR).map(str::to_owned).collect::<Vec<String>>();
        let mut all: Vec<(Vec<String>, Arc<T>)> =
            self.series.read().iter().map(|(key, series)| (split(key), Arc::clone(series))).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_the_end_of_a_bucket_is_in_it_and_the_longest_in_the_last() {
        let histogram = Histogram::default();
        for us in [0, 1_000, 1_001, 7_200_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        histogram.observe_all([2_500, 2_501].into_iter().map(Duration::from_micros));
        let read = histogram.read();
        assert_eq!(read.counts[..3], [2, 2, 1]);
        assert_eq!((read.counts[COUNTS - 1], read.counts.iter().sum::<u64>()), (1, 6));
        assert_eq!(read.sum_us, 7_200_000_001 + 2_001 + 5_001);
    }

    #[test]
    fn a_quantile_is_the_end_of_the_bucket_that_so_many_are_in_or_below() {
        let of = |all: &[(u64, usize)]| {
            let histogram = Histogram::default();
            for (us, times) in all {
                histogram.observe_all(std::iter::repeat_n(Duration::from_micros(*us), *times));
            }
            let read = histogram.read();
            (read.count(), read.quantile_us(50), read.quantile_us(99))
        };
        assert_eq!(of(&[]), (0, None, None));
        assert_eq!(of(&[(0, 1)]), (1, Some(1_000), Some(1_000)));
        // Of a hundred the fiftieth and the ninety-ninth.
        assert_eq!(of(&[(900, 50), (2_000, 49), (40_000, 1)]), (100, Some(1_000), Some(2_500)));
        assert_eq!(of(&[(900, 49), (2_000, 49), (40_000, 2)]), (100, Some(2_500), Some(50_000)));
        assert_eq!(of(&[(7_200_000_000, 3)]), (3, Some(7_200_000_000), Some(7_200_000_000)));
        // Behind the last end nothing is known but that it was longer.
        assert_eq!(of(&[(7_200_000_001, 3)]), (3, None, None));
        assert_eq!(of(&[(3_000, 9), (7_200_000_001, 1)]), (10, Some(5_000), None));
    }

    #[test]
    fn a_series_that_nobody_added_to_is_not_there_and_not_made() {
        let family = SeriesFamily::<AtomicU64>::default();
        family.of(&["a"]).fetch_add(3, Ordering::Relaxed);
        assert_eq!(family.find(&["a"]).map(|count| count.load(Ordering::Relaxed)), Some(3));
        assert!(family.find(&["b"]).is_none() && family.find(&["a", "b"]).is_none());
        assert_eq!(family.all().len(), 1);
    }

    #[test]
    fn a_family_has_a_bounded_number_of_series() {
        let family = SeriesFamily::<AtomicU64>::default();
        for n in 0..SERIES_MAX + 5 {
            family.of(&[&n.to_string(), "a"]).fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(family.all().len(), SERIES_MAX + 1);
        assert_eq!(family.of(&[OTHER, OTHER]).load(Ordering::Relaxed), 5);
        assert_eq!(family.of(&["7", "a"]).load(Ordering::Relaxed), 1);
    }
}
