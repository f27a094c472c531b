//! Random lives of a source and two syncs, with crashes between a destination's ledger and the state: events are conserved at every step.

mod idle;
mod packed;
mod partitions;

use tidegate_event::{EventId, Position, RetryMark};

use super::*;
use crate::{
    BatchFates, FateTally, Pending, QuarantineStage, Quarantined, RangeCounts, Resolved, SettledBatch, SyncProgress,
    Transformed, TransformedRange,
};

const HOUR_US: i64 = 3_600_000_000;

/// Numbers that look like chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A log in which every record is an event, and what refining made of each log range.
struct World {
    state: State,
    path: std::path::PathBuf,
    dice: Dice,
    end: u64,
    /// Where each log range begins and ends, and which of its offsets went on.
    ranges: Vec<(std::ops::Range<u64>, Vec<u64>)>,
    _dir: tempfile::TempDir,
}

fn key(offset: u64) -> (i64, &'static str) {
    (i64::try_from(offset / 40).unwrap(), ["Sent", "Opened", "Bought"][usize::try_from(offset % 3).unwrap()])
}

fn text(offset: u64) -> String {
    format!(r#"{{"type":"track","event":"{}","messageId":"m{offset}"}}"#, key(offset).1)
}

fn entry(offset: u64, stage: QuarantineStage, scope: &str) -> Quarantined {
    Quarantined {
        id: EventId::new(Position::new(0, offset), 0),
        stage: stage.as_str(),
        scope: scope.to_owned(),
        code: "no".to_owned(),
        message: String::new(),
        event: text(offset).into_bytes(),
        at_us: key(offset).0 * HOUR_US,
        detail: None,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let state = State::open(&path).unwrap();
        Self { state, path, dice: Dice(seed), end: 0, ranges: Vec::new(), _dir: dir }
    }

    /// Refines a log range: most go on, some are duplicates, some are quarantined.
    fn refine(&mut self) {
        let range = self.end..self.end + 1 + self.dice.roll(12);
        let (mut tally, mut counts, mut went_on) = (FateTally::default(), RangeCounts::default(), Vec::new());
        let mut stage = self.state.stage().unwrap();
        for offset in range.clone() {
            counts.accepted += 1;
            let fate = self.dice.roll(8);
            tally.add(key(offset), |counts| {
                counts.came += 1;
                match fate {
                    0 => counts.duplicates += 1,
                    1 => counts.quarantined += 1,
                    _ => counts.went_on += 1,
                }
            });
            match fate {
                0 => counts.duplicates += 1,
                1 => {
                    counts.quarantined += 1;
                    stage.quarantine(&entry(offset, QuarantineStage::Contract, "web")).unwrap();
                }
                _ => {
                    counts.judged += 1;
                    went_on.push(offset);
                }
            }
        }
        stage.source_fates("web", &range, (counts, &tally)).unwrap();
        stage.commit(&range, 1).unwrap();
        self.end = range.end;
        self.ranges.push((range, went_on));
    }

    /// Refines a log range of so many events, which go on.
    fn refine_all(&mut self, events: u64) -> std::ops::Range<u64> {
        let (range, mut tally) = (self.end..self.end + events, FateTally::default());
        for offset in range.clone() {
            tally.add(key(offset), |counts| {
                counts.came += 1;
                counts.went_on += 1;
            });
        }
        let counts = RangeCounts { accepted: events, judged: events, ..RangeCounts::default() };
        self.commit(&range, (counts, &tally), None);
        self.ranges.push((range.clone(), range.clone().collect()));
        range
    }

    /// Refines a log range of one record, which is a retry for one sync.
    fn refine_retry(&mut self, mark: &RetryMark<'_>) -> std::ops::Range<u64> {
        let range = self.end..self.end + 1;
        let counts = RangeCounts { accepted: 1, judged: 1, ..RangeCounts::default() };
        self.commit(&range, (counts, &FateTally::default()), Some(mark));
        range
    }

    fn commit(
        &mut self,
        range: &std::ops::Range<u64>,
        counted: (RangeCounts, &FateTally),
        retry: Option<&RetryMark<'_>>,
    ) {
        let mut stage = self.state.stage().unwrap();
        if let Some(mark) = retry {
            assert!(stage.take_retried(range.start, mark).unwrap());
        }
        stage.source_fates("web", range, counted).unwrap();
        stage.commit(range, 1).unwrap();
        self.end = range.end;
    }

    /// The cursor of a sync comes over `part` of a log range; each of these has come, and `told` of them are delivered.
    fn settle_part(
        &mut self,
        sync: &str,
        (range, part): (&std::ops::Range<u64>, std::ops::Range<u64>),
        (came, left_out, told): (&[u64], u64, u64),
    ) {
        let mut fates = BatchFates {
            source: "web".to_owned(),
            from: part.start,
            ranges_from: range.start,
            left_out,
            told,
            ..BatchFates::default()
        };
        for offset in came {
            fates.tally.add(key(*offset), |counts| {
                counts.came += 1;
                counts.delivered += 1;
            });
        }
        let progress =
            SyncProgress { cursor: part.end, delivered: told, fates: Some(fates), ..SyncProgress::default() };
        self.state.advance(sync, &progress, 1).unwrap();
    }

    fn forget(&mut self, offsets: &[u64]) {
        let positions: Vec<Position> = offsets.iter().map(|offset| Position::new(0, *offset)).collect();
        self.state.keep_forgotten(&positions, 1).unwrap();
    }

    /// The batch of a sync that is at `from`: one or two log ranges, each event with a fate; what is pending, and what is quarantined.
    fn batch(&mut self, sync: &str, from: u64) -> (SyncProgress, Vec<Pending>, Vec<Quarantined>) {
        let mut fates = BatchFates { source: "web".to_owned(), from, ranges_from: from, ..BatchFates::default() };
        let mut progress = SyncProgress { cursor: from, ..SyncProgress::default() };
        let (mut pending, mut quarantined) = (Vec::new(), Vec::new());
        let ranges: Vec<_> = self.ranges.iter().filter(|(range, _)| range.end > from).take(2).cloned().collect();
        for (at, (range, went_on)) in ranges.into_iter().enumerate() {
            if at == 0 {
                fates.ranges_from = range.start;
            }
            progress.cursor = range.end;
            for offset in went_on {
                if offset < from {
                    fates.left_out += 1;
                    continue;
                }
                let fate = self.dice.roll(6);
                fates.tally.add(key(offset), |counts| {
                    counts.came += 1;
                    match fate {
                        0 => counts.filtered += 1,
                        1 => counts.pending += 1,
                        2 => counts.quarantined += 1,
                        _ => counts.delivered += 1,
                    }
                });
                match fate {
                    0 => progress.filtered += 1,
                    1 => pending.push(Pending {
                        id: EventId::new(Position::new(0, offset), 0),
                        user: String::new(),
                        event: text(offset),
                        received_at_us: key(offset).0 * HOUR_US,
                        first_tried_at_us: 1,
                        attempts: 1,
                        next_at_us: 1,
                        error: String::new(),
                    }),
                    2 => quarantined.push(entry(offset, QuarantineStage::Destination, sync)),
                    _ => progress.delivered += 1,
                }
            }
        }
        fates.told = progress.delivered;
        progress.rejected = quarantined.len() as u64;
        progress.fates = Some(fates);
        (progress, pending, quarantined)
    }

    fn advance(&mut self, sync: &str, from: u64) -> u64 {
        let (progress, pending, quarantined) = self.batch(sync, from);
        let settled = SettledBatch { progress: &progress, quarantined: &quarantined, pending: &pending };
        self.state.settle(sync, &settled, 1).unwrap();
        progress.cursor
    }

    /// The destination had a batch and the state never heard of it: all that went on is there by its ledger.
    fn count_known(&mut self, sync: &str, from: u64, to: u64) {
        let mut fates = BatchFates { source: "web".to_owned(), from, ranges_from: from, ..BatchFates::default() };
        for (range, went_on) in self.ranges.iter().filter(|(range, _)| range.end > from && range.start < to) {
            fates.ranges_from = fates.ranges_from.min(range.start);
            for offset in went_on {
                if (from..to).contains(offset) {
                    fates.tally.add(key(*offset), |counts| {
                        counts.came += 1;
                        counts.by_ledger += 1;
                    });
                } else {
                    fates.left_out += 1;
                }
            }
        }
        let progress = SyncProgress { cursor: to, fates: Some(fates), ..SyncProgress::default() };
        self.state.count_known(sync, &progress).unwrap();
    }

    fn resolve(&mut self, sync: &str) {
        let mut resolved = Resolved::default();
        for mark in self.state.pending_marks(sync).unwrap() {
            match self.dice.roll(3) {
                0 => resolved.delivered.push(mark.id),
                1 => resolved.quarantined.push(entry(mark.id.position.offset, QuarantineStage::Destination, sync)),
                _ => {}
            }
        }
        self.state.resolve(sync, &resolved, 2).unwrap();
    }

    fn holds(&self, step: usize) {
        let whole = self.state.conservation(&FateQuery::default()).unwrap();
        assert!(whole.holds(), "step {step}: {whole:#?}");
        let name = FateQuery { name: Some("Sent".to_owned()), ..FateQuery::default() };
        let hours = FateQuery { since_us: Some(HOUR_US), until_us: Some(3 * HOUR_US), ..FateQuery::default() };
        for query in [name, hours] {
            let part = self.state.conservation(&query).unwrap();
            assert!(part.holds(), "step {step}: {query:?}: {part:#?}");
        }
        for sync in &whole.syncs {
            assert_eq!(sync.went_on, sync.counts.came + sync.waiting + sync.not_for_it, "step {step}: {sync:?}");
        }
    }
}

/// A life of a hundred and twenty steps; the second sync comes in the middle.
fn lived(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut cursors = [("crm", 0), ("late", u64::MAX)];
    for step in 0..120 {
        if step == 50 {
            cursors[1].1 = world.end;
        }
        let which = usize::try_from(world.dice.roll(2)).unwrap();
        let (sync, at) = cursors[which];
        match world.dice.roll(6) {
            0 | 1 => world.refine(),
            2 | 3 if at < world.end => cursors[which].1 = world.advance(sync, at),
            // Its ledger moved, and the process died.
            4 if at < world.end && at > 0 => {
                let to = world.batch(sync, at).0.cursor;
                world.state = State::open(&world.path).unwrap();
                world.count_known(sync, at, to);
                cursors[which].1 = to;
            }
            5 if at != u64::MAX => world.resolve(sync),
            _ => {
                let purge = crate::Purge { code: Some("no".to_owned()), ..crate::Purge::default() };
                world.state.purge_some(&purge).unwrap();
            }
        }
        world.holds(step);
    }
    world
}

#[test]
fn events_are_conserved_whatever_happens() {
    for seed in 0..40 {
        lived(seed);
    }
}

#[test]
fn a_batch_that_loses_an_event_is_a_breach() {
    let mut world = World::new(7);
    world.refine();
    world.refine();
    let (mut progress, pending, quarantined) = loop {
        let batch = world.batch("crm", 0);
        if batch.0.delivered > 0 {
            break batch;
        }
    };
    let fates = progress.fates.as_mut().unwrap();
    fates.told -= 1;
    progress.delivered -= 1;
    let settled = SettledBatch { progress: &progress, quarantined: &quarantined, pending: &pending };
    world.state.settle("crm", &settled, 1).unwrap();
    let breaches = world.state.fate_breaches().unwrap();
    assert_eq!(breaches.len(), 1, "{breaches:?}");
    let breach = &breaches[0];
    assert_eq!((breach.scope.as_str(), breach.expected - breach.found), ("crm", 1));
    assert_eq!((breach.first.offset, breach.end.offset), (0, progress.cursor));
    assert_eq!(world.state.forget_fate_breaches().unwrap(), 1);
    // What is wrong still is found again.
    assert!(world.state.check_fates(1).unwrap());
    assert!(world.state.fate_breaches().unwrap().iter().any(|breach| breach.is_sync));
}

#[test]
fn a_count_that_somebody_alters_is_found() {
    for sql in [
        "UPDATE fate_hours SET delivered = delivered + 1 WHERE is_sync = 1 AND name = 'Sent'",
        "UPDATE fate_hours SET came = came - 1 WHERE is_sync = 0 AND name = 'Sent'",
        "UPDATE fate_hours SET came = came + 1, delivered = delivered + 1 WHERE is_sync = 1 AND scope = 'crm' AND name = 'Sent'",
        "UPDATE syncs SET delivered = delivered + 1 WHERE sync = 'crm'",
        "DELETE FROM pending WHERE sync = 'crm'",
    ] {
        let mut world = lived(3);
        while world.state.pending_marks("crm").unwrap().is_empty() {
            world.refine();
            let at = world.state.cursor("crm").unwrap().unwrap();
            world.advance("crm", at);
        }
        while let Some(at) = world.state.cursor("crm").unwrap().filter(|at| *at < world.end) {
            world.advance("crm", at);
        }
        assert!(!world.state.check_fates(1).unwrap());
        world.state.connection.execute_batch(sql).unwrap();
        assert!(world.state.check_fates(1).unwrap(), "{sql}");
        assert!(!world.state.fate_breaches().unwrap().is_empty(), "{sql}");
    }
}

#[test]
fn a_sync_that_has_ended_is_forgotten() {
    let mut world = lived(5);
    world.state.begin_ending("crm", crate::EndingKind::Abandon, &[Position::new(0, world.end)]).unwrap();
    world.state.end_sync("crm", 0, 9).unwrap().unwrap();
    let found = world.state.conservation(&FateQuery::default()).unwrap();
    assert!(found.holds() && found.syncs.iter().all(|sync| sync.sync != "crm"), "{found:?}");
}

#[test]
fn a_file_of_format_8_is_carried_over_and_events_are_counted_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut state = State::open(&path).unwrap();
    state.stage().unwrap().commit(&(0..10), 0).unwrap();
    state.advance("crm", &SyncProgress { cursor: 5, delivered: 5, ..SyncProgress::default() }, 1).unwrap();
    let without = "DROP TABLE fate_hours; DROP TABLE fate_ranges; DROP TABLE fate_begins; DROP TABLE fate_syncs;
        DROP TABLE fate_breaches; DROP TABLE retry_outcomes; ALTER TABLE retried DROP COLUMN job; UPDATE meta SET value = 8 WHERE key = 'format'";
    state.connection.execute_batch(without).unwrap();
    crate::seal::seal(&state.connection).unwrap();
    drop(state);
    let mut world = World::new(1);
    world.state = State::open(&path).unwrap();
    assert_eq!(world.state.counted_from().unwrap(), 10);
    world.end = 10;
    world.refine();
    // The first batch is of log ranges that nobody counted, too: their events are in no count, but the destination had them.
    let (mut progress, pending, quarantined) = world.batch("crm", 10);
    let fates = progress.fates.as_mut().unwrap();
    (fates.from, fates.ranges_from) = (5, 0);
    fates.told += 5;
    progress.delivered += 5;
    let settled = SettledBatch { progress: &progress, quarantined: &quarantined, pending: &pending };
    world.state.settle("crm", &settled, 1).unwrap();
    world.holds(0);
    world.refine();
    world.advance("crm", progress.cursor);
    world.holds(1);
    assert!(!world.state.check_fates(1).unwrap());
}

/// A retry for the sync `crm` alone of what its destination refused at `offset`.
fn mark_for_crm(offset: u64) -> RetryMark<'static> {
    RetryMark {
        position: Position::new(0, offset),
        part: 0,
        attempt: 1,
        stage: "destination",
        scope: "crm",
        for_sync: "crm",
    }
}

#[test]
fn what_is_forgotten_while_it_is_tried_is_counted_once() {
    let (mut world, mut at) = (World::new(11), 0);
    while world.state.pending_marks("crm").unwrap().is_empty() {
        world.refine();
        at = world.advance("crm", at);
    }
    let ids: Vec<EventId> = world.state.pending_marks("crm").unwrap().iter().map(|mark| mark.id).collect();
    world.forget(&ids.iter().map(|id| id.position.offset).collect::<Vec<_>>());
    world.state.forget_pending(&crate::SubjectSet::default(), false).unwrap();
    world.state.resolve("crm", &Resolved { delivered: ids, ..Resolved::default() }, 2).unwrap();
    world.holds(0);
}

#[test]
fn a_retry_for_one_sync_of_what_an_earlier_build_quarantined_is_no_breach() {
    let mut world = World::new(1);
    world.state.stage().unwrap().commit(&(0..10), 1).unwrap();
    world.state.quarantine(&[entry(4, QuarantineStage::Destination, "crm")]).unwrap();
    world.state.connection.execute("DELETE FROM fate_begins", []).unwrap();
    world.end = 10;
    let range = world.refine_all(3);
    world.settle_part("crm", (&range, range.clone()), (&[10, 11, 12], 0, 3));
    let range = world.refine_retry(&mark_for_crm(4));
    world.settle_part("crm", (&range, range.clone()), (&[4], 0, 1));
    world.holds(0);
    let crm = &world.state.conservation(&FateQuery::default()).unwrap().syncs[0];
    assert_eq!((crm.counts.came, crm.counts.made, crm.counts.delivered), (3, 1, 4));
}

#[test]
fn what_a_sync_quarantined_under_another_name_may_be_retried() {
    let mut world = World::new(1);
    let range = world.refine_all(2);
    let mapped = Quarantined {
        event: br#"{"type":"track","event":"Mapped"}"#.to_vec(),
        ..entry(0, QuarantineStage::Destination, "crm")
    };
    world.state.quarantine(&[mapped]).unwrap();
    let mut fates = BatchFates { source: "web".to_owned(), told: 1, ..BatchFates::default() };
    for (offset, is_delivered) in [(0, false), (1, true)] {
        fates.tally.add(key(offset), |counts| (counts.came, counts.made) = (counts.came + 1, counts.made - 1));
        fates.tally.add((0, "Mapped"), |counts| {
            counts.made += 1;
            *(if is_delivered { &mut counts.delivered } else { &mut counts.quarantined }) += 1;
        });
    }
    let progress = SyncProgress { cursor: range.end, delivered: 1, fates: Some(fates), ..SyncProgress::default() };
    world.state.advance("crm", &progress, 1).unwrap();
    world.holds(0);
    let range = world.refine_retry(&mark_for_crm(0));
    world.settle_part("crm", (&range, range.clone()), (&[0], 0, 1));
    world.holds(1);
    let query = FateQuery { name: Some("Sent".to_owned()), ..FateQuery::default() };
    assert!(world.state.conservation(&query).unwrap().syncs[0].unsure.is_some(), "it says why they differ");
}

#[test]
fn what_was_forgotten_before_a_sync_had_it_is_suppressed_once_and_hides_no_other_loss() {
    let mut world = World::new(1);
    let range = world.refine_all(3);
    world.forget(&[1]);
    // A batch that ends in the middle of the log range, and the one behind it.
    world.settle_part("crm", (&range, 0..2), (&[0], 1, 1));
    world.settle_part("crm", (&range, 2..3), (&[2], 1, 1));
    world.holds(0);
    let crm = &world.state.conservation(&FateQuery::default()).unwrap().syncs[0];
    assert_eq!((crm.counts.came, crm.counts.suppressed, crm.counts.delivered), (3, 1, 2));
    // One is forgotten, and another one is lost.
    world.settle_part("late", (&range, 0..3), (&[0], 0, 1));
    let breaches = world.state.fate_breaches().unwrap();
    let told: Vec<_> = breaches.iter().map(|one| (one.scope.as_str(), one.expected, one.found)).collect();
    assert_eq!(told, [("late", 3, 2)]);
}

#[test]
fn a_forgotten_retry_for_one_sync_is_no_breach_of_another() {
    let mut world = World::new(1);
    let range = world.refine_all(2);
    world.settle_part("late", (&range, 0..2), (&[0, 1], 0, 2));
    world.state.quarantine(&[entry(0, QuarantineStage::Destination, "crm")]).unwrap();
    let mut fates = BatchFates { source: "web".to_owned(), told: 1, ..BatchFates::default() };
    fates.tally.add(key(0), |counts| (counts.came, counts.quarantined) = (1, 1));
    fates.tally.add(key(1), |counts| (counts.came, counts.delivered) = (1, 1));
    let progress = SyncProgress { cursor: 2, delivered: 1, fates: Some(fates), ..SyncProgress::default() };
    world.state.advance("crm", &progress, 1).unwrap();
    let range = world.refine_retry(&mark_for_crm(0));
    world.forget(&[0, range.start]);
    for sync in ["crm", "late"] {
        world.settle_part(sync, (&range, range.clone()), (&[], 0, 0));
    }
    world.holds(0);
}

#[test]
fn what_was_forgotten_before_the_functions_of_its_source_is_suppressed() {
    let mut world = World::new(1);
    let range = world.refine_all(2);
    world.forget(&[0]);
    let fates = TransformedRange { start: 0, came: 1, went_on: 1, ..TransformedRange::default() };
    let done = Transformed { source: "web", to: range.end, fates: Some(&fates), ..Transformed::default() };
    world.state.transformed(&done).unwrap();
    world.settle_part("crm", (&range, range.clone()), (&[1], 0, 1));
    world.holds(0);
    let web = &world.state.conservation(&FateQuery::default()).unwrap().sources[0];
    assert_eq!((web.counts.came, web.counts.went_on, web.counts.suppressed), (2, 1, 1));
}

#[test]
fn counts_that_are_damaged_do_not_stop_a_delivery() {
    let mut world = World::new(1);
    let range = world.refine_all(2);
    world.settle_part("crm", (&range, 0..1), (&[0], 1, 1));
    world.state.connection.execute("UPDATE fate_syncs SET gap = 'much'", []).unwrap();
    world.settle_part("crm", (&range, 1..2), (&[1], 1, 1));
    assert_eq!(world.state.cursor("crm").unwrap(), Some(2));
    world.state.connection.execute("UPDATE fate_syncs SET gap = 0", []).unwrap();
    assert!(world.state.check_fates(1).unwrap(), "it is missing from the sums");
}

#[test]
fn a_ledger_that_went_back_over_several_batches_is_no_breach() {
    let mut world = World::new(1);
    let ranges: Vec<_> = (0..3).map(|_| world.refine_all(4)).collect();
    for round in 0..2 {
        for range in &ranges {
            let all: Vec<u64> = range.clone().collect();
            world.settle_part("crm", (range, range.clone()), (&all, 0, 4));
            world.holds(round);
        }
    }
    let crm = &world.state.conservation(&FateQuery::default()).unwrap().syncs[0];
    assert_eq!((crm.counts.delivered, crm.unsure.is_some()), (24, true));
}
