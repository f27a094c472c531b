//! What each warehouse says about itself, for programs and for the documentation.

use super::evolve::{Fit, Type};
use super::table::Table;

/// One warehouse's capabilities. The tables of `docs/warehouses.md` are made from these.
#[derive(Debug)]
pub struct Capabilities {
    /// As a workspace spells it: `kind: sqlite`.
    pub kind: &'static str,
    /// As people call it.
    pub title: &'static str,
    pub fit: Fit,
    /// The type as a column declares it.
    pub declared: fn(Type) -> &'static str,
    /// What a value of the type is there, for the reader of a table.
    pub stored: fn(Type) -> &'static str,
    /// How a column moves from one type to a wider one.
    pub widening: fn(Type, Type) -> &'static str,
    /// Columns that the warehouse itself can have in a table; an operator's own cap is lower.
    pub columns_max: usize,
    /// How one event is kept from being there twice.
    pub deduplication: &'static str,
    /// Whether an event whose id is there already is no second row, however long ago it came.
    pub knows_ids: bool,
    /// What becomes visible at once.
    pub atomicity: &'static str,
    /// From the door to a query, with the defaults.
    pub latency: &'static str,
    /// What a sync gathers before it loads, unless told otherwise.
    pub flush: Flush,
    /// What is undone of a batch that did not come to its end.
    pub undoes: Undoes,
    /// Which changes of a table are made by one call.
    pub steps: Steps,
    /// The statements that make the table what it shall be, as an operator would run them. The schema is as
    /// SQL spells it, quoted where it must be.
    pub statements: fn(&Table, &str) -> Vec<String>,
}

/// What is undone of a batch that did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undoes {
    /// Its rows. Where they stay, the batch finds them when it comes again.
    pub rows: bool,
    /// What was done to tables for it.
    pub ddl: bool,
}

/// Which changes of an existing table are made by one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// Each added column by itself, then all that widen.
    EachColumn,
    /// All added columns, then all that widen.
    AddThenWiden,
    /// All at once; asked for even when no column changes.
    Together,
}

/// When a batch is large or old enough to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    pub events: usize,
    pub bytes: usize,
    /// How long the first event of a batch may wait for others.
    pub age: std::time::Duration,
}

/// The tables of the documentation, in Markdown: one column for each warehouse.
#[must_use]
pub fn tables(capabilities: &[&Capabilities]) -> String {
    let rows: [CapabilityRow<'_>; 9] = [
        ("`kind`", &|capabilities| format!("`{}`", capabilities.kind)),
        ("a Decimal has at most", &|capabilities| decimal(&capabilities.fit)),
        ("years of a Timestamp", &|capabilities| {
            format!("{:04} to {:04}", capabilities.fit.years.0, capabilities.fit.years.1)
        }),
        ("U+0000 in text", &|capabilities| nul(&capabilities.fit).to_owned()),
        ("columns of a table, at most", &|capabilities| capabilities.columns_max.to_string()),
        ("one event is there once by", &|capabilities| capabilities.deduplication.to_owned()),
        ("becomes visible at once", &|capabilities| capabilities.atomicity.to_owned()),
        ("a load begins at", &|capabilities| flush(&capabilities.flush)),
        ("from the door to a query", &|capabilities| capabilities.latency.to_owned()),
    ];
    let mut text = head(capabilities);
    for (name, cell) in &rows {
        text.push_str(&row(name, capabilities, *cell));
    }
    text.push_str("\nWhat a type is there:\n\n");
    text.push_str(&head(capabilities));
    for kind in Type::ALL {
        let cell = |capabilities: &Capabilities| {
            format!("`{}`: {}", (capabilities.declared)(kind), (capabilities.stored)(kind))
        };
        text.push_str(&row(word(kind), capabilities, &cell));
    }
    text.push_str("\nHow a column widens:\n\n");
    text.push_str(&head(capabilities));
    for from in Type::ALL.into_iter().filter(|kind| *kind != Type::Text) {
        for to in [Type::Decimal, Type::Text].into_iter().filter(|to| from != *to && from.join(*to) == *to) {
            let name = format!("{} to {}", word(from), word(to));
            text.push_str(&row(&name, capabilities, &|capabilities| (capabilities.widening)(from, to).to_owned()));
        }
    }
    text
}

type CapabilityRow<'f> = (&'static str, &'f dyn Fn(&Capabilities) -> String);

fn head(capabilities: &[&Capabilities]) -> String {
    row("", capabilities, &|capabilities| capabilities.title.to_owned())
        + &row("---", capabilities, &|_| "---".to_owned())
}

fn row(name: &str, capabilities: &[&Capabilities], cell: &dyn Fn(&Capabilities) -> String) -> String {
    let cells: Vec<String> = capabilities.iter().map(|capabilities| cell(capabilities)).collect();
    format!("| {name} | {} |\n", cells.join(" | "))
}

const fn word(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "Boolean",
        Type::Integer => "Integer",
        Type::Decimal => "Decimal",
        Type::Timestamp => "Timestamp",
        Type::Json => "JSON",
        Type::Text => "Text",
    }
}

const fn nul(fit: &Fit) -> &'static str {
    if fit.text_nul { "kept" } else { "the value goes to `_overflow`" }
}

fn decimal(fit: &Fit) -> String {
    let (digits, whole, fraction) = (fit.decimal_digits_max, fit.decimal_exponent_max, fit.decimal_fraction_max);
    if fraction == i64::MAX {
        return format!("{digits} digits, exponent within ±{whole}");
    }
    format!("{digits} digits, {whole} before the point, {fraction} behind it")
}

fn flush(flush: &Flush) -> String {
    let (events, mebibytes) = (flush.events, flush.bytes >> 20);
    if flush.age.is_zero() {
        return format!("once; {events} events or {mebibytes} MiB under a backlog");
    }
    format!("{events} events, {mebibytes} MiB or {} s", flush.age.as_secs())
}
