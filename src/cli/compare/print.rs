//! What a comparison found, for people and for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_event::time;
use tidegate_warehouse::read_cell::ReadCell;

use super::super::style;
use crate::app::table_comparison::{ComparisonReport, ComparisonRequest, OneSidedRows, TableReport, UnpairedTable};

/// Times that each server takes from its own clock: where they differ, a tolerance is meant.
const OF_SERVERS: [&str; 3] = ["received_at", "sent_at", "timestamp"];
/// Characters of a value that is shown to people.
const VALUE_CHARS_MAX: usize = 60;
/// Days that are shown to people, of those that differ.
const DAYS_MAX: usize = 31;

/// A value for those who may not see it: what it is and how long, so that the kind of the difference shows.
fn masked(cell: &ReadCell) -> String {
    match cell {
        ReadCell::Null => "null".to_owned(),
        ReadCell::Boolean(_) => "a boolean".to_owned(),
        ReadCell::Number(digits) => format!("a number of {} digits", digits.bytes().filter(u8::is_ascii_digit).count()),
        ReadCell::Instant(_) => "a time".to_owned(),
        ReadCell::Json(text) => format!("JSON of {} bytes", text.len()),
        ReadCell::Text(text) => format!("text of {} characters", text.chars().count()),
    }
}

fn shown(cell: &ReadCell) -> String {
    match cell {
        ReadCell::Null => "null".to_owned(),
        ReadCell::Boolean(truth) => truth.to_string(),
        ReadCell::Instant(micros) => time::format(*micros),
        ReadCell::Number(text) | ReadCell::Json(text) | ReadCell::Text(text) => text.clone(),
    }
}

fn value(cell: &ReadCell, with_values: bool) -> String {
    if with_values { shown(cell) } else { masked(cell) }
}

fn instant(micros: Option<i64>) -> Option<String> {
    micros.map(time::format)
}

/// One JSON object.
pub(super) fn for_programs(report: &ComparisonReport, request: &ComparisonRequest, with_values: bool) {
    let unpaired = |tables: &[UnpairedTable]| -> Vec<Value> {
        tables.iter().map(|table| json!({"table": table.table, "rows": table.rows})).collect()
    };
    let compared: Vec<Value> = report.tables.iter().map(|table| of_table(table, with_values)).collect();
    let answer = json!({
        "equal": report.is_equal(),
        "from": time::format(request.range.start), "to": time::format(request.range.end),
        "dialect": request.dialect.map(|dialect| dialect.as_str()), "key": request.key, "time": request.time,
        "missing_tables": unpaired(&report.missing), "extra_tables": unpaired(&report.extra),
        "not_compared": report.not_compared, "tables": compared,
    });
    println!("{answer}");
}

fn of_table(table: &TableReport, with_values: bool) -> Value {
    let two = |[ours, theirs]: [u64; 2]| json!({"ours": ours, "theirs": theirs});
    let rows = |found: &OneSidedRows| json!({"count": found.count, "keys": found.keys});
    let days: Vec<Value> =
        table.days.iter().map(|(day, [ours, theirs])| json!({"day": day, "ours": ours, "theirs": theirs})).collect();
    let moved: Vec<Value> = table
        .moved
        .rows
        .iter()
        .map(|(key, [ours, theirs])| json!({"key": key, "ours": instant(*ours), "theirs": instant(*theirs)}))
        .collect();
    let columns = |columns: &[(String, u64)]| -> Vec<Value> {
        columns.iter().map(|(column, values)| json!({"column": column, "values": values})).collect()
    };
    let renamed: Vec<Value> =
        table.columns.renamed.iter().map(|(ours, theirs)| json!({"ours": ours, "theirs": theirs})).collect();
    let types: Vec<Value> = table
        .columns
        .types
        .iter()
        .map(|(column, [ours, theirs])| json!({"column": column, "ours": ours, "theirs": theirs}))
        .collect();
    let values: Vec<Value> = table
        .values
        .iter()
        .map(|(column, found)| {
            let rows: Vec<Value> = found
                .rows
                .iter()
                .map(|(key, [ours, theirs])| {
                    json!({"key": key, "ours": value(ours, with_values), "theirs": value(theirs, with_values)})
                })
                .collect();
            json!({"column": column, "count": found.count, "rows": rows})
        })
        .collect();
    json!({
        "table": table.table, "their_table": table.their_table, "equal": table.is_equal(), "same": table.same,
        "days": days, "missing": rows(&table.missing), "extra": rows(&table.extra),
        "moved": {"count": table.moved.count, "rows": moved},
        "repeated": two(table.repeated), "without_key": two(table.without_key),
        "columns": {
            "missing": columns(&table.columns.missing), "extra": columns(&table.columns.extra),
            "renamed": renamed, "types": types,
        },
        "values": values,
    })
}

/// A line for each table, and what is different below it.
pub(super) fn for_people(report: &ComparisonReport, request: &ComparisonRequest, with_values: bool) {
    let mut table =
        style::table(&["table", "rows of ours", "of theirs", "the same", "missing", "extra", "moved", "values"]);
    for of in &report.tables {
        let rows = of.days.values().fold([0, 0], |sum, day| [sum[0] + day[0], sum[1] + day[1]]);
        let values: u64 = of.values.values().map(|found| found.count).sum();
        let numbers = [rows[0], rows[1], of.same, of.missing.count, of.extra.count, of.moved.count, values];
        table.add_row([style::plain(&of.table, 63)].into_iter().chain(numbers.map(style::count)));
    }
    if !report.tables.is_empty() {
        println!("{table}");
    }
    for (tables, whose) in [(&report.missing, "only OURS has"), (&report.extra, "only THEIRS has")] {
        for table in tables {
            println!("{whose} the table {}: {} rows", style::plain(&table.table, 63), style::count(table.rows));
        }
    }
    for of in report.tables.iter().filter(|table| !table.is_equal()) {
        println!("{}", style::bold(&style::plain(&of.table, 63)));
        differences(of, with_values);
    }
    let of_clocks = report.tables.iter().flat_map(|table| table.values.keys()).any(|it| OF_SERVERS.contains(&&**it));
    if of_clocks {
        println!(
            "received_at, sent_at and timestamp are by each server's clock: --tolerance 5m takes what is close for the same"
        );
    }
    if !report.not_compared.is_empty() {
        let names: Vec<String> = report.not_compared.iter().take(20).map(|name| style::plain(name, 63)).collect();
        println!("without {} or {}, and not compared: {}", request.key, request.time, names.join(", "));
    }
    println!("{}", if report.is_equal() { style::good("nothing is different") } else { "different".to_owned() });
}

fn differences(of: &TableReport, with_values: bool) {
    let plain = |text: &str| style::plain(text, VALUE_CHARS_MAX);
    for (column, values) in &of.columns.missing {
        println!("  column {} is only in OURS, with {} values", plain(column), style::count(*values));
    }
    for (column, values) in &of.columns.extra {
        println!("  column {} is only in THEIRS, with {} values", plain(column), style::count(*values));
    }
    for (column, [ours, theirs]) in &of.columns.types {
        println!("  column {} is {} in OURS and {} in THEIRS", plain(column), plain(ours), plain(theirs));
    }
    for (column, other) in &of.columns.renamed {
        println!("  column {} is called {} in THEIRS", plain(column), plain(other));
    }
    for (found, whose) in [(&of.missing, "OURS"), (&of.extra, "THEIRS")] {
        if found.count > 0 {
            let keys: Vec<String> = found.keys.iter().map(|key| plain(key)).collect();
            println!("  {} rows are only in {whose}: {}", style::count(found.count), keys.join(", "));
        }
    }
    for (key, [ours, theirs]) in &of.moved.rows {
        let [ours, theirs] = [ours, theirs].map(|at| instant(*at).unwrap_or_else(|| "no time".to_owned()));
        println!("  row {} is of {ours} in OURS and of {theirs} in THEIRS", plain(key));
    }
    for (at, whose) in [(0, "OURS"), (1, "THEIRS")] {
        if of.repeated[at] > 0 {
            println!("  {} rows of {whose} have a key that it has already", style::count(of.repeated[at]));
        }
        if of.without_key[0] != of.without_key[1] {
            println!("  {} rows of {whose} have no key", style::count(of.without_key[at]));
        }
    }
    for (column, found) in &of.values {
        println!("  column {} differs in {} rows", plain(column), style::count(found.count));
        for (key, [ours, theirs]) in &found.rows {
            let [ours, theirs] = [ours, theirs].map(|cell| plain(&value(cell, with_values)));
            println!("    {}: {ours} in OURS, {theirs} in THEIRS", plain(key));
        }
    }
    print_days(&of.days);
}

/// The days on which not the same number of rows came.
fn print_days(days: &BTreeMap<String, [u64; 2]>) {
    let unlike: Vec<_> = days.iter().filter(|(_, [ours, theirs])| ours != theirs).collect();
    for (day, [ours, theirs]) in unlike.iter().take(DAYS_MAX) {
        println!("  {day}: {} rows in OURS, {} in THEIRS", style::count(*ours), style::count(*theirs));
    }
    if let Some(more) = unlike.len().checked_sub(DAYS_MAX).filter(|more| *more > 0) {
        println!("  and {more} more days with other numbers of rows; --json has them all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_value_tells_its_kind_and_length_and_nothing_of_itself() {
        for (cell, expected) in [
            (ReadCell::Null, "null"),
            (ReadCell::Text("ann@example.com".to_owned()), "text of 15 characters"),
            (ReadCell::Number("-12.50".to_owned()), "a number of 4 digits"),
            (ReadCell::Json("[1]".to_owned()), "JSON of 3 bytes"),
            (ReadCell::Instant(0), "a time"),
        ] {
            assert_eq!(value(&cell, false), expected);
        }
        assert_eq!(value(&ReadCell::Text("ann".to_owned()), true), "ann");
    }
}
