//! What the user may do, asked with `CHECK GRANT`.

use tidegate_warehouse::ledger;
use tidegate_warehouse::rights::Right;

use super::error::ClickHouseError;
use super::sql::{LEDGER, full, quoted};
use super::wire::ClickHouseWire;

/// What loading needs in this database.
pub(super) async fn of(wire: &ClickHouseWire, user: &str, database: &str) -> Result<Vec<Right>, ClickHouseError> {
    let (within, beside) = (quoted(database), quoted(&ledger::beside(database, false)));
    let user = quoted(user);
    let asked = [
        ("read rows", "SELECT", format!("{within}.*"), true),
        ("insert rows", "INSERT", format!("{within}.*"), true),
        ("create tables", "CREATE TABLE", format!("{within}.*"), true),
        ("add and widen columns", "ALTER", format!("{within}.*"), false),
        ("create the database", "CREATE DATABASE", format!("{within}.*"), false),
        ("make the views users and accounts", "CREATE VIEW, DROP VIEW", format!("{within}.*"), false),
        (
            "keep its ledger out of sight",
            "SELECT, INSERT, TRUNCATE, CREATE TABLE, CREATE DATABASE",
            format!("{beside}.*"),
            false,
        ),
        ("move a ledger that is among the tables", "DROP TABLE", full(database, LEDGER), false),
    ];
    let mut rights = Vec::new();
    for (what, privileges, on, is_needed) in asked {
        let fix = format!("GRANT {privileges} ON {on} TO {user}");
        let answer = wire.ask("asking for permissions", &format!("CHECK GRANT {privileges} ON {on}"), 64).await;
        rights.push(match answer.as_deref().map(<[u8]>::trim_ascii) {
            Ok(b"1") => Right::new(what, true, is_needed, fix),
            Ok(b"0") => Right::new(what, false, is_needed, fix),
            // Servers before 24.8 do not tell.
            Ok(_) | Err(ClickHouseError::Server { .. }) => Right::unknown(what, format!("see SHOW GRANTS; {fix}")),
            Err(_) => answer.map(|_| Right::unknown(what, fix))?,
        });
    }
    Ok(rights)
}
