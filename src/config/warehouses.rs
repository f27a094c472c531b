//! `destinations/<name>.yaml` of warehouses.

use std::path::Path;

use super::fields::Fields;
use crate::warehouse::table::Limits;
use crate::warehouse::{SHEETS, Settings, snowflake, sqlite};

/// The warehouse of this kind.
pub(super) fn warehouse(fields: &mut Fields<'_>, kind: &str, dir: &Path, data: &Path) -> Option<Settings> {
    match kind {
        "sqlite" => Some(Settings::Sqlite(sqlite_file(fields, dir, data))),
        "snowflake" => snowflake_account(fields, dir).map(Settings::Snowflake),
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

fn snowflake_account(fields: &mut Fields<'_>, dir: &Path) -> Option<snowflake::Settings> {
    let limits = limits(fields, &snowflake::SHEET);
    let account = fields.required("account", "myorg-account");
    let user = fields.required("user", "TIDEGATE");
    let database = fields.required("database", "ANALYTICS");
    let (role, warehouse) = (fields.text("role"), fields.required("warehouse", "LOADING"));
    let (schema, endpoint) = (fields.text("schema"), fields.text("endpoint"));
    let load = match fields.text("load").as_deref() {
        None | Some("staged") => snowflake::Load::Staged,
        Some("streaming") => snowflake::Load::Streaming,
        Some(other) => {
            let message = format!("load is {other:?}, not a way of loading Snowflake");
            fields.problem(fields.line_of("load"), message, "write `load: staged` or `load: streaming`");
            snowflake::Load::Staged
        }
    };
    let statement_time_max = fields.duration("statement_time_max");
    let line = fields.line_of("auth");
    let Some(auth) = fields.within("auth", |auth| snowflake_auth(auth, dir)) else {
        fields.problem(line, "auth is missing", "add `auth:` and below it `private_key_file: rsa_key.p8`");
        return None;
    };
    let mut settings = snowflake::Settings::new(&account?, &user?, &database?, auth?);
    (settings.role, settings.warehouse, settings.endpoint) = (role, warehouse, endpoint);
    (settings.load, settings.limits) = (load, limits);
    settings.schema = schema.unwrap_or(settings.schema);
    settings.statement_time_max = statement_time_max.unwrap_or(settings.statement_time_max);
    Some(settings)
}

/// Exactly one of the ways to prove who one is.
fn snowflake_auth(fields: &mut Fields<'_>, dir: &Path) -> Option<snowflake::Auth> {
    use snowflake::{Auth, Secret};
    let file = fields.text("private_key_file").map(|path| Auth::KeyFile(dir.join(path)));
    let key = fields.text("private_key").map(|key| Auth::Key(Secret::new(key)));
    let oauth = fields.text("oauth_token").map(|token| Auth::OAuth(Secret::new(token)));
    let token = fields.text("token").map(|token| Auth::Token(Secret::new(token)));
    let password = fields.text("password").map(|password| Auth::Password(Secret::new(password)));
    let mut ways: Vec<Auth> = [file, key, oauth, token, password].into_iter().flatten().collect();
    if ways.len() == 1 {
        return ways.pop();
    }
    let message = format!("auth names {} ways to log in, not one", ways.len());
    let fix = "write one of private_key_file, private_key, oauth_token, token, password";
    fields.problem(fields.line_of("auth"), message, fix);
    None
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
