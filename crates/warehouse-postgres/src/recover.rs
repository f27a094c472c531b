//! A part that was refused: what can be loaded of it is.
//!
//! Rows whose key is there already are left out, rows that are too wide for a page come again with their fields in the
//! overflow, and an event that is refused for itself is found by halving and set aside.

use std::collections::HashSet;
use std::ops::Range;

use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_warehouse::bisect::Bisect;
use tidegate_warehouse::row::Planner;

use super::encode::FIT;
use super::error::PostgresError;
use super::load::{Session, Targets, WARY_PARTS, copy_of};
use super::part::Part;

/// Rows that take less of a page than this are not suspected of being too wide for it.
const WIDTH_MAX: u32 = 7_000;

impl Session {
    /// The part was refused: loads what can be loaded of it.
    pub(super) async fn recover(
        &mut self,
        mut part: Part,
        mut error: PostgresError,
        batch: &Batch,
        targets: &Targets,
        delivery: &mut Delivery,
    ) -> Result<(), PostgresError> {
        let all = part.events.clone();
        // A key that is there, then rows that are too wide: either may hide the other.
        for _ in 0..3 {
            if !error.is_of_row() {
                return Err(error);
            }
            error = self.wire.undo(error).await?;
            if error.is_of_width() {
                let wide = part.wide(WIDTH_MAX);
                part = self.replan(batch, targets, all.clone(), &wide).await?;
            } else if !error.is_of_key() {
                return self.find_refused(part, error, batch, targets, delivery).await;
            }
            match copy_of(&mut self.wire, &mut part, all.clone(), true, false).await {
                Ok(duplicates) => {
                    self.wary = WARY_PARTS;
                    delivery.duplicates += duplicates;
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
        if !error.is_of_row() {
            return Err(error);
        }
        let error = self.wire.undo(error).await?;
        self.find_refused(part, error, batch, targets, delivery).await
    }

    /// Bisect the part until the events that are refused stand alone.
    async fn find_refused(
        &mut self,
        mut part: Part,
        error: PostgresError,
        batch: &Batch,
        targets: &Targets,
        delivery: &mut Delivery,
    ) -> Result<(), PostgresError> {
        let first = part.events.start;
        let mut halves = Bisect::of(part.events.len());
        // The whole has been refused already.
        let mut refused = halves.next_part().and_then(|whole| halves.refused(whole)).map(|alone| (alone, error));
        loop {
            if let Some((alone, error)) = refused.take() {
                self.alone(first + alone, error, batch, targets, delivery).await?;
            }
            let Some(half) = halves.next_part() else { return Ok(()) };
            let events = first + half.start..first + half.end;
            match copy_of(&mut self.wire, &mut part, events, true, false).await {
                Ok(duplicates) => delivery.duplicates += duplicates,
                Err(error) if error.is_of_row() => {
                    let error = self.wire.undo(error).await?;
                    refused = halves.refused(half).map(|alone| (alone, error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One event was refused for itself: another try where that may help, else it is set aside.
    async fn alone(
        &mut self,
        event: usize,
        mut error: PostgresError,
        batch: &Batch,
        targets: &Targets,
        delivery: &mut Delivery,
    ) -> Result<(), PostgresError> {
        for _ in 0..2 {
            if !error.is_of_width() && !error.is_of_key() {
                break;
            }
            // Too wide: its fields go to the overflow. The key: somebody has just written it.
            let narrow = if error.is_of_width() { HashSet::from([event]) } else { HashSet::new() };
            let mut part = self.replan(batch, targets, event..event + 1, &narrow).await?;
            match copy_of(&mut self.wire, &mut part, event..event + 1, true, false).await {
                Ok(duplicates) => {
                    delivery.duplicates += duplicates;
                    return Ok(());
                }
                Err(next) if next.is_of_row() => error = self.wire.undo(next).await?,
                Err(next) => return Err(next),
            }
        }
        let reason = error.words();
        delivery.rejected.push(Rejected { index: event, code: "row_refused".into(), reason, detail: None });
        Ok(())
    }

    /// Plans these events anew, some of them with nothing but base columns and the overflow.
    async fn replan(
        &mut self,
        batch: &Batch,
        targets: &Targets,
        events: Range<usize>,
        narrow: &HashSet<usize>,
    ) -> Result<Part, PostgresError> {
        let mut part = Part::of(events.clone());
        for at in events {
            let Some(target) = &targets[at] else { continue };
            let tables = &mut self.known.tables;
            let mut planner =
                if narrow.contains(&at) { Planner::narrow(tables, FIT) } else { Planner::new(tables, FIT) };
            planner.event(u32::try_from(at).unwrap_or(u32::MAX), &batch.events[at], target);
            for group in planner.finish() {
                part.add(&self.wire.schema, &mut self.shapes, &self.known.tables.list[group.table], &group, 0);
            }
        }
        part.seal();
        self.settle(&part).await?;
        Ok(part)
    }
}
