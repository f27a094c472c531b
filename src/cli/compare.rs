//! `tidegate compare`.

mod print;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use tidegate_document::units;
use tidegate_event::time;
use tidegate_warehouse::table_reader::TableReader;

use super::{CommandDone, CommandFailure, EnvironmentArgs, WorkspaceArgs, check, runtime, style};
use crate::app::table_comparison::{ComparisonReport, ComparisonRequest, ForeignDialect, compare};
use crate::config::{ConnectionDocument, DestinationKind, Workspace};
use crate::warehouses::WarehouseSettings;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate compare warehouse segment.yaml --dialect segment --from 2026-11-01 --to 2026-11-08 --workspace shop\n  tidegate compare ours.yaml theirs.yaml --dialect rudderstack --from 2026-11-01 --to 2026-11-02 --event \"Order Completed\"\n  tidegate compare warehouse old.yaml --from 2026-11-01 --to 2026-11-02 --tolerance 5m --rows 50 --values\n\nOURS and THEIRS are each a destination of the workspace, by its name, or a file that is written as those in destinations/\nare, with `schema`:\n\n  kind: postgres                 # or sqlite, clickhouse\n  url: ${SEGMENT_DATABASE_URL}\n  schema: production\n\nCompared are the tables, their columns and types, and, of the rows that were received in the time, the ids and every value.\n1 and 1.0 are the same, as are times of other precisions and JSON with its keys in another order; no digit is lost. With\n--dialect, columns that only one product makes are left out, and names that it spells in another way are paired.\nWhat was received at midnight may be of another day on the other side, and no two servers receive an event in the same\nmillisecond: --tolerance is for received_at, sent_at and timestamp.\n\nNothing is written to either side. Values are not shown unless --values asks for them.\n\nExit code 0 when nothing is different, 1 when something is, 2 when they could not be compared: also when neither\nside has a row of the time."
)]
pub(super) struct CompareArgs {
    /// What Tidegate has written: a destination of the workspace, or a file that names a warehouse
    #[arg(value_name = "OURS")]
    ours: String,
    /// What the other product has written, likewise
    #[arg(value_name = "THEIRS")]
    theirs: String,
    /// From when on: a day, or a time such as 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: i64,
    /// Until when; it is not part of the time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: i64,
    /// Only the table of this event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Whose tables THEIRS are: segment, rudderstack or hightouch [default: Tidegate's own]
    #[arg(long, value_name = "DIALECT", value_parser = dialect)]
    dialect: Option<ForeignDialect>,
    /// The workspace whose destinations OURS and THEIRS may name
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    workspace: PathBuf,
    /// An environment of the workspace [default: that of the folder itself]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The schema of a destination whose syncs have several
    #[arg(long, value_name = "SCHEMA")]
    schema: Option<String>,
    /// The column that tells rows apart, such as context_migration_id where both SDKs make ids of their own
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    key: String,
    /// The column that says when a row was received
    #[arg(long, value_name = "COLUMN", default_value = "received_at")]
    time: String,
    /// By how much received_at, sent_at and timestamp may differ, such as 5m
    #[arg(long, value_name = "TIME", value_parser = tolerance, default_value = "0")]
    tolerance: Duration,
    /// A column that is not compared; may be given several times
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Name at most this many rows of each difference
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    rows: u64,
    /// Show the values that differ
    #[arg(long)]
    values: bool,
}

/// They could not be compared.
const NOT_COMPARED: u8 = 2;

pub(super) fn run(args: &CompareArgs, json: bool) -> CommandDone {
    match compared(args, json) {
        Ok(report) => {
            let request = request(args);
            if json {
                print::for_programs(&report, &request, args.values);
            } else {
                print::for_people(&report, &request, args.values);
            }
            Ok(if report.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        // A code of 1 says that something is different.
        Err(CommandFailure::Problems(problems)) => {
            check::report_with(&problems, json, "nothing was compared");
            Ok(ExitCode::from(NOT_COMPARED))
        }
        Err(CommandFailure::Failed(message)) => {
            if json {
                println!("{}", serde_json::json!({ "error": message }));
            }
            eprintln!("{} {message}", style::error("error:"));
            Ok(ExitCode::from(NOT_COMPARED))
        }
    }
}

fn request(args: &CompareArgs) -> ComparisonRequest {
    ComparisonRequest {
        range: Range { start: args.from, end: args.to },
        event: args.event.clone(),
        dialect: args.dialect,
        key: args.key.clone(),
        time: args.time.clone(),
        ignored: args.ignore.iter().map(|column| column.to_ascii_lowercase()).collect::<BTreeSet<_>>(),
        tolerance_us: u64::try_from(args.tolerance.as_micros()).unwrap_or(u64::MAX),
        rows_max: usize::try_from(args.rows).unwrap_or(usize::MAX),
    }
}

fn compared(args: &CompareArgs, json: bool) -> Result<ComparisonReport, CommandFailure> {
    let [mut ours, mut theirs] = sides(args)?;
    let request = request(args);
    let bar = if std::io::stderr().is_terminal() && !json { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_millis(100));
    let runtime = runtime()?;
    let compared = runtime.block_on(compare([&mut *ours, &mut *theirs], &request, &mut |progress| {
        let (table, rows) = (style::plain(progress.table, 63), style::count(progress.rows));
        bar.set_message(format!("{table} {}: {rows} rows", progress.day));
    }));
    bar.finish_and_clear();
    compared.map_err(|error| CommandFailure::Failed(error.to_string()))
}

/// The ways to both sides. The workspace is read where one of them is a destination of it.
fn sides(args: &CompareArgs) -> Result<[Box<dyn TableReader>; 2], CommandFailure> {
    let named = [&args.ours, &args.theirs];
    let workspace = if named.iter().all(|name| is_file(name)) { None } else { Some(workspace(args)?) };
    let mut readers = Vec::new();
    for name in named {
        let (settings, schema) = match &workspace {
            Some(workspace) if !is_file(name) => destination(workspace, name, args.schema.as_deref())?,
            _ => {
                let document = ConnectionDocument::read(Path::new(name)).map_err(CommandFailure::Problems)?;
                (document.settings, document.schema)
            }
        };
        let reader = settings.reader(schema.as_deref());
        readers.push(reader.map_err(|failure| CommandFailure::Failed(format!("{name}: {failure}")))?);
    }
    <[Box<dyn TableReader>; 2]>::try_from(readers)
        .map_err(|_| CommandFailure::Failed("name OURS and THEIRS".to_owned()))
}

/// Whether a side is named by a file and not by a destination.
fn is_file(name: &str) -> bool {
    name.contains('/') || [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending))
}

fn workspace(args: &CompareArgs) -> Result<Workspace, CommandFailure> {
    let workspace = WorkspaceArgs { dir: args.workspace.clone(), data: None };
    EnvironmentArgs { workspace, environment: args.environment.clone() }.read()
}

/// A warehouse of the workspace, and the schema in which its syncs have their tables.
fn destination(
    workspace: &Workspace,
    name: &str,
    asked: Option<&str>,
) -> Result<(WarehouseSettings, Option<String>), CommandFailure> {
    let failed = |message: String| Err(CommandFailure::Failed(message));
    let Some(found) = workspace.destinations.get(name) else {
        let names: Vec<&str> = workspace.destinations.keys().map(String::as_str).collect();
        return failed(format!(
            "there is no destination {name:?} in {}; there are {}; a file is named with its ending, such as ./{name}.yaml",
            workspace.dir.display(),
            names.join(", ")
        ));
    };
    let DestinationKind::Warehouse(settings) = &found.kind else {
        return failed(format!("the destination {name} is no warehouse but a {}; name one that is", found.kind.word()));
    };
    let syncs = workspace.syncs.values().filter(|sync| sync.destination.0 == name);
    let schemas: BTreeSet<Option<&str>> = syncs.map(|sync| sync.schema.as_deref()).collect();
    let schema = match (asked, schemas.len()) {
        (Some(asked), _) => Some(asked.to_owned()),
        (None, 0 | 1) => schemas.into_iter().flatten().next().map(str::to_owned),
        (None, _) => {
            let named: Vec<&str> = schemas.into_iter().map(|schema| schema.unwrap_or("(none)")).collect();
            return failed(format!(
                "the syncs to {name} have tables in several schemas ({}); name one with --schema",
                named.join(", ")
            ));
        }
    };
    Ok(((**settings).clone(), schema))
}

/// Microseconds since 1970; a day is its beginning, in UTC.
fn instant(text: &str) -> Result<i64, String> {
    let day = format!("{text}T00:00:00Z");
    let found = [text, &*day].into_iter().find_map(time::parse);
    found.ok_or_else(|| "write a day, such as 2026-11-01, or a time, such as 2026-11-01T18:00:00Z".to_owned())
}

fn dialect(word: &str) -> Result<ForeignDialect, String> {
    let words = ForeignDialect::ALL.map(ForeignDialect::as_str).join(", ");
    ForeignDialect::parse(word).ok_or_else(|| format!("write one of {words}"))
}

fn tolerance(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    units::duration(text).ok_or_else(|| "write 0, or a time with its unit, such as 500 ms, 5s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_file_or_a_destination() {
        assert!(is_file("segment.yaml") && is_file("./segment") && is_file("a/b.yml"));
        assert!(!is_file("warehouse") && !is_file("shop-2"));
    }

    #[test]
    fn a_day_is_its_beginning_and_a_tolerance_has_a_unit() {
        assert_eq!(instant("1970-01-02"), Ok(86_400_000_000));
        assert_eq!(instant("1970-01-01T01:00:00+01:00"), Ok(0));
        assert!(instant("yesterday").is_err() && instant("2026-13-01").is_err());
        assert_eq!((tolerance("0"), tolerance("5m")), (Ok(Duration::ZERO), Ok(Duration::from_secs(300))));
        assert!(tolerance("5").is_err());
        assert_eq!(dialect("segment"), Ok(ForeignDialect::Segment));
        assert!(dialect("snowplow").unwrap_err().contains("rudderstack"));
    }
}
