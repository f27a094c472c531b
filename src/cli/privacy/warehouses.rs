//! Somebody in the tables of warehouses: the statements for each, and their run where that is offered.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use rusqlite::Connection;
use tidegate_api_types::privacy::NamedSubject;
use tidegate_event::subject::normalised;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::forget::{ForgetDialect, ForgetStatement, ForgottenId, statements};

use super::SubjectArgs;
use crate::app::running_report::{self, RunningReport};
use crate::app::{declare, paths};
use crate::cli::{CommandDone, CommandFailure, EnvironmentArgs, runtime, style};
use crate::config::{DestinationKind, Workspace};
use crate::warehouses::{ALL_CAPABILITIES, WarehouseSettings};

/// How long another writer of a SQLite file is waited for.
const BUSY: Duration = Duration::from_secs(30);
const OF_CATALOG: &str = "the sync was made over the API or in the console and is not in the folder, so nobody looked into its tables. Write \
    a folder that has it with `tidegate export`, fill in what it lists, and name that folder here";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate privacy warehouses shop --user ann                    the statements, for each table that may have her\n  tidegate privacy warehouses shop --user ann --run --dry-run    counts the rows\n  tidegate privacy warehouses shop --user ann --run              removes them\n\nSQLite and PostgreSQL are run here; for ClickHouse, Snowflake and the lake the statements are printed."
)]
pub(in crate::cli) struct WarehousesArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    #[command(flatten)]
    who: SubjectArgs,
    /// Run the statements, in SQLite and PostgreSQL
    #[arg(long)]
    run: bool,
    /// Count the rows, and remove none
    #[arg(long, requires = "run")]
    dry_run: bool,
}

/// What is done in the tables of one sync.
struct ForgottenTables {
    sync: String,
    kind: String,
    /// What tables there are is known.
    is_looked_at: bool,
    statements: Vec<ForgetStatement>,
    /// Of each statement how many rows it was about; none where it was not run.
    rows: Option<Vec<u64>>,
    /// Why nothing was run.
    left: Option<String>,
}

pub(super) fn run(args: &WarehousesArgs, json: bool) -> CommandDone {
    let workspace = args.workspace.read()?;
    let subjects = args.who.subjects()?;
    let values: Vec<String> = subjects.iter().map(value_of).collect();
    let ids: Vec<ForgottenId<'_>> =
        subjects.iter().zip(&values).filter_map(|(named, value)| id(named, value)).collect();
    let runtime = runtime()?;
    let mut all = Vec::new();
    for (name, sync) in &workspace.syncs {
        let DestinationKind::Warehouse(settings) = &workspace.destinations[&sync.destination.0].kind else { continue };
        let part = declare::part(&workspace, name, 0);
        let found = runtime.block_on(settings.find(&part))?;
        let dialect = settings.forget_dialect();
        let statements = statements(dialect, &settings.schema_sql(&part), &found, &ids);
        let mut tables = ForgottenTables {
            sync: name.clone(),
            kind: settings.capabilities().kind.to_owned(),
            is_looked_at: true,
            statements,
            rows: None,
            left: None,
        };
        if args.run && tables.statements.is_empty() {
            tables.rows = Some(Vec::new());
        } else if args.run {
            runtime.block_on(execute(settings, &part, (&mut tables, args.dry_run)))?;
        }
        if dialect == ForgetDialect::Sqlite && subjects.iter().any(is_hashed) {
            let left = "SQLite has no SHA-256: give the trait in clear";
            tables.left = Some(left.to_owned());
        } else if dialect == ForgetDialect::Sqlite
            && subjects.iter().zip(&values).any(|(named, value)| named.kind == "trait" && !value.is_ascii())
        {
            let left = "SQLite makes only A to Z small: rows that have other capitals in a trait stay";
            tables.left = Some(left.to_owned());
        }
        all.push(tables);
    }
    let report = running_report::read(&paths::running(&workspace.data))?;
    all.extend(report.into_iter().flat_map(|report| of_catalog(report, &workspace)));
    if json {
        print_json(&all, args.dry_run);
    } else {
        all.iter().for_each(|tables| print(tables, args.dry_run));
    }
    Ok(if all.iter().all(|tables| tables.is_looked_at) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Syncs to warehouses that run and are not in the folder.
fn of_catalog(report: RunningReport, workspace: &Workspace) -> Vec<ForgottenTables> {
    let mut all = Vec::new();
    for (sync, of) in report.syncs {
        if workspace.syncs.contains_key(&sync) || !ALL_CAPABILITIES.iter().any(|known| known.kind == of.kind) {
            continue;
        }
        let left = Some(OF_CATALOG.to_owned());
        all.push(ForgottenTables {
            sync,
            kind: of.kind,
            is_looked_at: false,
            statements: Vec::new(),
            rows: None,
            left,
        });
    }
    all
}

fn is_hashed(named: &NamedSubject) -> bool {
    named.kind == "trait" && named.value.trim().starts_with("sha256:")
}

/// A value as it is compared.
fn value_of(named: &NamedSubject) -> String {
    match named.kind.as_str() {
        "trait" if is_hashed(named) => named.value.trim().trim_start_matches("sha256:").to_ascii_lowercase(),
        "trait" => normalised(&named.value),
        _ => named.value.clone(),
    }
}

fn id<'a>(named: &'a NamedSubject, value: &'a str) -> Option<ForgottenId<'a>> {
    let name = named.name.as_deref().unwrap_or_default();
    match named.kind.as_str() {
        "user" => Some(ForgottenId::User(value)),
        "anonymous" => Some(ForgottenId::Anonymous(value)),
        "group" => Some(ForgottenId::Group(value)),
        "trait" if is_hashed(named) => Some(ForgottenId::HashedTrait(name, value)),
        "trait" => Some(ForgottenId::Trait(name, value)),
        _ => None,
    }
}

async fn execute(
    settings: &WarehouseSettings,
    part: &SyncPart,
    (tables, dry_run): (&mut ForgottenTables, bool),
) -> Result<(), CommandFailure> {
    match settings {
        WarehouseSettings::Sqlite(sqlite) => tables.rows = Some(in_sqlite(&sqlite.path, &tables.statements, dry_run)?),
        WarehouseSettings::Postgres(postgres) => {
            let of = |statement: &ForgetStatement| match dry_run {
                true => statement.count.clone(),
                false => format!("WITH gone AS ({} RETURNING 1) SELECT count(*) FROM gone", statement.delete),
            };
            let all: Vec<String> = tables.statements.iter().map(of).collect();
            tables.rows = Some(postgres.check(part)?.numbers(&all).await?);
        }
        _ => tables.left = Some("run these statements by its own means".to_owned()),
    }
    Ok(())
}

/// Runs the statements in one transaction, and leaves no byte of what they remove in the file.
fn in_sqlite(
    path: &std::path::Path,
    statements: &[ForgetStatement],
    dry_run: bool,
) -> Result<Vec<u64>, rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let mut rows = Vec::with_capacity(statements.len());
    if dry_run {
        for statement in statements {
            let count: i64 = connection.query_row(&statement.count, [], |row| row.get(0))?;
            rows.push(u64::try_from(count).unwrap_or(0));
        }
        return Ok(rows);
    }
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let transaction = connection.transaction()?;
    for statement in statements {
        rows.push(transaction.execute(&statement.delete, [])? as u64);
    }
    transaction.commit()?;
    connection.execute_batch("VACUUM")?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        let left =
            "the rows are gone, but somebody reads the file, and its write-ahead log still has them: run this again";
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(error, Some(left.to_owned())));
    }
    Ok(rows)
}

fn print(tables: &ForgottenTables, dry_run: bool) {
    let ForgottenTables { sync, kind, is_looked_at, statements, rows, left } = tables;
    let found = match is_looked_at {
        true => format!("{} tables that may have them", statements.len()),
        false => "not looked at".to_owned(),
    };
    println!("{}", style::bold(&format!("-- {} ({}): {found}", style::plain(sync, 100), style::plain(kind, 100))));
    if let Some(left) = left {
        println!("-- {}", style::plain(left, 400));
    }
    match rows {
        Some(rows) => {
            let done = if dry_run { "would go" } else { "are gone" };
            for (statement, rows) in statements.iter().zip(rows) {
                println!("{}: {} rows {done}", style::plain(&statement.table, 200), style::count(*rows));
            }
        }
        None => statements.iter().for_each(|statement| println!("{};", style::plain(&statement.delete, usize::MAX))),
    }
}

fn print_json(all: &[ForgottenTables], dry_run: bool) {
    let shown = |tables: &ForgottenTables| {
        let rows: BTreeMap<&str, u64> = tables
            .statements
            .iter()
            .zip(tables.rows.iter().flatten())
            .map(|(statement, rows)| (statement.table.as_str(), *rows))
            .collect();
        let statements: Vec<&str> = tables.statements.iter().map(|statement| statement.delete.as_str()).collect();
        serde_json::json!({
            "sync": tables.sync, "kind": tables.kind, "looked_at": tables.is_looked_at, "statements": statements, "run": tables.rows.is_some(),
            "dry_run": dry_run, "rows": rows, "left": tables.left,
        })
    };
    println!("{}", serde_json::Value::Array(all.iter().map(shown).collect()));
}

#[cfg(test)]
mod tests {
    use tidegate_warehouse::evolve::Type;
    use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
    use tidegate_warehouse::table::Column;

    use super::*;

    #[test]
    fn however_many_people_there_are_sqlite_takes_the_statement() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.db");
        let rows = "INSERT INTO tracks VALUES ('p0'), ('p2999'), ('other')";
        Connection::open(&path).unwrap().execute_batch(&format!("CREATE TABLE tracks (user_id TEXT); {rows}")).unwrap();
        let columns = vec![Column::found("user_id", Type::Text, false, true)];
        let table = FoundTable { is_table: true, columns, ..FoundTable::default() };
        let found = FoundSchema { has_schema: true, tables: [("tracks".to_owned(), table)].into() };
        let people: Vec<String> = (0..3_000).map(|number| format!("p{number}")).collect();
        let ids: Vec<ForgottenId<'_>> = people.iter().map(|id| ForgottenId::User(id)).collect();
        let all = statements(ForgetDialect::Sqlite, "", &found, &ids);
        for (dry_run, rows) in [(true, 2), (false, 2), (false, 0)] {
            assert_eq!(in_sqlite(&path, &all, dry_run).unwrap(), [rows], "{dry_run}");
        }
    }
}
