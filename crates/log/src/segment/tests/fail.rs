//! Each operation fails once: nothing is answered for that is not on disk, and the log goes on or stops for good.

use super::ledger::{House, Ledger};
use super::memory::{Dice, EINTR, EIO, EMFILE, ENOSPC, Injected, Memory, Op};
use super::power::seeds;
use crate::Log as _;
use crate::segment::AppendError;

const SEGMENT_BYTES: u64 = 20_000;

/// 1,000 records in groups; answers what the refused appends were told.
fn run(memory: &Memory, ledger: &mut Ledger) -> Vec<AppendError> {
    let Ok(mut house) = House::open(memory, SEGMENT_BYTES, 0) else { return Vec::new() };
    let mut refusals = Vec::new();
    while ledger.serial < 1000 {
        for answer in house.append(ledger, &[10, 8, 2]) {
            refusals.extend(answer.err());
        }
        assert_eq!(house.log.is_poisoned(), refusals.contains(&AppendError::Poisoned));
    }
    refusals
}

fn operations() -> u64 {
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    assert_eq!(run(&memory, &mut ledger), []);
    memory.ops()
}

fn each(injected: Injected, mut then: impl FnMut(u64, Op, &Ledger, &[AppendError])) {
    for at in 0..operations() {
        let (memory, mut ledger) = (Memory::default(), Ledger::default());
        memory.fail(at, injected);
        let refusals = run(&memory, &mut ledger);
        let hit = memory.hit().unwrap();
        let what = format!("{injected:?} at operation {at}, {hit:?}");
        then(at, hit, &ledger, &refusals);
        let mut dice = Dice::new(at);
        // The disk may have dropped what was not synced, or the next process finds it all.
        for left in [memory.killed(), memory.cut(&mut dice)] {
            let house = House::open(&left, SEGMENT_BYTES, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (_, damage) = house.check(&ledger, &what);
            assert!(damage.is_empty(), "{what}: {damage:?}");
            assert!(crate::segment::inspect::verify_in(&left.home()).unwrap().is_whole(), "{what}");
        }
    }
}

#[test]
fn short_writes_and_interrupted_calls_are_no_failures() {
    for injected in [Injected::Short, Injected::Error(EINTR)] {
        each(injected, |at, hit, ledger, refusals| {
            assert!(refusals.is_empty() && ledger.acked.len() == 1000, "{injected:?} at {at}, {hit:?}: {refusals:?}");
        });
    }
}

#[test]
fn a_disk_that_fails_once_ends_the_log_and_loses_nothing() {
    each(Injected::Error(EIO), |at, hit, _, refusals| {
        let poisoned = refusals.iter().all(|refusal| *refusal == AppendError::Poisoned);
        assert!(poisoned, "at {at}, {hit:?}: {refusals:?}");
    });
}

#[test]
fn a_full_disk_refuses_a_group_and_the_log_goes_on_but_a_failed_sync_is_final() {
    each(Injected::Error(ENOSPC), |at, hit, ledger, refusals| {
        let poisoned = refusals.contains(&AppendError::Poisoned);
        assert!(!poisoned || matches!(hit, Op::Sync | Op::SyncNames), "at {at}, {hit:?}: {refusals:?}");
        assert!(poisoned || refusals.is_empty() || ledger.acked.len() > 900, "at {at}, {hit:?}: {refusals:?}");
    });
}

#[test]
fn a_process_without_descriptors_refuses_a_group_and_the_log_goes_on() {
    each(Injected::Error(EMFILE), |at, hit, ledger, refusals| {
        if matches!(hit, Op::Open | Op::Create) {
            let only = refusals.iter().all(|refusal| *refusal == AppendError::Overloaded);
            assert!(only && (refusals.is_empty() || ledger.acked.len() > 900), "at {at}, {hit:?}: {refusals:?}");
        }
    });
}

#[test]
fn a_roll_needs_no_descriptor_when_what_it_needs_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let home = super::open(dir.path(), 2000, 0);
    super::fill(&home, 0..8);
    drop(home);
    let (memory, mut ledger) = (Memory::default(), Ledger::default());
    let mut house = House::open(&memory, 2000, 0).unwrap();
    let mut rolled = 0;
    for _ in 0..40 {
        memory.fail_always(None);
        house.writer.make_ahead().unwrap();
        for op in [Op::Open, Op::Create] {
            memory.fail_always(Some((op, EMFILE)));
            let before = house.log.inner.segments.lock().unwrap().active;
            assert!(house.append(&mut ledger, &[3])[0].is_ok());
            rolled += u64::from(house.log.inner.segments.lock().unwrap().active != before);
            memory.fail_always(None);
            house.writer.make_ahead().unwrap();
        }
    }
    assert!(rolled > 5);
    house.check(&ledger, "no descriptors");
}

#[test]
fn no_space_for_as_long_as_there_is_none_and_then_on_again() {
    for seed in seeds(60) {
        let mut dice = Dice::new(seed);
        let (memory, mut ledger) = (Memory::default(), Ledger::default());
        let mut house = House::open(&memory, 1500, 0).unwrap();
        let mut taken = 0;
        for _ in 0..40 {
            let op = [Op::Write, Op::Create, Op::Rename][usize::try_from(dice.below(3)).unwrap()];
            memory.fail_always((dice.below(3) == 0).then_some((op, ENOSPC)));
            for answer in house.append(&mut ledger, &[3, 1]) {
                assert!(matches!(answer, Ok(_) | Err(AppendError::DiskFull)), "seed {seed}: {answer:?}");
                taken += u64::from(answer.is_ok());
            }
        }
        memory.fail_always(None);
        assert!(taken > 20 && house.append(&mut ledger, &[1])[0].is_ok(), "seed {seed}");
        house.check(&ledger, &format!("seed {seed}"));
        let left = memory.cut(&mut dice);
        let house = House::open(&left, 1500, 0).unwrap();
        let (_, damage) = house.check(&ledger, &format!("seed {seed}, after a power cut"));
        assert!(damage.is_empty(), "seed {seed}: {damage:?}");
    }
}
