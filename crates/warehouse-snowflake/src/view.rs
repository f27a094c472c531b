//! The views of the latest traits.

use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::table::Table;

use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::session::SnowflakeSession;
use super::sql::{exact, literal, quoted};

/// Makes the view of this table what it shall be. Of two who do so at once the later one wins, and the other finds that when
/// it looks at the tables again.
pub(super) async fn keep(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    profile: &Profile,
    table: &Table,
) -> Result<ViewOutcome, SnowflakeError> {
    let doing = "looking for a view";
    let name = profile.beside(table);
    let query = query(place, profile, table);
    let mark = profile.mark(table, &query);
    let sql = format!(
        "SELECT TABLE_TYPE::VARCHAR, COMMENT::VARCHAR FROM {}.INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = {} AND \
         TABLE_NAME = {}",
        exact(&place.database),
        literal(&place.schema),
        literal(&name.to_ascii_uppercase())
    );
    let found = match session.run(doing, &sql).await {
        Ok(answer) => answer.texts(doing)?,
        Err(error) if error.is_of_a_view() => return Ok(profile.refused(&name, &error.to_string())),
        Err(error) => return Err(error),
    };
    if let Some(row) = found.rows.first() {
        let cell = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        if let Some(outcome) = profile.found(&name, cell(0) == "VIEW", cell(1), &mark) {
            return Ok(outcome);
        }
    }
    let make =
        format!("CREATE OR REPLACE VIEW {} COPY GRANTS COMMENT = {} AS {query}", place.sql(&name), literal(&mark));
    match session.run("making a view", &make).await {
        Ok(_) => Ok(ViewOutcome::Made),
        Err(error) if error.is_of_a_view() => Ok(profile.refused(&name, &error.to_string())),
        Err(error) => Err(error),
    }
}

/// `MAX_BY` passes over rows whose second argument is null.
fn query(place: &SnowflakePlace, profile: &Profile, table: &Table) -> String {
    let key = quoted(profile.key);
    let time = |name: &str| format!("TO_VARCHAR(CONVERT_TIMEZONE('UTC', {name}), 'YYYY-MM-DD HH24:MI:SS.FF6')");
    let order =
        format!("{} || {} || \"ID\"", time("COALESCE(\"TIMESTAMP\", \"RECEIVED_AT\")"), time("\"RECEIVED_AT\""));
    let mut columns = vec![key.clone(), "MAX(\"TIMESTAMP\") AS \"TIMESTAMP\"".to_owned()];
    columns.extend(profile.traits(table).map(|column| {
        let name = quoted(&column.name);
        format!("MAX_BY({name}, IFF({name} IS NULL, NULL, {order})) AS {name}")
    }));
    let table = place.sql(&table.name);
    format!("SELECT {} FROM {table} WHERE {key} IS NOT NULL GROUP BY {key}", columns.join(", "))
}
