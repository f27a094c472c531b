//! What there is in the database: names, columns, keys, and fingerprints by which an alteration shows.

use std::collections::HashMap;

use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
use tidegate_warehouse::table::Column;
use tokio_postgres::types::Type as Sql;

use super::encode;
use super::error::PostgresError;
use super::wire::PostgresWire;

/// What a table looks like, by name.
pub(super) type Fingerprints = HashMap<String, String>;

/// Changes with every change of a column, of the key, or of the table itself: who alters a column writes its row of
/// the catalog anew, in a transaction of a higher number.
const FINGERPRINTS: &str = "SELECT c.relname::text, pg_catalog.concat_ws(':', c.oid, pg_catalog.count(*), \
    pg_catalog.sum(a.xmin::text::bigint), (SELECT pg_catalog.string_agg(i.indexrelid::text || i.indisvalid::text, ',') \
    FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND ($2::text[] IS NULL OR c.relname = ANY ($2)) GROUP BY c.oid, c.relname";

/// Everything that a table cannot be called like: relations of all kinds, and types that are not those of relations.
const OBJECTS: &str = "SELECT c.relname::text, c.relkind IN ('r', 'p'), \
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index i \
    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, place) \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num \
    WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid ORDER BY k.place) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 \
    UNION ALL SELECT t.typname::text, false, '{}' \
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    WHERE n.nspname = $1 AND t.typrelid = 0 AND t.typcategory <> 'A'";

/// Columns of the tables that may be the router's. A domain counts as the type that it is made of.
const COLUMNS: &str = "SELECT c.relname::text, a.attname::text, coalesce(b.typname, t.typname)::text, \
    CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END >= 0, a.attgenerated <> '' OR a.attidentity = 'a' \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type b ON b.oid = NULLIF(t.typbasetype, 0) \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_catalog.pg_attribute r \
    WHERE r.attrelid = c.oid AND r.attname = 'received_at' AND NOT r.attisdropped) ORDER BY c.relname, a.attnum";

/// How these tables look, or all.
pub(super) async fn fingerprints(
    wire: &PostgresWire,
    tables: Option<&[String]>,
) -> Result<Fingerprints, PostgresError> {
    let schema = &wire.schema;
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Sql); 2] =
        [(schema, Sql::NAME), (&tables, Sql::TEXT_ARRAY)];
    let rows = wire.ask("looking at the tables", FINGERPRINTS, &parameters).await?;
    rows.iter().map(|row| Ok((wire.get(row, 0)?, wire.get(row, 1)?))).collect()
}

/// All that is in the schema.
pub(super) async fn find(wire: &PostgresWire) -> Result<FoundSchema, PostgresError> {
    let mut found = FoundSchema::default();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Sql); 1] = [(&wire.schema, Sql::NAME)];
    let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    found.has_schema = !wire.ask("looking for the schema", sql, &parameters).await?.is_empty();
    for row in wire.ask("reading the names of the tables", OBJECTS, &parameters).await? {
        let (name, is_table, key): (String, bool, Vec<String>) =
            (wire.get(&row, 0)?, wire.get(&row, 1)?, wire.get(&row, 2)?);
        found.tables.insert(name, FoundTable { is_table, key, columns: Vec::new() });
    }
    for row in wire.ask("reading the columns of the tables", COLUMNS, &parameters).await? {
        let (table, name, kind): (String, String, String) =
            (wire.get(&row, 0)?, wire.get(&row, 1)?, wire.get(&row, 2)?);
        let (modified, computed): (bool, bool) = (wire.get(&row, 3)?, wire.get(&row, 4)?);
        let (kind, alters) = encode::meaning(&kind, modified);
        if let Some(table) = found.tables.get_mut(&table) {
            let column = Column::found(&name, kind, false, !computed);
            table.columns.push(Column { alters, ..column });
        }
    }
    Ok(found)
}
