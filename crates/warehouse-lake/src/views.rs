//! `_tidegate/duckdb.sql`: the lake as views of DuckDB.
//!
//! The file names tables, not files: whoever reads it takes the root once and finds each table's files through it, so
//! that all views are of one commit, and the file changes only when there is a new table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tidegate_warehouse::profiles::{PROFILES, Profile};
use tidegate_warehouse::table::OVERFLOW;

/// Where it is.
pub(super) const DUCKDB: &str = "_tidegate/duckdb.sql";

/// The statements for these tables, by schema and name; those of the schema `default` need no prefix.
pub(super) fn duckdb(lake: &str, default: &str, tables: &BTreeSet<(String, String)>, profiles: bool) -> String {
    let lake = lake.replace('\'', "''");
    let mut sql = format!(
        "-- The lake as views, all of one commit: read this file again to see what has come since.\n\
         -- duckdb -init {lake}/_tidegate/duckdb.sql\n\
         SET VARIABLE tidegate_lake = '{lake}';\n\
         SET VARIABLE tidegate_root = (SELECT content FROM read_text(getvariable('tidegate_lake') || '/_tidegate/latest.json'));\n\
         SET VARIABLE tidegate_manifests = (SELECT map_from_entries(list((t.schema || '.' || t.name, getvariable('tidegate_lake') || '/' || t.manifest))) \
         FROM (SELECT unnest(from_json(json_extract(getvariable('tidegate_root'), '$.tables'), '[{{\"schema\":\"VARCHAR\",\"name\":\"VARCHAR\",\"manifest\":\"VARCHAR\"}}]')) AS t));\n"
    );
    for schema in tables.iter().map(|(schema, _)| schema).filter(|schema| *schema != default).collect::<BTreeSet<_>>() {
        let _ = writeln!(sql, "CREATE SCHEMA IF NOT EXISTS \"{schema}\";");
    }
    for (schema, name) in tables {
        let key = format!("{schema}.{name}");
        let view = if schema == default { format!("\"{name}\"") } else { format!("\"{schema}\".\"{name}\"") };
        let _ = write!(
            sql,
            "SET VARIABLE \"tidegate {key}\" = (SELECT list(getvariable('tidegate_lake') || '/' || f.path) \
             FROM (SELECT unnest(from_json(json_extract(content, '$.files'), '[{{\"path\":\"VARCHAR\"}}]')) AS f \
             FROM read_text(getvariable('tidegate_manifests')['{key}'])));\n\
             CREATE OR REPLACE VIEW {view} AS SELECT * FROM read_parquet(getvariable('tidegate {key}'), union_by_name = true, hive_partitioning = false);\n"
        );
        let profile = PROFILES.iter().find(|profile| profile.family.table() == Some(name.as_str()));
        if let Some(Profile { view: profile, key, family }) = profile.filter(|_| profiles)
            && !tables.contains(&(schema.clone(), (*profile).to_owned()))
        {
            let profile =
                if schema == default { format!("\"{profile}\"") } else { format!("\"{schema}\".\"{profile}\"") };
            let own: Vec<String> = family
                .base()
                .map(|(column, _)| column)
                .chain([OVERFLOW])
                .filter(|column| column != key)
                .map(|column| format!("'{column}'"))
                .collect();
            // `arg_max` passes over values that are null; `\0` is the name of each column. The key is among them, for a list
            // without a column is an error, and one error ends the reading of the file.
            let _ = writeln!(
                sql,
                "CREATE OR REPLACE VIEW {profile} AS SELECT \"{key}\", * EXCLUDE (\"{key}\") FROM (SELECT max(\"timestamp\") AS \"timestamp\", \
                 arg_max(COLUMNS([c FOR c IN (*) IF NOT (starts_with(c, 'context_') OR starts_with(c, 'message_') OR c IN ({}))]), \
                 ROW(coalesce(\"timestamp\", received_at), received_at, id)) AS \"\\0\" \
                 FROM {view} WHERE \"{key}\" IS NOT NULL GROUP BY \"{key}\");",
                own.join(", ")
            );
        }
    }
    sql
}
