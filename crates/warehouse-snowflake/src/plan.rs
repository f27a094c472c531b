//! From a batch to rows of JSON, in two readings: the first finds out which tables and columns there must be, the second,
//! when they are there, writes each value as its column wants it. Cells are made for a few events at a time, so that
//! memory does not grow with the batch but by the rows themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tidegate_event::destination::Batch;
use tidegate_warehouse::row::{Cell, Group, Planner};
use tidegate_warehouse::schema_cache::{Found, SchemaCache};
use tidegate_warehouse::table::{Family, Table, Target};

use super::ddl;
use super::encode;
use super::error::SnowflakeError;
use super::session::Session;
use super::settings::Checked;
use super::view;

/// Events whose cells are in memory at once.
const CHUNK_EVENTS: usize = 256;

/// Which rows of a batch are meant.
#[derive(Debug, Clone)]
pub(super) struct Part<'p> {
    pub(super) events: Range<usize>,
    /// Events that were refused.
    pub(super) without: &'p BTreeSet<usize>,
    pub(super) violations: bool,
}

/// A batch and the tables of its events.
pub(super) struct Plan<'b> {
    batch: &'b Batch,
    skip_below: u64,
    /// `None` for events that are there already.
    targets: Vec<Option<Target>>,
    violations: Option<usize>,
    /// Columns that the batch fills, by table.
    pub(super) columns: BTreeMap<usize, BTreeSet<u32>>,
}

/// One row as it is written.
pub(super) struct Row<'r, 'a> {
    pub(super) table: usize,
    pub(super) event: Option<usize>,
    /// Of the log.
    pub(super) offset: u64,
    pub(super) id: &'a str,
    pub(super) cells: &'r [Cell<'a>],
}

impl<'b> Plan<'b> {
    /// Reads the batch for the first time.
    pub(super) fn new(
        found: &mut Found,
        known: &mut SchemaCache,
        batch: &'b Batch,
        skip_below: u64,
    ) -> Result<Self, SnowflakeError> {
        let mut targets = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let is_fresh = event.offset >= skip_below;
            targets.push(if is_fresh { Some(known.target(found, event)?) } else { None });
        }
        let fresh = batch.violations.iter().any(|record| record.offset >= skip_below);
        let violations = if fresh { Some(known.fixed_table(found, Family::Violations)?) } else { None };
        let mut plan = Self { batch, skip_below, targets, violations, columns: BTreeMap::new() };
        let mut columns: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
        let nobody = BTreeSet::new();
        let all = Part { events: 0..batch.events.len(), without: &nobody, violations: true };
        plan.groups(known, &all, |_, groups| {
            for group in groups {
                columns.entry(group.table).or_default().extend(&group.columns);
            }
            Ok(())
        })?;
        plan.columns = columns;
        Ok(plan)
    }

    /// Events that are there already.
    pub(super) fn skipped(&self) -> u64 {
        self.targets.iter().filter(|target| target.is_none()).count() as u64
    }

    /// Looks whether the tables are as they are remembered, and makes them what they shall be. When a change must wait, the
    /// batch is begun anew without it.
    pub(super) async fn settle(
        &self,
        session: &mut Session,
        known: &mut SchemaCache,
        checked: &Checked,
    ) -> Result<(), SnowflakeError> {
        let mut waits = false;
        for place in self.columns.keys() {
            let table = &mut known.tables.list[*place];
            let found = ddl::describe(session, &checked.place, &table.name).await?;
            if !ddl::is_as_known(table, found.as_ref()) {
                return Err(SnowflakeError::Altered { table: table.name.to_string() });
            }
            let applied = ddl::apply(session, &checked.place, table).await?;
            known.notices.extend(applied.notices);
            waits |= known.wait(*place, applied.refused)?;
            if let Some(profile) = known.profile(*place) {
                let outcome = view::keep(session, &checked.place, profile, &known.tables.list[*place]).await?;
                known.viewed(*place, outcome);
            }
        }
        if waits { Err(SnowflakeError::Waits) } else { Ok(()) }
    }

    /// Reads the batch for the second time: every row of the part.
    pub(super) fn rows(
        &self,
        known: &mut SchemaCache,
        part: &Part<'_>,
        mut each: impl FnMut(&Table, Row<'_, 'b>) -> Result<(), SnowflakeError>,
    ) -> Result<(), SnowflakeError> {
        let mut violations = self.batch.violations.iter().filter(|record| record.offset >= self.skip_below);
        self.groups(known, part, |known, groups| {
            for group in groups {
                let table = &known.tables.list[group.table];
                for (at, row) in group.rows.iter().enumerate() {
                    let event = row.event.map(|event| event as usize);
                    let (offset, id) = match event {
                        Some(event) => {
                            let event = &self.batch.events[event];
                            (event.offset, event.body.get("messageId").and_then(|id| id.as_str()).unwrap_or_default())
                        }
                        None => violations.next().map_or((0, ""), |record| (record.offset, &*record.message_id)),
                    };
                    each(table, Row { table: group.table, event, offset, id, cells: group.row(at) })?;
                }
            }
            Ok(())
        })
    }

    fn groups(
        &self,
        known: &mut SchemaCache,
        part: &Part<'_>,
        mut each: impl FnMut(&SchemaCache, Vec<Group<'b>>) -> Result<(), SnowflakeError>,
    ) -> Result<(), SnowflakeError> {
        for start in part.events.clone().step_by(CHUNK_EVENTS) {
            let mut planner = Planner::new(&mut known.tables, encode::FIT);
            for index in start..(start + CHUNK_EVENTS).min(part.events.end) {
                if let Some(target) = &self.targets[index]
                    && !part.without.contains(&index)
                {
                    planner.event(u32::try_from(index).unwrap_or(u32::MAX), &self.batch.events[index], target);
                }
            }
            let groups = planner.finish();
            each(known, groups)?;
        }
        let Some(table) = self.violations.filter(|_| part.violations) else { return Ok(()) };
        for records in self.batch.violations.chunks(CHUNK_EVENTS) {
            let mut planner = Planner::new(&mut known.tables, encode::FIT);
            for record in records.iter().filter(|record| record.offset >= self.skip_below) {
                planner.violation(record, table);
            }
            let groups = planner.finish();
            each(known, groups)?;
        }
        Ok(())
    }
}

/// Writes the cells of a row as members of a JSON object, each with a comma before it unless it is `first`.
pub(super) fn members(
    out: &mut impl std::io::Write,
    table: &Table,
    cells: &[Cell<'_>],
    first: bool,
) -> std::io::Result<()> {
    let mut first = first;
    for cell in cells {
        let column = &table.columns[cell.column as usize];
        out.write_all(if first { b"\"" } else { b",\"" })?;
        first = false;
        // Names are letters, digits and underscores, which JSON spells as they are.
        out.write_all(column.name.to_ascii_uppercase().as_bytes())?;
        out.write_all(b"\":")?;
        encode::write(out, &cell.scalar, column.kind())?;
    }
    Ok(())
}
