//! `destinations/<name>.yaml` of warehouses.

mod clickhouse;
mod lake;
mod postgres;
mod snowflake;

use tidegate_document::fields::Fields;
use tidegate_document::nearest::nearest;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_sqlite as sqlite;

use super::around::Around;
use super::streams_out::STREAM_OUT_KINDS;
use crate::warehouses::ALL_CAPABILITIES;
use crate::warehouses::WarehouseSettings;

/// Destinations that are shipped as plugins, for those who take one for a kind.
const SHIPPED: [&str; 15] = [
    "amplitude",
    "braze",
    "customerio",
    "elasticsearch",
    "event-forwarder",
    "ga4",
    "hubspot",
    "iterable",
    "klaviyo",
    "meta-capi",
    "mixpanel",
    "posthog",
    "segment",
    "slack",
    "webhook",
];

/// The warehouse of this kind.
pub(super) fn warehouse(fields: &mut Fields<'_>, kind: &str, around: &Around<'_>) -> Option<WarehouseSettings> {
    match kind {
        "sqlite" => sqlite_file(fields, around).map(WarehouseSettings::Sqlite),
        "postgres" => postgres::server(fields, around).map(|settings| WarehouseSettings::Postgres(Box::new(settings))),
        "clickhouse" => clickhouse::server(fields, around).map(WarehouseSettings::ClickHouse),
        "snowflake" => snowflake::account(fields, around).map(WarehouseSettings::Snowflake),
        "lake" => lake::folder(fields, around).map(|settings| WarehouseSettings::Lake(Box::new(settings))),
        _ => {
            let message = format!("a destination of kind {kind:?} is not known");
            let mut kinds: Vec<&str> = ALL_CAPABILITIES
                .iter()
                .map(|capabilities| capabilities.kind)
                .chain(STREAM_OUT_KINDS)
                .chain(["plugin"])
                .collect();
            kinds.dedup();
            let fix = match (nearest(kind, &kinds), SHIPPED.iter().find(|name| name.eq_ignore_ascii_case(kind))) {
                (Some(kind), _) => format!("did you mean `kind: {kind}`?"),
                (None, Some(plugin)) => format!(
                    "{plugin} is a plugin, `kind: plugin`: `tidegate destination add {plugin}` brings it and writes the file"
                ),
                (None, None) => format!("write `kind:` and one of {}", kinds.join(", ")),
            };
            fields.problem("kind", message, fix);
            fields.leave_rest();
            None
        }
    }
}

fn sqlite_file(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<sqlite::SqliteSettings> {
    let limits = limits(fields, &sqlite::CAPABILITIES);
    let path = match fields.text("path") {
        Some(path) => around.inputs.storage(fields, ("path", &path), around.data)?,
        // What it is to be is not at hand.
        None if fields.has("path") => return None,
        None => around.data.join("warehouse.db"),
    };
    Some(sqlite::SqliteSettings { limits, ..sqlite::SqliteSettings::new(path) })
}

/// `columns_max`, `tables_max` and `profiles`, which every warehouse has.
fn limits(fields: &mut Fields<'_>, capabilities: &Capabilities) -> Limits {
    let most = capabilities.columns_max;
    let limits = Limits {
        columns_max: fields.number("columns_max", 50).unwrap_or(1_000),
        tables_max: fields.number_up_to("tables_max", 1, 10_000).unwrap_or(1_000),
        profiles: fields.flag("profiles").unwrap_or(true),
        ..Limits::default()
    };
    if limits.columns_max > most {
        let message =
            format!("`columns_max` is above {most}, which is the most that {} tables can have", capabilities.title);
        fields.problem("columns_max", message, format!("write {most} or less"));
    }
    limits
}
