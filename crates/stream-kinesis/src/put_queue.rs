//! What is to be written, and in which order: no record is overtaken for good by a later one of its key.
//!
//! A call takes several records of a key at once. Where Kinesis refuses one of them for now and takes later ones, those are written again
//! behind it; from then on the key's records go one a call, so that it does not happen to them again.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

/// What a call takes.
const CALL_RECORDS_MAX: usize = 500;
const CALL_BYTES_MAX: usize = 5 << 20;

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueuedRecord {
    pub(crate) key: String,
    pub(crate) data: Bytes,
}

impl QueuedRecord {
    /// As Kinesis counts.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// Records of one stream.
#[derive(Debug, Default)]
pub(crate) struct PutQueue {
    waiting: VecDeque<QueuedRecord>,
    /// Keys of which a record was refused for now.
    careful: BTreeSet<String>,
}

impl PutQueue {
    pub(crate) fn push(&mut self, record: QueuedRecord) {
        self.waiting.push_back(record);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The numbers of the records for the next call, in their order.
    pub(crate) fn next_call(&self) -> Vec<usize> {
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        let mut once = BTreeSet::new();
        for (number, record) in self.waiting.iter().enumerate() {
            if self.careful.contains(&record.key) && !once.insert(record.key.as_str()) {
                continue;
            }
            if chosen.len() == CALL_RECORDS_MAX || (bytes + record.bytes() > CALL_BYTES_MAX && !chosen.is_empty()) {
                break;
            }
            bytes += record.bytes();
            chosen.push(number);
        }
        chosen
    }

    pub(crate) fn get(&self, number: usize) -> Option<&QueuedRecord> {
        self.waiting.get(number)
    }

    /// Takes the answer to a call in: whether each of its records was taken. Says how many are done with.
    pub(crate) fn answer(&mut self, call: &[usize], taken: &[bool]) -> usize {
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut done = BTreeSet::new();
        for (number, is_taken) in call.iter().zip(taken) {
            let Some(record) = self.waiting.get(*number) else { continue };
            if !is_taken {
                failed.insert(record.key.clone());
            } else if !failed.contains(&record.key) {
                done.insert(*number);
            }
        }
        let mut number = 0;
        self.waiting.retain(|_| {
            number += 1;
            !done.contains(&(number - 1))
        });
        self.careful.extend(failed);
        done.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn queue(records: &[(&str, usize)]) -> PutQueue {
        let mut queue = PutQueue::default();
        for (key, bytes) in records {
            queue.push(QueuedRecord { key: (*key).to_owned(), data: vec![b'x'; *bytes].into() });
        }
        queue
    }

    #[test]
    fn a_call_has_no_more_than_kinesis_takes() {
        let many = queue(&[("k", 1); 700]);
        assert_eq!(many.next_call().len(), CALL_RECORDS_MAX);
        let large = queue(&[("k", 1 << 20); 7]);
        assert_eq!(large.next_call(), [0, 1, 2, 3], "keys count, too");
        assert!(queue(&[]).next_call().is_empty());
    }

    #[test]
    fn what_came_behind_a_refused_record_of_its_key_is_written_again() {
        let mut queue = queue(&[("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]);
        let call = queue.next_call();
        assert_eq!(queue.answer(&call, &[true, true, false, true, true]), 3);
        let sizes: Vec<usize> = queue.waiting.iter().map(|record| record.data.len()).collect();
        assert_eq!(sizes, [3, 4]);
        assert_eq!(queue.next_call(), [0], "one a call from now on");
        assert_eq!(queue.answer(&[0], &[true]), 1);
        assert_eq!(queue.next_call(), [0]);
    }

    proptest! {
        #[test]
        fn the_last_writing_of_each_record_is_in_the_order_of_its_key(
            keys in proptest::collection::vec(0_u8..5, 1..300),
            luck in proptest::collection::vec(proptest::bool::weighted(0.8), 7..60),
        ) {
            let mut queue = PutQueue::default();
            for (number, key) in keys.iter().enumerate() {
                queue.push(QueuedRecord { key: key.to_string(), data: number.to_string().into() });
            }
            let mut luck = luck.iter().chain([&true]).cycle();
            let mut last_written: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            while !queue.is_empty() {
                let call = queue.next_call();
                prop_assert!(!call.is_empty());
                let taken: Vec<bool> = call.iter().map(|_| *luck.next().unwrap()).collect();
                for (number, is_taken) in call.iter().zip(&taken) {
                    let record = queue.get(*number).unwrap();
                    let number: usize = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
                    let written = last_written.entry(record.key.clone()).or_default();
                    if *is_taken {
                        written.retain(|known| *known != number);
                        written.push(number);
                    }
                }
                queue.answer(&call, &taken);
            }
            for (key, written) in &last_written {
                prop_assert!(written.is_sorted(), "{key}: {written:?}");
            }
            prop_assert_eq!(last_written.values().map(Vec::len).sum::<usize>(), keys.len());
        }
    }
}
