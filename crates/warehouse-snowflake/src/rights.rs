//! What the role may do, by `SHOW GRANTS`.

use std::collections::BTreeSet;

use tidegate_warehouse::rights::Right;

use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::session::SnowflakeSession;
use super::sql::exact;

/// Roles that are looked into, the role's own first and then those that were granted to it.
const ROLES_MAX: usize = 20;

/// One privilege on one thing, as `SHOW GRANTS` spells them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SnowflakeGrant {
    privilege: String,
    on: String,
    /// Without quotes.
    name: String,
}

/// What loading needs in this place; `None` where Snowflake does not tell.
pub(super) async fn of(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    warehouse: Option<&str>,
) -> Result<Option<Vec<Right>>, SnowflakeError> {
    let what = "asking for permissions";
    let role = match session.run(what, "SELECT CURRENT_ROLE()::VARCHAR").await {
        Ok(answer) => answer.texts(what)?.rows.first().and_then(|row| row.first().cloned().flatten()),
        Err(SnowflakeError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    let Some(role) = role else { return Ok(None) };
    let (mut roles, mut at, mut grants) = (vec![role.clone()], 0, BTreeSet::new());
    while let Some(of) = roles.get(at).cloned().filter(|_| at < ROLES_MAX) {
        at += 1;
        let answer = match session.run(what, &format!("SHOW GRANTS TO ROLE {}", exact(&of))).await {
            Ok(answer) => answer.texts(what)?,
            Err(SnowflakeError::Refused { .. }) if at > 1 => continue,
            Err(SnowflakeError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        for row in &answer.rows {
            let cell = |name: &str| answer.cell(row, name).unwrap_or_default().to_owned();
            let grant = SnowflakeGrant {
                privilege: cell("privilege"),
                on: cell("granted_on"),
                name: cell("name").replace('"', ""),
            };
            if grant.on == "ROLE" && !roles.contains(&grant.name) {
                roles.push(grant.name.clone());
            }
            grants.insert(grant);
        }
    }
    let is_admin = roles.iter().any(|role| role == "ACCOUNTADMIN");
    Ok((!grants.is_empty() || is_admin).then(|| judged(&grants, is_admin, place, (&role, warehouse))))
}

fn judged(
    grants: &BTreeSet<SnowflakeGrant>,
    is_admin: bool,
    place: &SnowflakePlace,
    who: (&str, Option<&str>),
) -> Vec<Right> {
    let (role, warehouse) = (exact(who.0), who.1.map(str::to_ascii_uppercase));
    let has = |privilege: &str, on: &str, name: &str| {
        let fits = |grant: &SnowflakeGrant| {
            grant.on == on && grant.name == name && [privilege, "OWNERSHIP", "ALL"].contains(&&*grant.privilege)
        };
        is_admin || grants.iter().any(fits)
    };
    let (database, schema) = (place.database.replace('"', ""), place.schema.replace('"', ""));
    let full = format!("{database}.{schema}");
    let mut rights = Vec::new();
    if let Some(warehouse) = warehouse {
        let fix = format!("GRANT USAGE ON WAREHOUSE {} TO ROLE {role}", exact(&warehouse));
        let can = has("USAGE", "WAREHOUSE", &warehouse);
        rights.push(Right::new(format!("use the warehouse {warehouse}"), can, true, fix));
    }
    let of_database = |what: &str, privilege: &str, is_needed: bool| {
        let fix = format!("GRANT {privilege} ON DATABASE {} TO ROLE {role}", exact(&place.database));
        Right::new(what, has(privilege, "DATABASE", &database), is_needed, fix)
    };
    rights.push(of_database(&format!("use the database {database}"), "USAGE", true));
    let may_create = of_database("create schemas", "CREATE SCHEMA", false);
    // A schema that the role may make is its own.
    let of_schema = |what: &str, privilege: &str, is_needed: bool| {
        let fix = format!("GRANT USAGE, {privilege} ON SCHEMA {} TO ROLE {role}", place.schema_sql());
        let is_known = grants.iter().any(|grant| grant.on == "SCHEMA" && grant.name == full);
        let can = has(privilege, "SCHEMA", &full) || (!is_known && has("CREATE SCHEMA", "DATABASE", &database));
        Right::new(what, can, is_needed, fix)
    };
    rights.push(of_schema("create tables", "CREATE TABLE", true));
    let beside = place.beside();
    let apart = format!("{database}.{}", beside.schema.replace('"', ""));
    let is_there = grants.iter().any(|grant| grant.on == "SCHEMA" && grant.name == apart);
    let can_be_apart = match is_there {
        true => ["CREATE TABLE", "CREATE STAGE"].iter().all(|privilege| has(privilege, "SCHEMA", &apart)),
        false => has("CREATE SCHEMA", "DATABASE", &database),
    };
    // Where they cannot be apart they are among the tables.
    let fix = format!("GRANT USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA {} TO ROLE {role}", beside.schema_sql());
    let what = format!("keep the ledger and files apart from the tables, in the schema {}", beside.schema);
    rights.push(Right::new(what, can_be_apart, false, fix));
    rights.push(of_schema("create the stage for files among the tables", "CREATE STAGE", !can_be_apart));
    rights.push(of_schema("make the views users and accounts", "CREATE VIEW", false));
    rights.push(may_create);
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_warehouse::rights::Can;

    fn missing(grants: &[(&str, &str, &str)]) -> Vec<String> {
        let grant = |(privilege, on, name): &(&str, &str, &str)| SnowflakeGrant {
            privilege: (*privilege).to_owned(),
            on: (*on).to_owned(),
            name: (*name).to_owned(),
        };
        let grants = grants.iter().map(grant).collect();
        let rights =
            judged(&grants, false, &SnowflakePlace::new("analytics", "events", "s"), ("TIDEGATE", Some("loading")));
        rights.into_iter().filter(|right| right.can == Can::No).map(|right| right.fix).collect()
    }

    #[test]
    fn what_a_role_lacks_is_told_with_the_statement_that_grants_it() {
        let mut grants = vec![
            ("USAGE", "WAREHOUSE", "LOADING"),
            ("USAGE", "DATABASE", "ANALYTICS"),
            ("CREATE SCHEMA", "DATABASE", "ANALYTICS"),
        ];
        assert_eq!(missing(&grants), [""; 0], "a schema that it makes is its own");
        grants.truncate(2);
        grants.extend([("USAGE", "SCHEMA", "ANALYTICS.EVENTS"), ("CREATE TABLE", "SCHEMA", "ANALYTICS.EVENTS")]);
        let on = "ON SCHEMA \"ANALYTICS\".\"EVENTS\" TO ROLE \"TIDEGATE\"";
        let apart = "ON SCHEMA \"ANALYTICS\".\"EVENTS_TIDEGATE\" TO ROLE \"TIDEGATE\"";
        let wanted = [
            format!("GRANT USAGE, CREATE TABLE, CREATE STAGE {apart}"),
            format!("GRANT USAGE, CREATE STAGE {on}"),
            format!("GRANT USAGE, CREATE VIEW {on}"),
            "GRANT CREATE SCHEMA ON DATABASE \"ANALYTICS\" TO ROLE \"TIDEGATE\"".to_owned(),
        ];
        assert_eq!(missing(&grants), wanted);
        assert_eq!(missing(&[])[0], "GRANT USAGE ON WAREHOUSE \"LOADING\" TO ROLE \"TIDEGATE\"");
    }
}
