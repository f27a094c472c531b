//! Compares the tables that the router wrote with those that another one wrote from the same events.
//!
//! Nouns: **ours** and **theirs** (the two sides, each behind a [`TableReader`]), the **dialect** (how a product names tables and
//! columns), a **pair** (two names that mean the same), the **key** (by which rows are told apart, `id` as a rule), the **time** (by
//! which a row belongs to a day, `received_at` as a rule).
//!
//! Each pair of tables is walked day after day, both sides in the order of their keys, so no more than a page of each is held,
//! however large the tables are. A row that its day has on one side alone is looked up on the other before it is called missing.
//! Values are compared by what they mean ([`ReadCell`](tidegate_warehouse::read_cell::ReadCell)).
//!
//! Nothing is changed on either side.

mod column_pairs;
mod dialect;
mod error;
mod name_pairs;
mod report;
mod request;
mod row_stream;
mod table_walk;
mod tally;

use tidegate_event::time;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::name;
use tidegate_warehouse::table::Family;
use tidegate_warehouse::table_reader::{ReadColumn, RowsWanted, TableReader};

use column_pairs::ColumnPairs;
pub use dialect::ForeignDialect;
pub use error::{ComparedSide, ComparisonError};
pub use report::{ComparisonReport, OneSidedRows, TableReport, UnpairedTable};
pub use request::{ComparisonProgress, ComparisonRequest};
use row_stream::RowStream;
use table_walk::TableWalk;

/// Compares two warehouses. `told` hears how far it is.
///
/// # Errors
/// A side cannot be read, or a table that both have cannot be compared as it is asked.
pub async fn compare(
    [ours, theirs]: [&mut dyn TableReader; 2],
    request: &ComparisonRequest,
    told: &mut dyn FnMut(ComparisonProgress<'_>),
) -> Result<ComparisonReport, ComparisonError> {
    request.check()?;
    let mut our_tables = ours.tables().await.map_err(ComparedSide::Ours.failed())?;
    let mut their_tables = theirs.tables().await.map_err(ComparedSide::Theirs.failed())?;
    // What else is there is nobody's loss: tables of the product itself, and those without events.
    let dialect = request.dialect;
    our_tables.retain(|name, columns| {
        let is_expected = dialect.is_none_or(|dialect| !dialect.lacks_table(name));
        is_expected && is_of_events(columns, request) && !name.starts_with("_tidegate")
    });
    let mut report = ComparisonReport::default();
    their_tables.retain(|name, columns| {
        let is_own = name.starts_with("_tidegate") || dialect.is_some_and(|dialect| dialect.has_table(name));
        let is_compared = is_of_events(columns, request) || our_tables.contains_key(name);
        if !is_own && !is_compared {
            report.not_compared.push(name.clone());
        }
        !is_own && is_compared
    });
    let our_names: Vec<&str> = our_tables.keys().map(String::as_str).collect();
    let their_names: Vec<&str> = their_tables.keys().map(String::as_str).collect();
    let mut pairs = name_pairs::paired(&our_names, &their_names, dialect);
    let (mut only_ours, mut only_theirs) = name_pairs::unpaired(&pairs, our_names.len(), their_names.len());
    if let Some(event) = &request.event {
        let table = name::table(event, &Family::FIXED);
        pairs.retain(|(our, their)| our_names[*our] == table || their_names[*their] == table);
        only_ours.retain(|at| our_names[*at] == table);
        only_theirs.retain(|at| their_names[*at] == table);
        if pairs.is_empty() && only_ours.is_empty() && only_theirs.is_empty() {
            return Err(ComparisonError::NoEvent { event: event.clone(), table });
        }
    }
    for (our, their) in pairs {
        let (our_name, their_name) = (our_names[our], their_names[their]);
        let pairs = ColumnPairs::between(&our_tables[our_name], &their_tables[their_name], request);
        let wanted = [
            wanted(ComparedSide::Ours, our_name, &our_tables[our_name], request, pairs.ours())?,
            wanted(ComparedSide::Theirs, their_name, &their_tables[their_name], request, pairs.theirs())?,
        ];
        let walk = TableWalk::new([&mut *ours, &mut *theirs], wanted, (&pairs, request));
        report.tables.push(walk.walk(told).await?);
    }
    for at in only_ours {
        let wanted = wanted(ComparedSide::Ours, our_names[at], &our_tables[our_names[at]], request, Vec::new())?;
        let rows = RowStream::new(ComparedSide::Ours, &mut *ours, wanted, 0).count(&request.range).await?;
        report.missing.push(UnpairedTable { table: our_names[at].to_owned(), rows });
    }
    for at in only_theirs {
        // What has no times has no rows of the time.
        let is_timed =
            column(&their_tables[their_names[at]], &request.time).is_some_and(|it| it.kind == Type::Timestamp);
        if !is_timed {
            report.not_compared.push(their_names[at].to_owned());
            continue;
        }
        let wanted =
            wanted(ComparedSide::Theirs, their_names[at], &their_tables[their_names[at]], request, Vec::new())?;
        let rows = RowStream::new(ComparedSide::Theirs, &mut *theirs, wanted, 0).count(&request.range).await?;
        report.extra.push(UnpairedTable { table: their_names[at].to_owned(), rows });
    }
    // Whether a table without rows of the time is there says nothing about the events of the time.
    report.missing.retain(|table| table.rows > 0);
    report.extra.retain(|table| table.rows > 0);
    if report.tables.is_empty() && report.missing.is_empty() && report.extra.is_empty() {
        // That nothing is different would be no answer.
        let (key, time) = (request.key.clone(), request.time.clone());
        return Err(ComparisonError::NoTables { key, time });
    }
    if report.is_equal() && report.tables.iter().all(|table| table.days.is_empty()) {
        let [from, to] = [request.range.start, request.range.end].map(time::format);
        return Err(ComparisonError::NoRows { from, to, key: request.key.clone() });
    }
    Ok(report)
}

/// Whether a table has what rows are told apart and dated by.
fn is_of_events(columns: &[ReadColumn], request: &ComparisonRequest) -> bool {
    column(columns, &request.key).is_some() && column(columns, &request.time).is_some()
}

fn column<'c>(columns: &'c [ReadColumn], name: &str) -> Option<&'c ReadColumn> {
    let alike = columns.iter().find(|column| column.name == name);
    alike.or_else(|| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)))
}

/// The rows of a table, of no time yet.
fn wanted(
    side: ComparedSide,
    table: &str,
    found: &[ReadColumn],
    request: &ComparisonRequest,
    columns: Vec<ReadColumn>,
) -> Result<RowsWanted, ComparisonError> {
    let named = |name: &str, option: &'static str| {
        let lacking = || ComparisonError::NoColumn { side, table: table.to_owned(), column: name.to_owned(), option };
        column(found, name).cloned().ok_or_else(lacking)
    };
    let (key, time) = (named(&request.key, "--key")?, named(&request.time, "--time")?);
    if !matches!(time.kind, Type::Timestamp) {
        return Err(ComparisonError::NoTime {
            side,
            table: table.to_owned(),
            column: time.name.clone(),
            declared: time.declared,
        });
    }
    Ok(RowsWanted { table: table.to_owned(), key, time, range: 0..0, columns })
}
