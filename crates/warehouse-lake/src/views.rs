//! `_tidegate/duckdb.sql`: the lake as views of DuckDB.
//!
//! The file names tables, not files: whoever reads it takes the root once and finds each table's files through it, so
//! that all views are of one commit, and the file changes only when there is a new table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where it is.
pub(super) const DUCKDB: &str = "_tidegate/duckdb.sql";

/// The statements for these tables, by schema and name; those of the schema `default` need no prefix.
pub(super) fn duckdb(lake: &str, default: &str, tables: &BTreeSet<(String, String)>) -> String {
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
    }
    sql
}
