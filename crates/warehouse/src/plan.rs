//! What would be done to a warehouse's tables for a contract or a sample of events, without doing it.

use std::sync::Arc;

use tidegate_event::{Event, ViolationRecord};

use super::SyncPart;
use super::capabilities::Capabilities;
use super::evolve::{Fit, Type};
use super::row::{Group, Planner};
use super::schema_cache::{FoundSchema, NameTaken, SchemaCache};
use super::table::{Family, Limits, Table};
use super::waiting::Waiting;

/// A plan in the making.
#[derive(Debug)]
pub struct WarehousePlan {
    known: SchemaCache,
    found: FoundSchema,
    fit: Fit,
    statements: fn(&Table, &str) -> Vec<String>,
    schema: String,
    schema_statement: Option<String>,
}

/// What a plan needs to know of a warehouse and of a part of it.
#[derive(Debug, Clone)]
pub struct PlannedPlace {
    pub capabilities: &'static Capabilities,
    pub limits: Limits,
    /// What stands before the names of tables where there are no schemas.
    pub prefix: String,
    /// The schema as SQL spells it; empty where it is part of the name of a table.
    pub schema: String,
    /// What makes the schema, where it is not there.
    pub schema_statement: Option<String>,
}

/// What would be done to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    pub table: String,
    pub creates: bool,
    pub columns_added: usize,
    pub columns_widened: usize,
    /// As an operator would run them.
    pub statements: Vec<String>,
}

/// A row that an event becomes: the name of its table, and of each value the column, its type and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutline {
    pub table: String,
    pub cells: Vec<(String, Type, String)>,
}

/// A row that is in a warehouse: its table, and of each value the column and its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundRow {
    pub table: String,
    pub cells: Vec<(String, String)>,
}

impl FoundRow {
    /// Rows with one id that are asked for at most.
    pub const ROWS_MAX: usize = 3;

    /// A row as a JSON object whose fields are its columns; `None` for another text. Columns without a value are left out.
    #[must_use]
    pub fn of_json(table: &str, text: &str) -> Option<Self> {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
        let cell = |(name, value): (String, serde_json::Value)| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some((name, text)),
            other => Some((name, other.to_string())),
        };
        Some(Self { table: table.to_owned(), cells: fields.into_iter().filter_map(cell).collect() })
    }
}

impl WarehousePlan {
    /// Begins with the tables as they are (`found`; empty for a warehouse that is not there yet).
    #[must_use]
    pub fn new(place: PlannedPlace, part: &SyncPart, found: FoundSchema) -> Self {
        let PlannedPlace { capabilities, limits, prefix, schema, schema_statement } = place;
        let known = SchemaCache::new(&prefix, found.objects(), limits, Arc::clone(&part.declared), &Waiting::default());
        Self { known, found, fit: capabilities.fit, statements: capabilities.statements, schema, schema_statement }
    }

    /// Takes in the tables whose columns were declared in advance.
    ///
    /// # Errors
    /// Something else has the name of a fixed table.
    pub fn declared(&mut self) -> Result<(), NameTaken> {
        self.known.declared_tables(&mut self.found)
    }

    /// Takes in events, in batches as large as one likes.
    ///
    /// # Errors
    /// Something else has the name of a fixed table.
    pub fn events(&mut self, events: &[Event]) -> Result<(), NameTaken> {
        let targets =
            events.iter().map(|event| self.known.target(&mut self.found, event)).collect::<Result<Vec<_>, _>>()?;
        let mut planner = Planner::new(&mut self.known.tables, self.fit);
        for (index, (event, target)) in (0..).zip(events.iter().zip(&targets)) {
            planner.event(index, event, target);
        }
        let _ = planner.finish();
        Ok(())
    }

    /// The rows that an event becomes, which is taken in with them.
    ///
    /// # Errors
    /// Something else has the name of a fixed table.
    pub fn rows(&mut self, event: &Event) -> Result<Vec<RowOutline>, NameTaken> {
        let target = self.known.target(&mut self.found, event)?;
        let mut planner = Planner::new(&mut self.known.tables, self.fit);
        planner.event(0, event, &target);
        let groups = planner.finish();
        let row = |group: &Group<'_>| {
            let table = self.known.tables.list.get(group.table)?;
            let cells = group.cells.iter().filter_map(|cell| {
                let column = table.columns.get(cell.column as usize)?;
                Some((column.name.to_string(), column.kind(), cell.scalar.text().into_owned()))
            });
            Some(RowOutline { table: table.name.to_string(), cells: cells.collect() })
        };
        Ok(groups.iter().filter_map(row).collect())
    }

    /// Takes in what a contract objected to.
    ///
    /// # Errors
    /// Something else has the name of the table for it.
    pub fn violations(&mut self, violations: &[ViolationRecord]) -> Result<(), NameTaken> {
        if violations.is_empty() {
            return Ok(());
        }
        let table = self.known.fixed_table(&mut self.found, Family::Violations)?;
        let mut planner = Planner::new(&mut self.known.tables, self.fit);
        for violation in violations {
            planner.violation(violation, table);
        }
        let _ = planner.finish();
        Ok(())
    }

    /// The statement that makes the schema, if it is not there and some table is to be made in it.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        let makes = self.known.tables.list.iter().any(|table| !table.exists);
        self.schema_statement.as_deref().filter(|_| makes)
    }

    /// What would be done, by table in the order in which they came up, and what an operator should hear of it.
    #[must_use]
    pub fn finish(mut self) -> (Vec<PlanStep>, Vec<String>) {
        let notices = self.known.fresh_notices(&mut super::schema_cache::ToldNotices::default());
        let step = |table: &Table| {
            let changes = table.changes();
            PlanStep {
                table: table.name.to_string(),
                creates: changes.create,
                columns_added: changes.add.len(),
                columns_widened: changes.widen.len(),
                statements: (self.statements)(table, &self.schema),
            }
        };
        let steps = self.known.tables.list.iter().map(step).filter(|step| !step.statements.is_empty()).collect();
        (steps, notices)
    }
}
