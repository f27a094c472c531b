//! Tables that were made anew take the place of those that are read: one transaction moves them from schema to schema.
//!
//! What the old tables were granted is granted of the new ones. Views of other people read the old tables on, wherever those are: they name
//! no names. So it is with their indexes.

use std::sync::Arc;

use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::profiles::MARK;
use tidegate_warehouse::swap::{TableSwap, is_swapped};
use tokio_postgres::types::{ToSql, Type as Sql};

use super::error::PostgresError;
use super::ledger::PostgresLedger;
use super::settings::PostgresSettings;
use super::sql::{qualified, quoted};
use super::wire::PostgresWire;

/// Relations of a schema: name, kind, and whether the router could have made it. The views stand first: whoever reads one takes its lock
/// before that of its table.
const RELATIONS: &str = "SELECT c.relname::text, c.relkind = 'v', CASE WHEN c.relkind = 'v' THEN \
    pg_catalog.starts_with(coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''), $2) ELSE c.relkind IN ('r', 'p') AND EXISTS \
    (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'received_at' AND NOT a.attisdropped) END \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname <> '_tidegate_ledger' \
    ORDER BY c.relkind = 'v' DESC, c.relname";

/// The statements that grant of each relation of the second schema what is granted of the one of the same name in the first. Where policies
/// say which rows somebody sees, nothing is granted: the new one has none.
const GRANTS: &str = "SELECT pg_catalog.format('GRANT %s ON TABLE %I.%I TO %s%s', a.privilege_type, $2, d.relname, CASE a.grantee \
    WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END, \
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1 \
    JOIN pg_catalog.pg_class d ON d.relname = c.relname AND d.relkind IN ('r', 'p', 'v') \
    JOIN pg_catalog.pg_namespace m ON m.oid = d.relnamespace AND m.nspname = $3 \
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
    WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relrowsecurity AND a.grantee <> c.relowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)";

type SwapParameter<'p> = (&'p (dyn ToSql + Sync), Sql);

/// A table, a view, or something else that has a name.
struct FoundRelation {
    name: String,
    is_view: bool,
    is_of_router: bool,
}

/// The two rows of a partition.
struct SwappedRows {
    of_sync: PostgresLedger,
    rebuilt: PostgresLedger,
    log_offset: u64,
}

impl PostgresSettings {
    /// Swaps tables, all of them or none. One that was done before is done.
    ///
    /// # Errors
    /// Nothing is changed: the new tables are not as they have to be, something else has the name of one, somebody holds one for longer than
    /// is waited, or the server cannot be asked.
    pub async fn swap(&self, swap: &TableSwap) -> Result<(), Failure> {
        let checked = |sync: &str, schema: Option<&String>| {
            let part = SyncPart { sync: sync.to_owned(), schema: schema.cloned(), ..SyncPart::default() };
            self.check(&part).map(Arc::new)
        };
        let sync = swap.ledgers.first().map(|row| row.sync.clone()).unwrap_or_default();
        let settings = checked(&sync, swap.schema.as_ref())?;
        checked(&sync, Some(&swap.before))?;
        let mut rows = Vec::with_capacity(swap.ledgers.len());
        for row in &swap.ledgers {
            rows.push(SwappedRows {
                of_sync: PostgresLedger::new(checked(&row.sync, swap.schema.as_ref())?),
                rebuilt: PostgresLedger::new(checked(&row.rebuilt, Some(&swap.rebuilt))?),
                log_offset: row.log_offset,
            });
        }
        let swapped = async {
            let mut wire = PostgresWire::open(&settings).await?;
            let swapped = swap_over(&mut wire, &mut rows, swap).await;
            // What was begun and not committed ends with the connection.
            wire.close().await;
            swapped
        };
        swapped.await.map_err(|error: PostgresError| error.failure(&settings.place))
    }
}

async fn swap_over(wire: &mut PostgresWire, rows: &mut [SwappedRows], swap: &TableSwap) -> Result<(), PostgresError> {
    if is_done(wire, rows, swap).await? {
        return Ok(());
    }
    for row in rows.iter_mut() {
        row.of_sync.settle(wire).await?;
    }
    wire.begin().await?;
    for row in rows.iter() {
        row.of_sync.fence(wire).await?;
        row.rebuilt.fence(wire).await?;
    }
    // Whoever was quicker has swapped them.
    if is_done(wire, rows, swap).await? {
        return Ok(());
    }
    let schema = wire.schema.clone();
    let there = relations(wire, &schema).await?;
    let rebuilt = relations(wire, &swap.rebuilt).await?;
    // Where it is there, a swap of which nobody has heard has made it: nothing is moved twice.
    let mut moves = format!("CREATE SCHEMA {}; ", quoted(&swap.before));
    for relation in &rebuilt {
        let old = there.iter().find(|old| old.name == relation.name);
        moves += &statements((relation, old), (schema.as_str(), swap))?;
    }
    let parameters: [SwapParameter<'_>; 3] =
        [(&schema, Sql::NAME), (&swap.rebuilt, Sql::TEXT), (&swap.rebuilt, Sql::NAME)];
    let mut grants = String::new();
    for row in wire.ask("asking for permissions", GRANTS, &parameters).await? {
        grants += &format!("{}; ", wire.get::<String>(&row, 0)?);
    }
    if !grants.is_empty() {
        wire.run("granting what the old tables were granted", &grants).await?;
    }
    wire.run("moving tables", &moves).await?;
    for row in rows.iter() {
        row.of_sync.write(wire, row.log_offset).await?;
        row.rebuilt.remove(wire).await?;
    }
    wire.commit().await
}

/// Whether the tables are swapped already.
async fn is_done(wire: &PostgresWire, rows: &mut [SwappedRows], swap: &TableSwap) -> Result<bool, PostgresError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(if row.rebuilt.exists(wire).await? { row.rebuilt.read(wire).await? } else { None });
    }
    is_swapped(swap, &found).map_err(|problem| PostgresError::Swap { problem })
}

/// What puts a relation in its place, and takes away what was there.
fn statements(
    (relation, old): (&FoundRelation, Option<&FoundRelation>),
    (schema, swap): (&str, &TableSwap),
) -> Result<String, PostgresError> {
    let FoundRelation { name, is_view, .. } = relation;
    let move_to = |is_view: bool, from: &str, to: &str| {
        let kind = if is_view { "VIEW" } else { "TABLE" };
        format!("ALTER {kind} {} SET SCHEMA {}; ", qualified(from, name), quoted(to))
    };
    let there = move_to(*is_view, &swap.rebuilt, schema);
    match old {
        None => Ok(there),
        Some(old) if old.is_of_router && old.is_view == *is_view => {
            Ok(move_to(old.is_view, schema, &swap.before) + &there)
        }
        // Somebody else has the name of a view: there would have been none.
        Some(_) if *is_view => Ok(format!("DROP VIEW {}; ", qualified(&swap.rebuilt, name))),
        Some(_) => Err(PostgresError::Taken { name: name.clone() }),
    }
}

async fn relations(wire: &PostgresWire, schema: &str) -> Result<Vec<FoundRelation>, PostgresError> {
    let parameters: [SwapParameter<'_>; 2] = [(&schema, Sql::NAME), (&MARK, Sql::TEXT)];
    let mut found = Vec::new();
    for row in wire.ask("reading the names of the tables", RELATIONS, &parameters).await? {
        let (name, is_view, is_of_router) = (wire.get(&row, 0)?, wire.get(&row, 1)?, wire.get(&row, 2)?);
        found.push(FoundRelation { name, is_view, is_of_router });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(is_view: bool, is_of_router: bool) -> FoundRelation {
        FoundRelation { name: "users".to_owned(), is_view, is_of_router }
    }

    #[test]
    fn what_is_somebody_elses_stays_where_it_is() {
        let swap = TableSwap { rebuilt: "new".to_owned(), before: "old".to_owned(), ..TableSwap::default() };
        let of = |relation: &FoundRelation, old: Option<&FoundRelation>| statements((relation, old), ("shop", &swap));
        let (table, view) = (relation(false, true), relation(true, true));
        let there = "ALTER TABLE \"new\".\"users\" SET SCHEMA \"shop\"; ";
        assert_eq!(of(&table, None).unwrap(), there);
        let both = of(&table, Some(&table)).unwrap();
        assert_eq!(both, format!("ALTER TABLE \"shop\".\"users\" SET SCHEMA \"old\"; {there}"));
        assert_eq!(of(&view, Some(&relation(true, false))).unwrap(), "DROP VIEW \"new\".\"users\"; ");
        assert!(matches!(of(&table, Some(&relation(false, false))), Err(PostgresError::Taken { .. })));
        assert!(matches!(of(&table, Some(&view)), Err(PostgresError::Taken { .. })));
    }
}
