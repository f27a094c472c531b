//! `destinations/<name>.yaml` of warehouses.

use std::path::Path;

use super::fields::Fields;
use crate::warehouse::table::Limits;
use crate::warehouse::{SHEETS, Settings, postgres, sqlite};

/// The warehouse of this kind.
pub(super) fn warehouse(fields: &mut Fields<'_>, kind: &str, dir: &Path, data: &Path) -> Option<Settings> {
    match kind {
        "sqlite" => Some(Settings::Sqlite(sqlite_file(fields, dir, data))),
        "postgres" => postgres_server(fields, dir).map(|settings| Settings::Postgres(Box::new(settings))),
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

/// Fields that are parameters of the connection, by libpq's names. Paths among them count from the workspace.
const POSTGRES_FIELDS: [&str; 14] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "channel_binding",
    "target_session_attrs",
    "connect_timeout",
    "application_name",
];
const POSTGRES_FILES: [&str; 4] = ["sslrootcert", "sslcert", "sslkey", "passfile"];

fn postgres_server(fields: &mut Fields<'_>, dir: &Path) -> Option<postgres::Settings> {
    let limits = limits(fields, &postgres::SHEET);
    let url = fields.text("url");
    let mut parameters = Vec::new();
    for name in POSTGRES_FIELDS {
        if let Some(value) = fields.text(name) {
            let is_file = POSTGRES_FILES.contains(&name) && value != "system" && !value.is_empty();
            let value = if is_file { dir.join(value).to_string_lossy().into_owned() } else { value };
            parameters.push((name, value));
        }
    }
    let schema = fields.text("schema");
    let timeouts = [fields.duration("lock_timeout"), fields.duration("statement_timeout")];
    let address = match postgres::Address::parse(url.as_deref(), parameters, &environment()) {
        Ok(address) => address,
        Err(problem) => {
            let line = fields.line_of("url");
            fields.problem(
                line,
                problem,
                "write `url: postgres://<user>:<password>@<host>/<database>`, or host, user, dbname",
            );
            return None;
        }
    };
    let mut settings = postgres::Settings { limits, ..postgres::Settings::new(address) };
    if let Some(schema) = schema {
        settings.schema = schema;
    }
    let [lock, statement] = timeouts;
    settings.lock_timeout = lock.unwrap_or(settings.lock_timeout);
    settings.statement_timeout = statement.unwrap_or(settings.statement_timeout);
    Some(settings)
}

/// What libpq would find in the environment.
#[expect(clippy::disallowed_methods, reason = "the configuration is the one reader of the environment")]
fn environment() -> postgres::Environment {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let defaults = postgres::VARIABLES
        .iter()
        .filter_map(|(variable, parameter)| Some(((*parameter).to_owned(), set(variable)?)))
        .collect();
    postgres::Environment { defaults, home: set("HOME").map(Into::into) }
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
