//! What each warehouse says about itself, for programs and for the documentation.

use super::evolve::{Fit, Type};
use super::table::Table;

/// One warehouse's facts. The tables of `docs/warehouses.md` are made from these.
#[derive(Debug)]
pub struct Sheet {
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
    /// What becomes visible at once.
    pub atomicity: &'static str,
    /// From the door to a query, with the defaults.
    pub latency: &'static str,
    /// What a sync gathers before it loads, unless told otherwise.
    pub flush: Flush,
    /// The statements that make the table what it shall be, as an operator would run them. The schema is as
    /// SQL spells it, quoted where it must be.
    pub statements: fn(&Table, &str) -> Vec<String>,
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
pub fn tables(sheets: &[&Sheet]) -> String {
    let facts: [Fact<'_>; 9] = [
        ("`kind`", &|sheet| format!("`{}`", sheet.kind)),
        ("a Decimal has at most", &|sheet| decimal(&sheet.fit)),
        ("years of a Timestamp", &|sheet| format!("{:04} to {:04}", sheet.fit.years.0, sheet.fit.years.1)),
        ("U+0000 in text", &|sheet| nul(&sheet.fit).to_owned()),
        ("columns of a table, at most", &|sheet| sheet.columns_max.to_string()),
        ("one event is there once by", &|sheet| sheet.deduplication.to_owned()),
        ("becomes visible at once", &|sheet| sheet.atomicity.to_owned()),
        ("a load begins at", &|sheet| flush(&sheet.flush)),
        ("from the door to a query", &|sheet| sheet.latency.to_owned()),
    ];
    let mut text = head(sheets);
    for (name, cell) in &facts {
        text.push_str(&row(name, sheets, *cell));
    }
    text.push_str("\nWhat a type is there:\n\n");
    text.push_str(&head(sheets));
    for kind in Type::ALL {
        let cell = |sheet: &Sheet| format!("`{}`: {}", (sheet.declared)(kind), (sheet.stored)(kind));
        text.push_str(&row(word(kind), sheets, &cell));
    }
    text.push_str("\nHow a column widens:\n\n");
    text.push_str(&head(sheets));
    for from in Type::ALL.into_iter().filter(|kind| *kind != Type::Text) {
        for to in [Type::Decimal, Type::Text].into_iter().filter(|to| from != *to && from.join(*to) == *to) {
            let name = format!("{} to {}", word(from), word(to));
            text.push_str(&row(&name, sheets, &|sheet| (sheet.widening)(from, to).to_owned()));
        }
    }
    text
}

type Fact<'f> = (&'static str, &'f dyn Fn(&Sheet) -> String);

fn head(sheets: &[&Sheet]) -> String {
    row("", sheets, &|sheet| sheet.title.to_owned()) + &row("---", sheets, &|_| "---".to_owned())
}

fn row(name: &str, sheets: &[&Sheet], cell: &dyn Fn(&Sheet) -> String) -> String {
    let cells: Vec<String> = sheets.iter().map(|sheet| cell(sheet)).collect();
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
