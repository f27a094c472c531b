//! `tidegate sql`: reads the tables of an embedded warehouse of a running server.

use std::process::ExitCode;

use serde_json::Value;
use tidegate_api_types::object::ObjectQuery;
use tidegate_api_types::query::{QueriedRows, QueriedTables};

use super::client::CatalogClient;
use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

/// Characters of a cell, and of the name of a column.
const CELL_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 80;

/// A statement, and where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate sql                                             the tables and their columns\n  tidegate sql 'SELECT event, count(*) FROM tracks GROUP BY event'\n  tidegate sql --destination warehouse 'SELECT * FROM users' --json\n\nOne statement that reads, of SQLite destinations alone: 5 seconds, 1,000 rows, one at a time. It takes the right to see the events of\nevery sync to the destination, and the text stands in the audit log."
)]
pub(super) struct SqlArgs {
    /// One SELECT; the tables are listed without it
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// The destination [default: the one of kind sqlite, if there is one]
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: &SqlArgs, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let client = args.catalog.client()?;
        let destination = match &args.destination {
            Some(name) => name.clone(),
            None => only_one(&client).await?,
        };
        match &args.sql {
            Some(sql) => print_rows(&client.query(&destination, sql).await?, json),
            None => print_tables(&client.queried_tables(&destination).await?, json),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The one destination of kind sqlite.
async fn only_one(client: &CatalogClient) -> Result<String, CommandFailure> {
    let all = client.objects("destination", &ObjectQuery::default()).await?;
    let mut names: Vec<String> =
        all.into_iter().filter(|object| object.spec["kind"] == "sqlite").map(|object| object.name).collect();
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (Some(last), false) => {
            names.push(last);
            let wrong = format!(
                "there are several destinations of kind sqlite: write --destination and one of {}",
                names.join(", ")
            );
            Err(CommandFailure::Failed(wrong))
        }
        (None, _) => Err(CommandFailure::Failed("there is no destination of kind sqlite that you may see".to_owned())),
    }
}

fn print_tables(found: &QueriedTables, json: bool) {
    if json {
        print_json(found);
        return;
    }
    let mut table = style::table(&["table", "columns"]);
    for one in &found.tables {
        let columns: Vec<String> = one.columns.iter().map(|name| style::plain(name, NAME_CHARS_MAX)).collect();
        table.add_row([style::plain(&one.name, NAME_CHARS_MAX), columns.join(", ")]);
    }
    println!("{table}");
}

fn print_rows(found: &QueriedRows, json: bool) {
    if json {
        print_json(found);
        return;
    }
    let columns: Vec<String> = found.columns.iter().map(|name| style::plain(name, NAME_CHARS_MAX)).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = style::table(&columns);
    for row in &found.rows {
        table.add_row(row.iter().map(shown));
    }
    println!("{table}");
    let more = if found.more { "; there are more, and these are the first" } else { "" };
    eprintln!("{} rows in {} ms{more}", style::count(found.rows.len() as u64), found.took_ms);
}

fn shown(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => style::plain(text, CELL_CHARS_MAX),
        other => style::plain(&other.to_string(), CELL_CHARS_MAX),
    }
}
