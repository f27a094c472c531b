//! The power is cut, or the process dies, at any moment: what was answered for is there.

use super::ledger::{House, Ledger, check, filled};
use super::memory::{Dice, Injected, Memory};

/// The seeds that a test takes: from 0 on, `short` of them, unless a long run says which is the first and how many.
#[expect(clippy::disallowed_methods, reason = "the long run of the fault tests says how long it is to be")]
pub(super) fn seeds(short: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("TIDEGATE_FAULT_SEED").unwrap_or(0);
    first..first.saturating_add(number("TIDEGATE_FAULT_SEEDS").unwrap_or(short))
}

/// Runs a log over several lives, each of which ends at a random moment.
fn lives(seed: u64, power: bool) {
    let mut dice = Dice::new(seed);
    let (mut memory, mut ledger) = (Memory::default(), Ledger::default());
    let segment_bytes = 600 + dice.below(3000);
    let mut seen = 0;
    for life in 0..6 {
        let what = format!("seed {seed}, life {life}, power {power}");
        memory.fail(dice.below(if life == 0 { 60 } else { 250 }), Injected::Death);
        // Dying while the log opens is a life, too.
        if let Ok(mut house) = House::open(&memory, segment_bytes, seen) {
            // Reading may fail: the process dies at any moment.
            if let Ok((records, damage)) = house.read(house.log.oldest()) {
                check(&ledger, house.log.oldest(), &records, &damage, &what);
            }
            for _ in 0..30 {
                let counts: Vec<u64> = (0..1 + dice.below(3)).map(|_| 1 + dice.below(5)).collect();
                if house.append(&mut ledger, &counts).iter().any(Result::is_err) {
                    break;
                }
                if dice.below(9) == 0 {
                    seen = house.log.committed();
                    let _ = house.log.trim(dice.below(seen + 1), i64::MAX / 2);
                }
            }
            assert!(
                house.recovery.notes.iter().all(|n| n.severity < crate::segment::Severity::Warning),
                "{what}: {:?}",
                house.recovery.notes
            );
        }
        memory = if power && dice.below(3) > 0 { memory.cut(&mut dice) } else { memory.killed() };
    }
    let house = House::open(&memory, segment_bytes, seen).unwrap();
    let (_, damage) = house.check(&ledger, &format!("seed {seed}, power {power}, the end"));
    assert!(damage.is_empty(), "seed {seed}: a false alarm: {damage:?}");
    assert!(house.recovery.notes.is_empty(), "seed {seed}: a false alarm: {:?}", house.recovery.notes);
    let report = crate::segment::inspect::verify_in(&memory.home()).unwrap();
    assert!(report.is_whole() && report.notes.is_empty(), "seed {seed}: {report:?}");
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_answered_for() {
    for seed in seeds(60) {
        lives(seed, true);
    }
}

#[test]
fn a_process_that_dies_at_any_moment_loses_nothing_and_raises_no_alarm() {
    for seed in seeds(60) {
        lives(seed, false);
    }
}

/// Every operation while a segment is rolled, the log trimmed and opened again is the last one once.
#[test]
fn dying_at_each_step_of_a_roll_a_trim_and_an_opening_raises_no_alarm() {
    let run = |memory: &Memory, ledger: &mut Ledger| {
        let Ok(mut house) = House::open(memory, 500, 0) else { return };
        for _ in 0..6 {
            if house.append(ledger, &[2, 1])[0].is_err() {
                return;
            }
        }
        let floor = house.log.committed() / 2;
        let _ = house.log.trim(floor, i64::MAX / 2);
        house.append(ledger, &[1]);
    };
    let (before, known) = filled(500, 3);
    let operations = {
        let (memory, mut ledger) = (before.killed(), known.clone());
        run(&memory, &mut ledger);
        memory.ops()
    };
    for at in 0..=operations {
        for seed in 0..4 {
            let (memory, mut ledger) = (before.killed(), known.clone());
            memory.fail(at, Injected::Death);
            run(&memory, &mut ledger);
            let left = if seed == 0 { memory.killed() } else { memory.cut(&mut Dice::new(seed)) };
            let what = format!("dead at operation {at} of {operations}, seed {seed}");
            let house = House::open(&left, 500, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (_, damage) = house.check(&ledger, &what);
            assert!(
                damage.is_empty() && house.recovery.notes.is_empty(),
                "{what}: {damage:?} {:?}",
                house.recovery.notes
            );
        }
    }
}
