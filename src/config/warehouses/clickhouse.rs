//! `kind: clickhouse`.

use tidegate_document::fields::Fields;
use tidegate_warehouse_clickhouse as clickhouse;

use super::limits;
use crate::config::around::Around;

pub(super) fn server(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<clickhouse::ClickHouseSettings> {
    let limits = limits(fields, &clickhouse::CAPABILITIES);
    let url = fields.required("url", "https://clickhouse.example.com:8443");
    let user = fields.text("user");
    let password = fields.text("password");
    let database = fields.text("database");
    let web = around.outgoing.of_destination(fields, around.inputs);
    let compress = fields.word("compression", &[("none", false), ("gzip", true)]).unwrap_or(false);
    let look_ups = [("always", clickhouse::LookUp::Always), ("after_failures", clickhouse::LookUp::AfterFailures)];
    let look_up = fields.word("look_up", &look_ups).unwrap_or(clickhouse::LookUp::Always);
    let timeout = fields.duration("timeout");
    let url = url?;
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
        fields.problem("url", problem, "write `url: https://host:8443`, and user, password and database beside it");
        return None;
    }
    Some(settings)
}
