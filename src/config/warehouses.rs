//! `destinations/<name>.yaml` of warehouses.

use std::path::Path;

use super::fields::Fields;
use crate::warehouse::table::Limits;
use crate::warehouse::{SHEETS, Settings, clickhouse, sqlite};

/// The warehouse of this kind.
pub(super) fn warehouse(fields: &mut Fields<'_>, kind: &str, dir: &Path, data: &Path) -> Option<Settings> {
    match kind {
        "sqlite" => Some(Settings::Sqlite(sqlite_file(fields, dir, data))),
        "clickhouse" => clickhouse_server(fields, dir).map(Settings::ClickHouse),
        _ => {
            let message = format!("a destination of kind {kind:?} is not known");
            let kinds: Vec<String> = SHEETS.iter().map(|sheet| format!("`kind: {}`", sheet.kind)).collect();
            let fix = format!("write {} or `kind: plugin`", kinds.join(", "));
            fields.problem(fields.line_of("kind"), message, fix);
            None
        }
    }
}

fn sqlite_file(fields: &mut Fields<'_>, dir: &Path, data: &Path) -> sqlite::Settings {
    let limits = limits(fields, &sqlite::SHEET);
    let path = match fields.text("path") {
        Some(path) => match path.strip_prefix("DATA/") {
            Some(rest) => data.join(rest),
            None => dir.join(path),
        },
        None => data.join("warehouse.db"),
    };
    sqlite::Settings { limits, ..sqlite::Settings::new(path) }
}

fn clickhouse_server(fields: &mut Fields<'_>, dir: &Path) -> Option<clickhouse::Settings> {
    let limits = limits(fields, &clickhouse::SHEET);
    let url = fields.required("url", "https://clickhouse.example.com:8443");
    let user = fields.text("user");
    let password = fields.text("password");
    let database = fields.text("database");
    let ca_file = fields.text("ca_file").map(|file| dir.join(file));
    let compress = one_of(fields, "compression", [("none", false), ("gzip", true)]);
    let look_up = one_of(
        fields,
        "look_up",
        [("always", clickhouse::LookUp::Always), ("after_failures", clickhouse::LookUp::AfterFailures)],
    );
    let timeout = fields.duration("timeout");
    let url = url?;
    let line = fields.line_of("url");
    let new = clickhouse::Settings::new(url);
    let settings = clickhouse::Settings {
        user: user.unwrap_or_else(|| new.user.clone()),
        password: password.unwrap_or_default(),
        database: database.unwrap_or_else(|| new.database.clone()),
        ca_file,
        compress,
        look_up,
        timeout: timeout.unwrap_or(new.timeout),
        limits,
        ..new
    };
    if let Some(problem) = settings.problem() {
        fields.problem(line, problem, "write `url: https://host:8443`, and user, password and database beside it");
        return None;
    }
    Some(settings)
}

/// One of two words; the first when none is there.
fn one_of<T: Copy>(fields: &mut Fields<'_>, name: &'static str, words: [(&str, T); 2]) -> T {
    let [(first, value), (second, _)] = words;
    let Some(text) = fields.text(name) else { return value };
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => *value,
        None => {
            let message = format!("{name} is {text:?}, not {first} or {second}");
            fields.problem(fields.line_of(name), message, format!("write `{name}: {first}` or `{name}: {second}`"));
            value
        }
    }
}

/// `columns_max` and `tables_max`, which every warehouse has.
fn limits(fields: &mut Fields<'_>, sheet: &crate::warehouse::sheet::Sheet) -> Limits {
    let most = sheet.columns_max;
    let limits = Limits {
        columns_max: fields.number("columns_max", 50).unwrap_or(1_000),
        tables_max: fields.number("tables_max", 1).unwrap_or(1_000),
    };
    if limits.columns_max > most {
        let message = format!("columns_max is above {most}, which is the most that {} tables can have", sheet.title);
        fields.problem(fields.line_of("columns_max"), message, format!("write {most} or less"));
    }
    limits
}
