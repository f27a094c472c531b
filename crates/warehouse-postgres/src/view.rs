//! The views of the latest traits.
//!
//! PostgreSQL keeps the type of a column that a view uses, so the router's own view is dropped before a column widens and
//! made anew behind it, with the grants that it had. Whoever reads the view takes its lock first and the table's after it,
//! and so does whoever changes the two.

use tidegate_warehouse::profiles::{self, MARK, Profile, ViewOutcome};
use tidegate_warehouse::table::Table;
use tokio_postgres::types::Type as Sql;

use super::error::PostgresError;
use super::sql::{qualified, quoted};
use super::wire::PostgresWire;

/// What has the name of a view.
#[derive(Debug, PartialEq, Eq)]
enum FoundView {
    Nothing,
    /// With its mark, and the statements that grant what was granted.
    Ours(String, String),
    Others,
}

/// What goes before a change of a table, because of the router's own view on it.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Before columns are added.
    pub(super) lock: String,
    /// Before columns are widened.
    pub(super) drop: String,
    /// Grants of the view that is gone then.
    grants: String,
}

async fn find(wire: &PostgresWire, name: &str) -> Result<FoundView, PostgresError> {
    let sql = "SELECT c.relkind = 'v' AND pg_catalog.pg_has_role(c.relowner, 'USAGE'), coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''), \
        coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, \
        c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END, \
        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), '; ') FROM pg_catalog.aclexplode(c.relacl) AS a \
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
        WHERE a.grantee <> c.relowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)), '') \
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = $2";
    let rows = wire.ask("looking for a view", sql, &[(&wire.schema, Sql::NAME), (&name, Sql::NAME)]).await?;
    let Some(row) = rows.first() else { return Ok(FoundView::Nothing) };
    let (is_view, mark, grants): (bool, String, String) = (wire.get(row, 0)?, wire.get(row, 1)?, wire.get(row, 2)?);
    Ok(if is_view && mark.starts_with(MARK) { FoundView::Ours(mark, grants) } else { FoundView::Others })
}

/// What takes the router's own view out of the way of changes of this table.
pub(super) async fn before(wire: &PostgresWire, table: &Table) -> Result<Before, PostgresError> {
    let Some(profile) = profiles::of(table.family).filter(|_| table.exists) else { return Ok(Before::default()) };
    let name = profile.beside(table);
    let FoundView::Ours(_, grants) = find(wire, &name).await? else { return Ok(Before::default()) };
    let view = qualified(&wire.schema, &name);
    Ok(Before {
        lock: format!("LOCK TABLE {view} IN ACCESS EXCLUSIVE MODE; "),
        drop: format!("DROP VIEW IF EXISTS {view}; "),
        grants,
    })
}

/// Makes the view of this table what it shall be, after a change that began with `before`.
pub(super) async fn keep(
    wire: &PostgresWire,
    profile: &Profile,
    table: &Table,
    before: &Before,
) -> Result<ViewOutcome, PostgresError> {
    let name = profile.beside(table);
    let query = query(&wire.schema, profile, table);
    let mark = profile.mark(table, &query);
    let view = qualified(&wire.schema, &name);
    let make = format!("CREATE OR REPLACE VIEW {view} AS {query}; COMMENT ON VIEW {view} IS '{mark}'");
    // New columns stand last, and the view keeps its grants; whatever else has changed, it is made anew.
    let ways = match find(wire, &name).await? {
        FoundView::Ours(found, _) if found == mark => return Ok(ViewOutcome::Kept),
        FoundView::Ours(_, grants) => vec![make.clone(), format!("DROP VIEW {view}; {make}; {grants}")],
        FoundView::Nothing => vec![format!("{make}; {}", before.grants)],
        FoundView::Others => return Ok(profile.taken(&name)),
    };
    let mut refused = ViewOutcome::Kept;
    for sql in ways {
        wire.run("setting a savepoint", "SAVEPOINT tidegate_view").await?;
        match wire.run("making a view", &sql).await {
            Ok(()) => {
                wire.run("releasing a savepoint", "RELEASE SAVEPOINT tidegate_view").await?;
                return Ok(ViewOutcome::Made);
            }
            // Nothing that the server says of a view is a reason to keep rows back.
            Err(error) if !error.code().is_empty() && !error.is_of_connection() => {
                wire.run("going back to a savepoint", "ROLLBACK TO SAVEPOINT tidegate_view").await?;
                refused = match error.is_of_race() {
                    true => ViewOutcome::Left(None),
                    false => profile.refused(&name, &error.to_string()),
                };
                if error.is_of_table() {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

fn query(schema: &str, profile: &Profile, table: &Table) -> String {
    let mut columns = vec![format!("i.{}", quoted(profile.key)), "max(i.\"timestamp\") AS \"timestamp\"".to_owned()];
    columns.extend(profile.traits(table).map(|column| {
        let name = quoted(&column.name);
        // One order for all, so that the server sorts once.
        format!(
            "(array_agg(i.{name} ORDER BY coalesce(i.\"timestamp\", i.\"received_at\") DESC, i.\"received_at\" DESC, \
             i.\"id\" DESC) FILTER (WHERE i.{name} IS NOT NULL))[1] AS {name}"
        )
    }));
    let (key, table) = (quoted(profile.key), qualified(schema, &table.name));
    format!("SELECT {} FROM {table} AS i WHERE i.{key} IS NOT NULL GROUP BY i.{key}", columns.join(", "))
}
