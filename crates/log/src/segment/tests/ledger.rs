//! A log in memory with a ledger beside it: what was answered for, and what was tried.

use std::collections::BTreeMap;

use super::memory::Memory;
use crate::segment::{
    AppendError, Frames, LogDamage, LogEntry, LogError, LogSettings, LogWriter, ReadChunk, Recovery, SegmentLog,
};

pub(super) struct House {
    pub(super) log: SegmentLog,
    pub(super) writer: LogWriter,
    pub(super) recovery: Recovery,
}

/// Every append that was tried: its records' payloads, in order, and the first offset when it was answered.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    pub(super) acked: BTreeMap<u64, Vec<u8>>,
    /// Payloads of appends that were refused or not answered; they may be there or not.
    pub(super) tried: Vec<Vec<u8>>,
    pub(super) serial: u64,
}

pub(super) fn settings(segment_bytes: u64) -> LogSettings {
    LogSettings { segment_bytes, ..LogSettings::default() }
}

impl House {
    pub(super) fn open(memory: &Memory, segment_bytes: u64, floor: u64) -> Result<Self, LogError> {
        let (log, writer, recovery) = SegmentLog::open_in(memory.home(), settings(segment_bytes), floor, 1)?;
        Ok(Self { log, writer, recovery })
    }

    /// Appends in one group: an append for each count of records.
    pub(super) fn append(&mut self, ledger: &mut Ledger, counts: &[u64]) -> Vec<Result<u64, AppendError>> {
        let appends: Vec<(Frames, Vec<Vec<u8>>)> = counts.iter().map(|count| frames(ledger, *count)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (log, writer) = (&self.log, &mut self.writer);
        let answers = runtime.block_on(async {
            let asked: Vec<_> = appends
                .iter()
                .map(|(frames, _)| {
                    let (log, frames) = (log.clone(), frames.clone());
                    tokio::spawn(async move { log.append_in_lane(0, frames).await })
                })
                .collect();
            tokio::task::yield_now().await;
            writer.step();
            let mut answers = Vec::new();
            for task in asked {
                answers.push(task.await.unwrap());
            }
            answers
        });
        for (answer, (_, payloads)) in answers.iter().zip(appends) {
            match answer {
                Ok(first) => {
                    let taken = ledger.acked.keys().next_back().is_none_or(|last| last < first);
                    assert!(taken, "offset {first} was given twice");
                    ledger.acked.extend((*first..).zip(payloads));
                }
                Err(_) => ledger.tried.extend(payloads),
            }
        }
        answers
    }

    pub(super) fn read(&self, from: u64) -> Result<(Vec<LogEntry>, Vec<LogDamage>), LogError> {
        let mut reader = self.log.reader(from)?;
        let (mut records, mut damage) = (Vec::new(), Vec::new());
        loop {
            let ReadChunk { records: more, damage: broken, next } = reader.read(300, 3)?;
            if more.is_empty() && broken.is_empty() {
                assert_eq!(next, self.log.committed(), "the reader stopped before the end");
                return Ok((records, damage));
            }
            records.extend(more);
            damage.extend(broken);
        }
    }

    /// Nothing that was answered for is lost in silence, nothing is altered, nothing comes twice.
    pub(super) fn check(&self, ledger: &Ledger, what: &str) -> (Vec<LogEntry>, Vec<LogDamage>) {
        let (records, damage) = self.read(self.log.oldest()).unwrap();
        check(ledger, self.log.oldest(), &records, &damage, what);
        (records, damage)
    }
}

pub(super) fn check(ledger: &Ledger, oldest: u64, records: &[LogEntry], damage: &[LogDamage], what: &str) {
    let mut there = BTreeMap::new();
    let mut last = None;
    for entry in records {
        assert!(last.is_none_or(|last| last < entry.offset), "{what}: offset {} comes twice or late", entry.offset);
        last = Some(entry.offset);
        there.insert(entry.offset, [&entry.shared[..], &entry.own[..]].concat());
    }
    for (offset, payload) in ledger.acked.range(oldest..) {
        match there.remove(offset) {
            Some(found) => assert!(found == *payload, "{what}: record {offset} is altered"),
            None => {
                let reported = damage.iter().any(|damage| damage.missing.contains(offset));
                assert!(reported, "{what}: record {offset} was answered for and is lost in silence");
            }
        }
    }
    for (offset, payload) in there {
        assert!(ledger.tried.contains(&payload), "{what}: record {offset} was never appended");
    }
}

/// An append with `count` records that share some bytes; every payload is like no other.
pub(super) fn frames(ledger: &mut Ledger, count: u64) -> (Frames, Vec<Vec<u8>>) {
    let mut frames = Frames::default();
    let shared = format!("group {} {}|", ledger.serial, "s".repeat(usize::try_from(ledger.serial % 70).unwrap()));
    frames.begin(|out| out.extend_from_slice(shared.as_bytes()));
    let payloads = (0..count)
        .map(|_| {
            ledger.serial += 1;
            let own = format!("{} {}", ledger.serial, "x".repeat(usize::try_from(ledger.serial * 7 % 90).unwrap()));
            frames.push(|out| out.extend_from_slice(own.as_bytes()));
            [shared.as_bytes(), own.as_bytes()].concat()
        })
        .collect();
    (frames, payloads)
}

/// A log with some appends in it, and what was answered for.
pub(super) fn filled(segment_bytes: u64, appends: u64) -> (Memory, Ledger) {
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    let mut house = House::open(&memory, segment_bytes, 0).unwrap();
    for n in 0..appends {
        let answers = house.append(&mut ledger, &[n % 3 + 1]);
        assert!(answers[0].is_ok());
    }
    drop(house);
    (memory.killed(), ledger)
}
