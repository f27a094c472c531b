//! What the role may do, asked of the catalog.

use tidegate_warehouse::ledger;
use tidegate_warehouse::rights::Right;
use tokio_postgres::types::{ToSql, Type as Sql};

use super::error::PostgresError;
use super::sql::{qualified, quoted};
use super::wire::PostgresWire;

/// Tables named in one line.
const NAMED_MAX: usize = 5;

/// Of the database and of the two schemas: what exists and what is allowed.
const SCHEMAS: &str = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
    pg_catalog.current_setting('transaction_read_only') = 'on', n.nspname::text, \
    pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_schema_privilege(n.oid, 'CREATE') \
    FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname IN ($1, $2)";

/// Of the tables that may be the router's: name, schema, whether rows can be read and written, whether columns can be added.
const TABLES: &str = "SELECT c.relname::text, n.nspname::text, pg_catalog.has_table_privilege(c.oid, 'SELECT') \
    AND pg_catalog.has_table_privilege(c.oid, 'INSERT') \
    AND (c.relname <> '_tidegate_ledger' OR pg_catalog.has_table_privilege(c.oid, 'UPDATE')), \
    pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND (n.nspname = $1 AND EXISTS \
    (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'received_at' AND NOT a.attisdropped) \
    OR n.nspname IN ($1, $2) AND c.relname = '_tidegate_ledger') ORDER BY 1";

/// What loading needs in this place.
pub(super) async fn of(wire: &PostgresWire, user: &str, dbname: &str) -> Result<Vec<Right>, PostgresError> {
    let (schema, beside) = (&wire.schema, ledger::beside(&wire.schema, false));
    let (role, database) = (quoted(user), quoted(dbname));
    let parameters: [(&(dyn ToSql + Sync), Sql); 2] = [(schema, Sql::NAME), (&beside, Sql::NAME)];
    let (mut may_create, mut only_reads, mut schemas) = (false, false, Vec::new());
    for row in wire.ask("asking for permissions", SCHEMAS, &parameters).await? {
        (may_create, only_reads) = (wire.get(&row, 0)?, wire.get(&row, 1)?);
        if let Some(name) = wire.get::<Option<String>>(&row, 2)? {
            schemas.push((name, wire.get::<bool>(&row, 3)?, wire.get::<bool>(&row, 4)?));
        }
    }
    let found = |name: &str| schemas.iter().find(|(of, ..)| of == name);
    let read_write = format!("name the primary, or run: ALTER ROLE {role} SET default_transaction_read_only = off");
    let mut rights = vec![Right::new("write to this server", !only_reads, true, read_write)];
    match found(schema) {
        None => rights.push(Right::new(
            format!("create the schema {schema}"),
            may_create,
            true,
            format!("CREATE SCHEMA {} AUTHORIZATION {role}", quoted(schema)),
        )),
        Some((_, usage, create)) => {
            let grant = format!("GRANT USAGE, CREATE ON SCHEMA {} TO {role}", quoted(schema));
            rights.push(Right::new(format!("use the schema {schema}"), *usage, true, grant.clone()));
            rights.push(Right::new(format!("create tables and views in the schema {schema}"), *create, true, grant));
        }
    }
    let has_beside = found(&beside);
    let (mut unwritable, mut others, mut has_ledger) = (Vec::new(), Vec::new(), false);
    for row in wire.ask("asking for permissions", TABLES, &parameters).await? {
        let (name, of, writable, own): (String, String, bool, bool) =
            (wire.get(&row, 0)?, wire.get(&row, 1)?, wire.get(&row, 2)?, wire.get(&row, 3)?);
        let is_ledger = name == "_tidegate_ledger";
        has_ledger |= is_ledger && of == beside;
        if !writable {
            unwritable.push((is_ledger, qualified(&of, &name)));
        } else if !own && !is_ledger {
            others.push(qualified(&of, &name));
        }
    }
    // Made anew where it is not; among the tables where that is not allowed.
    let beside_is_mine = has_beside.is_some_and(|(_, usage, create)| *usage && (has_ledger || *create));
    let grant = match has_beside {
        None => format!("CREATE SCHEMA {} AUTHORIZATION {role}", quoted(&beside)),
        Some(_) => format!("GRANT USAGE, CREATE ON SCHEMA {} TO {role}", quoted(&beside)),
    };
    let can = beside_is_mine || (has_beside.is_none() && may_create);
    rights.push(Right::new(format!("keep its ledger out of sight, in the schema {beside}"), can, has_ledger, grant));
    let named = |names: &[String]| -> String {
        let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
        format!("{}{more}", names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", "))
    };
    let grants: Vec<String> = unwritable
        .iter()
        .map(|(is_ledger, name)| {
            let update = if *is_ledger { ", UPDATE" } else { "" };
            format!("GRANT SELECT, INSERT{update} ON {name} TO {role}")
        })
        .collect();
    let names: Vec<String> = unwritable.into_iter().map(|(_, name)| name).collect();
    let what = match names.is_empty() {
        true => "read and insert rows in its tables".to_owned(),
        false => format!("read and insert rows in its tables ({})", named(&names)),
    };
    rights.push(Right::new(what, names.is_empty(), true, grants.join("; ")));
    let alters: Vec<String> = others.iter().map(|name| format!("ALTER TABLE {name} OWNER TO {role}")).collect();
    let what = match others.is_empty() {
        true => "add and widen columns of its tables".to_owned(),
        false => format!("add and widen columns of its tables ({}; values go to _overflow)", named(&others)),
    };
    rights.push(Right::new(what, others.is_empty(), false, alters.join("; ")));
    if let Some(connect) = rights.iter_mut().find(|right| right.what.starts_with("create the schema")) {
        connect.fix += &format!(", or GRANT CREATE ON DATABASE {database} TO {role}");
    }
    Ok(rights)
}
