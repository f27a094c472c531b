//! `kind: clickhouse`.

use tidegate_warehouse_clickhouse as clickhouse;

use super::limits;
use crate::config::around::Around;
use crate::config::fields::ConfigFields;

pub(super) fn server(fields: &mut ConfigFields<'_>, around: &Around<'_>) -> Option<clickhouse::ClickHouseSettings> {
    let limits = limits(fields, &clickhouse::CAPABILITIES);
    let url = fields.required("url", "https://clickhouse.example.com:8443");
    let user = fields.text("user");
    let password = fields.text("password");
    let database = fields.text("database");
    let web = around.outgoing.of_destination(fields, around.dir);
    let compress = one_of(fields, "compression", [("none", false), ("gzip", true)]);
    let look_up = one_of(
        fields,
        "look_up",
        [("always", clickhouse::LookUp::Always), ("after_failures", clickhouse::LookUp::AfterFailures)],
    );
    let timeout = fields.duration("timeout");
    let url = url?;
    let line = fields.line_of("url");
    let new = clickhouse::ClickHouseSettings::new(url);
    let settings = clickhouse::ClickHouseSettings {
        user: user.unwrap_or_else(|| new.user.clone()),
        password: password.unwrap_or_default(),
        database: database.unwrap_or_else(|| new.database.clone()),
        web,
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
fn one_of<T: Copy>(fields: &mut ConfigFields<'_>, name: &'static str, words: [(&str, T); 2]) -> T {
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
