//! Rows of many log ranges: they answer as a row for each would, whatever comes, goes and is asked.

use std::ops::Range;

use tidegate_event::{Position, in_partition};

use super::{Dice, World};
use crate::fate_ranges::{self, RangeSum};
use crate::{FateQuery, FateTally, RangeCounts, State, StateError, Transformed, TransformedRange};

const SOURCES: [&str; 2] = ["app", "web"];
const PARTITIONS: u16 = 2;

/// What is known of a log range of a source, as a row of its own has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PlainRange {
    source: &'static str,
    partition: u16,
    range: Range<u64>,
    judged: u64,
    went_on: Option<u64>,
}

impl PlainRange {
    fn events(&self) -> u64 {
        self.went_on.unwrap_or(self.judged)
    }
}

/// A state, and beside it what it would know with a row for each log range.
struct Rows {
    state: State,
    dice: Dice,
    ends: [u64; PARTITIONS as usize],
    /// From where on log ranges are kept; `None` before the first.
    kept_from: [Option<u64>; PARTITIONS as usize],
    plain: Vec<PlainRange>,
    _dir: tempfile::TempDir,
}

impl Rows {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        state.set_partitions(PARTITIONS).unwrap();
        Self { state, dice: Dice(seed), ends: [0; 2], kept_from: [None; 2], plain: Vec::new(), _dir: dir }
    }

    fn partition(&mut self) -> u16 {
        let partition = u16::try_from(self.dice.roll(PARTITIONS.into())).unwrap();
        self.state.partition = partition;
        partition
    }

    /// Refines a log range in which most sources have records.
    fn refine(&mut self) {
        let partition = self.partition();
        let at = usize::from(partition);
        let length = if self.dice.roll(3) == 0 { 1 + self.dice.roll(2_000) } else { 1 };
        let range = self.ends[at]..self.ends[at] + length;
        let mut stage = self.state.stage().unwrap();
        for source in SOURCES {
            if self.dice.roll(4) == 0 {
                continue;
            }
            let judged = if self.dice.roll(2) == 0 { length } else { self.dice.roll(length + 1) };
            let counts = RangeCounts { accepted: judged, judged, ..RangeCounts::default() };
            stage.source_fates(source, &range, (counts, &FateTally::default())).unwrap();
            self.plain.push(PlainRange { source, partition, range: range.clone(), judged, went_on: None });
        }
        stage.commit(&range, 1).unwrap();
        self.ends[at] = range.end;
        self.kept_from[at].get_or_insert(range.start);
    }

    /// Has the functions of a source over a log range; it may be the first that they have, or one that they had.
    fn transform(&mut self) {
        if self.plain.is_empty() {
            return;
        }
        let which = usize::try_from(self.dice.roll(self.plain.len() as u64)).unwrap();
        let went_on = self.dice.roll(2 * self.plain[which].judged + 1);
        let takes_over = self.dice.roll(8) == 0;
        let plain = &mut self.plain[which];
        plain.went_on = Some(went_on);
        let start = plain.range.start;
        let fates = TransformedRange { start, came: plain.judged, went_on, ..TransformedRange::default() };
        let done = Transformed {
            source: plain.source,
            to: plain.range.end,
            function_chain: takes_over.then_some((start, "[]")),
            fates: Some(&fates),
            ..Transformed::default()
        };
        self.state.partition = plain.partition;
        self.state.transformed(&done).unwrap();
    }

    /// The log gives records up, to the end of a log range or into the middle of one.
    fn forget(&mut self) {
        let partition = self.partition();
        let at = usize::from(partition);
        let oldest = self.dice.roll(self.ends[at] + 1);
        self.state.forget_below(oldest).unwrap();
        self.plain.retain(|one| one.partition != partition || one.range.end > oldest);
        self.kept_from[at] = self.kept_from[at].map(|kept_from| kept_from.max(oldest));
    }

    /// What rows of their own would answer of the log ranges that begin in `range`.
    fn sum(&self, (source, partition): (&str, u16), range: &Range<u64>) -> RangeSum {
        let of_it =
            |one: &&PlainRange| one.source == source && one.partition == partition && range.contains(&one.range.start);
        let found: Vec<&PlainRange> = self.plain.iter().filter(of_it).collect();
        let sql = "SELECT min(log_offset) FROM lineups WHERE source = ?1";
        let key = in_partition(source, partition);
        let chains_from: Option<i64> = self.state.connection.query_row(sql, [&*key], |row| row.get(0)).unwrap();
        let chains_from = chains_from.map(crate::position);
        let is_lost = found.iter().any(|one| {
            one.went_on.is_none() && chains_from.is_some_and(|from| from <= Position::new(partition, one.range.start))
        });
        let kept_from = self.kept_from[usize::from(partition)];
        RangeSum {
            went_on: found.iter().map(|one| one.events()).sum(),
            is_known: !is_lost && kept_from.is_some_and(|kept_from| kept_from <= range.start),
            end: found.iter().map(|one| one.range.end).max().unwrap_or(range.end),
            made_of_one: if found.iter().any(|one| one.went_on.is_some()) { i64::MAX } else { 1 },
        }
    }

    fn behind(&self, source: &str, cursor: Position) -> u64 {
        let of_it = |one: &&PlainRange| {
            one.source == source && one.partition == cursor.partition && one.range.end > cursor.offset
        };
        self.plain.iter().filter(of_it).map(PlainRange::events).sum()
    }

    /// Asks for some places of all sources and partitions.
    fn compare(&mut self, step: usize) {
        for (source, partition) in SOURCES.into_iter().flat_map(|source| (0..PARTITIONS).map(move |at| (source, at))) {
            let end = self.ends[usize::from(partition)];
            for _ in 0..3 {
                let (one, other) = (self.dice.roll(end + 2), self.dice.roll(end + 2));
                let range = one.min(other)..one.max(other);
                let connection = &self.state.connection;
                let begin = fate_ranges::begin_of(connection, partition).unwrap();
                let found = fate_ranges::went_on(connection, (source, partition), range.clone(), begin).unwrap();
                assert_eq!(found, self.sum((source, partition), &range), "step {step}: {source} {partition} {range:?}");
                let cursor = Position::new(partition, one);
                let found = fate_ranges::behind(connection, source, cursor).unwrap();
                assert_eq!(found, self.behind(source, cursor), "step {step}: {source} {cursor}");
            }
        }
    }

    fn rows(&self) -> i64 {
        self.state.connection.query_row("SELECT count(*) FROM fate_ranges", [], |row| row.get(0)).unwrap()
    }
}

/// Puts each log range into a row of its own, as an earlier build kept them.
fn unpack(rows: &Rows) {
    let connection = &rows.state.connection;
    connection.execute("DELETE FROM fate_ranges", []).unwrap();
    let sql = "INSERT INTO fate_ranges VALUES (?1, ?2, ?3, ?4, 0, 0, ?4, ?5)";
    for PlainRange { source, partition, range, judged, went_on } in &rows.plain {
        let [start, end] = [range.start, range.end].map(|at| crate::signed(Position::new(*partition, at).bits()));
        let went_on = went_on.map(crate::signed);
        connection.execute(sql, rusqlite::params![source, start, end, crate::signed(*judged), went_on]).unwrap();
    }
}

#[test]
fn rows_of_many_log_ranges_answer_as_a_row_for_each_would() {
    let mut most = 0_i64;
    for seed in 0..12 {
        let mut rows = Rows::new(seed);
        for step in 0..250 {
            match rows.dice.roll(20) {
                0..14 => rows.refine(),
                // In half of the lives there are no functions.
                14..19 if seed % 2 == 0 => rows.transform(),
                19 if rows.dice.roll(6) == 0 => rows.forget(),
                _ => {}
            }
            if seed % 3 == 0 && step == 120 {
                unpack(&rows);
            }
            if step % 5 == 0 {
                rows.compare(step);
            }
            most = most.max(rows.plain.len() as i64 - rows.rows());
        }
    }
    assert!(most > 100, "at most {most} log ranges are in the row of another");
}

#[test]
fn log_ranges_of_one_record_take_few_bytes() {
    let mut world = World::new(1);
    for _ in 0..1_000 {
        world.refine_all(1);
    }
    let sql = "SELECT count(*), sum(length(went_on)) FROM fate_ranges";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (rows, bytes): (i64, i64) = world.state.connection.query_row(sql, [], read).unwrap();
    assert!(rows <= 10 && bytes <= 1_100, "{rows} rows of {bytes} bytes");
}

#[test]
fn what_is_counted_twice_counts_once() {
    let mut world = World::new(1);
    let range = world.refine_all(3);
    world.refine_all(2);
    // A log that was numbered anew.
    world.commit(
        &range,
        (RangeCounts { accepted: 5, judged: 5, ..RangeCounts::default() }, &FateTally::default()),
        None,
    );
    assert_eq!(world.state.waiting_for("crm", "web").unwrap(), 5 + 2);
}

#[test]
fn a_ledger_that_went_back_into_a_row_is_held_against_each_of_its_log_ranges() {
    let mut world = World::new(3);
    let ranges: Vec<_> = (0..300).map(|_| world.refine_all(2)).collect();
    let settle = |world: &mut World, range: &Range<u64>, told: u64| {
        let all: Vec<u64> = range.clone().collect();
        world.settle_part("crm", (range, range.clone()), (&all, 0, told));
    };
    ranges.iter().for_each(|range| settle(&mut world, range, 2));
    for (at, range) in ranges.iter().enumerate().skip(130) {
        // One of them loses an event now.
        settle(&mut world, range, if at == 177 { 1 } else { 2 });
    }
    let breaches = world.state.fate_breaches().unwrap();
    let told: Vec<_> = breaches.iter().map(|one| (one.first.offset, one.end.offset, one.expected, one.found)).collect();
    assert_eq!(told, [(2 * 177, 2 * 178, 2, 1)]);
    assert!(!world.state.conservation(&FateQuery::default()).unwrap().holds());
}

#[test]
fn what_the_log_gave_up_waits_for_nobody_though_its_row_is_still_there() {
    let mut world = World::new(5);
    let ranges: Vec<_> = (0..100).map(|_| world.refine_all(3)).collect();
    assert_eq!(world.state.waiting_for("crm", "web").unwrap(), 300);
    world.state.forget_below(ranges[40].start).unwrap();
    assert_eq!(world.state.waiting_for("crm", "web").unwrap(), 180);
    let all: Vec<u64> = ranges[40].clone().collect();
    world.settle_part("crm", (&ranges[40], ranges[40].clone()), (&all, 0, 3));
    let crm = &world.state.conservation(&FateQuery::default()).unwrap().syncs[0];
    assert_eq!((crm.went_on, crm.counts.came, crm.waiting, crm.not_for_it), (300, 3, 177, 120));
}

#[test]
fn counts_that_no_log_range_can_have_are_told_as_damage() {
    let mut world = World::new(1);
    world.state.set_partitions(2).unwrap();
    for partition in 0..2 {
        world.state.partition = partition;
        let counts = RangeCounts { accepted: 1, judged: 1, ..RangeCounts::default() };
        world.commit(&(0..1), (counts, &FateTally::default()), None);
    }
    // Of one record so many events went on as a number of 64 bits can say, in each partition.
    let sql = "UPDATE fate_ranges SET went_on = x'0affffffffffffffffff01'";
    assert_eq!(world.state.connection.execute(sql, []).unwrap(), 2);
    assert!(matches!(world.state.waiting_for("crm", "web"), Err(StateError::Damaged { .. })));
}

#[test]
fn a_row_that_is_damaged_stops_no_refining_and_no_delivery() {
    for nonsense in ["x'80'", "'text'", "0.5"] {
        let mut world = World::new(1);
        let settle = |world: &mut World, range: &Range<u64>| {
            let all: Vec<u64> = range.clone().collect();
            world.settle_part("crm", (range, range.clone()), (&all, 0, 2));
        };
        let first = world.refine_all(2);
        settle(&mut world, &first);
        let second = world.refine_all(2);
        let sql = format!("UPDATE fate_ranges SET went_on = {nonsense}");
        assert_eq!(world.state.connection.execute(&sql, []).unwrap(), 1);
        let third = world.refine_all(2);
        settle(&mut world, &second);
        settle(&mut world, &third);
        assert_eq!(world.state.cursor("crm").unwrap(), Some(third.end), "{nonsense}");
        assert!(world.state.check_fates(1).unwrap(), "{nonsense}: a batch is in no count");
    }
}
