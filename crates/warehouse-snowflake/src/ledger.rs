//! The ledger's table: found, made or moved, and read.
//!
//! It is in a schema beside that of the tables, `SHOP_TIDEGATE` for `SHOP`, with the stage and the tables that files are loaded
//! into, so that who looks at the tables does not see them. Earlier builds made it among the tables; it is moved from there by one
//! `RENAME`, whole, by whoever may, and all stays where it is otherwise. Whoever wrote to the old place meanwhile finds nothing
//! there and looks anew. An earlier build that comes back makes another one in the old place; then both are read, and
//! the later offset counts.
//!
//! A channel of Snowpipe Streaming belongs to the table's old name and is opened anew under the new one. It has committed nothing
//! then, and the ledger's rows say where to go on.

use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::session::SnowflakeSession;
use super::sql::{LEDGER, exact, literal};

/// Where the router's own things are.
pub(super) struct LedgerHome {
    pub(super) place: SnowflakePlace,
    /// Why they are not where they should be.
    pub(super) left: Option<String>,
}

/// Where there is a ledger.
#[derive(Debug, Default)]
struct SnowflakePlaces {
    /// The schema of the tables exists.
    schema: bool,
    /// And has a ledger.
    within: bool,
    /// The schema beside it has one.
    beside: bool,
}

/// How far the sync has come, and where the ledger is that says so; makes nothing. Where the tables have gone with their
/// schema, the ledger tells of nothing.
pub(super) async fn durable_to(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    sync: &str,
) -> Result<Option<(u64, SnowflakePlace)>, SnowflakeError> {
    let (beside, within) = (read(session, &place.beside(), sync).await?, read(session, place, sync).await?);
    if beside.is_some() && within.is_none() && !locate(session, place).await?.schema {
        return Ok(None);
    }
    let place = if beside >= within { place.beside() } else { place.clone() };
    Ok(beside.max(within).map(|durable_to| (durable_to, place)))
}

/// What the ledger in this place says; `None` where there is none.
pub(super) async fn read(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    sync: &str,
) -> Result<Option<u64>, SnowflakeError> {
    let sql = format!("SELECT MAX(\"LOG_OFFSET\")::VARCHAR FROM {} WHERE \"SYNC\" = {}", place.ledger(), literal(sync));
    let what = "reading the ledger";
    let answer = match session.run(what, &sql).await {
        // No database, no schema, no ledger: the sync was never here. If the database is missing, the first batch says so.
        Err(SnowflakeError::Refused { code: 2_003 | 2_043, .. }) => return Ok(None),
        other => other?.texts(what)?,
    };
    match answer.rows.first().and_then(|row| row.first()).and_then(Option::as_deref) {
        None | Some("-1") => Ok(None),
        Some(offset) => offset.parse().map(Some).map_err(|_| SnowflakeError::Ledger),
    }
}

async fn locate(session: &mut SnowflakeSession, place: &SnowflakePlace) -> Result<SnowflakePlaces, SnowflakeError> {
    let (what, views) = ("looking for the ledger", format!("{}.INFORMATION_SCHEMA", exact(&place.database)));
    let (within, beside) = (&place.schema, place.beside().schema);
    let sql = format!(
        "SELECT S.SCHEMA_NAME::VARCHAR, T.TABLE_NAME::VARCHAR FROM {views}.SCHEMATA AS S LEFT JOIN {views}.TABLES AS T \
         ON T.TABLE_SCHEMA = S.SCHEMA_NAME AND T.TABLE_NAME = {} WHERE S.SCHEMA_NAME IN ({}, {})",
        literal(&LEDGER.to_ascii_uppercase()),
        literal(within),
        literal(&beside)
    );
    let answer = match session.run(what, &sql).await {
        Err(SnowflakeError::Refused { code: 2_003 | 2_043, .. }) => return Ok(SnowflakePlaces::default()),
        other => other?.texts(what)?,
    };
    let mut places = SnowflakePlaces::default();
    for row in &answer.rows {
        let (schema, has) = (row.first().and_then(Option::as_deref), row.get(1).is_some_and(Option::is_some));
        if schema == Some(within) {
            (places.schema, places.within) = (true, has);
        } else {
            places.beside = has;
        }
    }
    Ok(places)
}

/// Makes what every sync of the schema needs, and this sync's row of the ledger; moves the ledger beside the tables where that
/// can be done.
pub(super) async fn prepare(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    sync: &str,
) -> Result<LedgerHome, SnowflakeError> {
    let what = "preparing the schema";
    let mut places = locate(session, place).await?;
    session.run(what, &format!("CREATE SCHEMA IF NOT EXISTS {}", place.schema_sql())).await?;
    let beside = place.beside();
    if places.beside && !places.schema {
        // The tables are gone, and what the ledger says of them with them.
        session.run("emptying the ledger of tables that are gone", &format!("DELETE FROM {}", beside.ledger())).await?;
    }
    let mut home = LedgerHome { place: beside.clone(), left: None };
    if !places.beside
        && let Err(error) = found(session, place, &beside, places.within).await
    {
        if !error.is_of_a_view() {
            return Err(error);
        }
        // Somebody else may have been faster.
        places = locate(session, place).await?;
        if !places.beside {
            home = LedgerHome { place: place.clone(), left: Some(stays(place, &beside, &error)) };
        }
    }
    let (ledger, name) = (home.place.ledger(), literal(sync));
    for sql in [
        create(&home.place),
        stage(&home.place),
        format!(
            "INSERT INTO {ledger} (\"SYNC\", \"LOG_OFFSET\", \"UPDATED_AT\") SELECT {name}, -1, CURRENT_TIMESTAMP() \
             WHERE NOT EXISTS (SELECT 1 FROM {ledger} WHERE \"SYNC\" = {name})"
        ),
    ] {
        session.run(what, &sql).await?;
    }
    // An earlier build may have gone on in the old place, and a transaction moves the offset that is read.
    if places.beside
        && places.within
        && let Some(later) = read(session, place, sync).await?
    {
        let sql = format!(
            "UPDATE {ledger} SET \"LOG_OFFSET\" = {later} WHERE \"SYNC\" = {name} AND \"LOG_OFFSET\" < {later}"
        );
        session.run("catching up with an earlier build", &sql).await?;
    }
    Ok(home)
}

/// Makes the ledger and the stage beside the tables, or moves the ledger there.
async fn found(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    beside: &SnowflakePlace,
    within: bool,
) -> Result<(), SnowflakeError> {
    let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", beside.schema_sql());
    session.run("making the ledger's schema", &sql).await?;
    // First what can be made again: once the ledger has moved, all is there.
    session.run("making the stage", &stage(beside)).await?;
    let ledger = match within {
        true => format!("ALTER TABLE {} RENAME TO {}", place.ledger(), beside.ledger()),
        false => create(beside),
    };
    session.run("making the ledger", &ledger).await.map(drop)
}

fn create(place: &SnowflakePlace) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\"SYNC\" VARCHAR NOT NULL, \"LOG_OFFSET\" NUMBER(38,0) NOT NULL, \
         \"UPDATED_AT\" TIMESTAMP_TZ(6) NOT NULL)",
        place.ledger()
    )
}

fn stage(place: &SnowflakePlace) -> String {
    format!("CREATE STAGE IF NOT EXISTS {} ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')", place.stage())
}

fn stays(place: &SnowflakePlace, beside: &SnowflakePlace, error: &SnowflakeError) -> String {
    let (ledger, schema) = (LEDGER.to_ascii_uppercase(), beside.schema_sql());
    format!(
        "the table {ledger} is in schema {}, where whoever reads the tables sees it, because it cannot be in schema {} ({error}); \
         let somebody who may run: CREATE SCHEMA IF NOT EXISTS {schema}; GRANT USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA \
         {schema} TO ROLE <the role of this destination>; and let that role own {}",
        place.schema,
        beside.schema,
        place.ledger()
    )
}
