//! `tidegate sync`: the tables of a sync are made anew beside the old ones, and take their place.

use std::process::ExitCode;

use tidegate_api_types::rebuild::{RebuildSync, ShownRebuild};
use tidegate_event::time;

use super::client::CatalogClient;
use super::log_parts::{done, print_counts, print_parts, print_refused};
use super::moments::moment_us;
use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

/// Between two looks at a rebuild that is waited for.
const REBUILD_LOOK: std::time::Duration = std::time::Duration::from_millis(300);

#[derive(Debug, clap::Subcommand)]
pub(super) enum SyncCommand {
    /// Make the tables of a sync anew beside the old ones, by the contracts and functions of now
    #[command(
        after_help = "Examples:\n  tidegate sync rebuild warehouse --from beginning --dry-run      count what would be written\n  tidegate sync rebuild warehouse --from beginning                the new tables follow the sync until somebody says\n  tidegate sync swap warehouse                                    that they shall take the place of the old ones\n  tidegate sync rebuild warehouse --from beginning --swap         all of it\n\nThe sync goes on in the old tables meanwhile. Readers find the old table or the new one, and never none. The old ones are kept."
    )]
    Rebuild {
        /// The sync, to a SQLite file or to PostgreSQL
        #[arg(value_name = "SYNC")]
        name: String,
        /// Events from here on: `beginning`, a time such as 2026-01-31T00:00:00Z, or an age such as 90d
        #[arg(long, value_name = "TIME")]
        from: String,
        /// Where the new tables are until then [default: named after the schema of the sync and the time]
        #[arg(long, value_name = "NAME")]
        schema: Option<String>,
        /// Have them take the place of the old ones once they are as far as those, if nothing is missing
        #[arg(long)]
        swap: bool,
        /// Count what would be written, and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Have the new tables of a sync take the place of the old ones, once they are as far as those
    Swap {
        /// The sync
        #[arg(value_name = "SYNC")]
        name: String,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Tables that are made anew: list, show, cancel
    #[command(subcommand)]
    Rebuilds(RebuildsCommand),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum RebuildsCommand {
    /// List rebuilds, newest first
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// How far a rebuild is, and where its tables are
    Show {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// End a rebuild before its end; the sync goes on in its old tables, and the new ones stay where they are
    Cancel {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(command: &SyncCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            SyncCommand::Rebuild { name, from, schema, swap, dry_run, no_wait, catalog } => {
                let (schema, swap, dry_run) = (schema.clone(), *swap, *dry_run);
                let asked = RebuildSync { from: bound(from)?, schema, swap, dry_run };
                let client = catalog.client()?;
                let begun = client.rebuild(name, &asked).await?;
                if !json && !no_wait {
                    eprintln!("rebuild {} has begun; it goes on when this command is stopped", begun.id);
                }
                let is_done = |rebuild: &ShownRebuild| match swap {
                    true => rebuild.report.waits_for.is_some() && rebuild.report.step == "ready",
                    false => rebuild.report.step == "ready",
                };
                shown_at_end(&client, begun, (*no_wait, json), is_done).await
            }
            SyncCommand::Swap { name, no_wait, catalog } => {
                let client = catalog.client()?;
                let asked = client.swap(name).await?;
                shown_at_end(&client, asked, (*no_wait, json), |_| false).await
            }
            SyncCommand::Rebuilds(RebuildsCommand::List { catalog }) => {
                list(&catalog.client()?, json).await?;
                Ok(ExitCode::SUCCESS)
            }
            SyncCommand::Rebuilds(RebuildsCommand::Show { id, catalog }) => {
                print_rebuild(&catalog.client()?.shown_rebuild(*id).await?, json);
                Ok(ExitCode::SUCCESS)
            }
            SyncCommand::Rebuilds(RebuildsCommand::Cancel { id, catalog }) => {
                print_rebuild(&catalog.client()?.cancel_rebuild(*id).await?, json);
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

/// Waits for the end of a rebuild, or for what is enough, and prints it. One that did not come to its end is a failure.
async fn shown_at_end(
    client: &CatalogClient,
    mut rebuild: ShownRebuild,
    (no_wait, json): (bool, bool),
    is_enough: impl Fn(&ShownRebuild) -> bool,
) -> CommandDone {
    while !no_wait && runs(&rebuild) && !is_enough(&rebuild) {
        tokio::time::sleep(REBUILD_LOOK).await;
        rebuild = client.shown_rebuild(rebuild.id).await?;
    }
    print_rebuild(&rebuild, json);
    let is_good = runs(&rebuild) || rebuild.state == "done";
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runs(rebuild: &ShownRebuild) -> bool {
    matches!(rebuild.state.as_str(), "running" | "swapping")
}

/// Where a rebuild begins, as the server takes it.
fn bound(text: &str) -> Result<String, CommandFailure> {
    if text == "beginning" {
        return Ok(text.to_owned());
    }
    moment_us(text).map(time::format).ok_or_else(|| {
        let wrong = format!(
            "--from {text:?} is neither `beginning`, a time such as 2026-01-31T00:00:00Z nor an age such as 90d"
        );
        CommandFailure::Failed(wrong)
    })
}

async fn list(client: &CatalogClient, json: bool) -> Result<(), CommandFailure> {
    let found = client.rebuilds().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    if found.rebuilds.is_empty() {
        println!("There are no rebuilds.");
        return Ok(());
    }
    let mut table = style::table(&["rebuild", "sync", "state", "asked", "from", "done", "delivered"]);
    for rebuild in &found.rebuilds {
        let dry = if rebuild.dry_run { " (dry run)" } else { "" };
        table.add_row([
            rebuild.id.to_string(),
            rebuild.sync.clone(),
            format!("{}{dry}", rebuild.state),
            rebuild.asked_at.clone(),
            rebuild.from.clone(),
            done(&rebuild.report.step, &rebuild.report.parts),
            style::count(rebuild.report.counts.delivered),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn print_rebuild(rebuild: &ShownRebuild, json: bool) {
    if json {
        print_json(rebuild);
        return;
    }
    let report = &rebuild.report;
    let dry = if rebuild.dry_run { ", a dry run: nothing was written" } else { "" };
    println!("{} {} of {} is {}{dry}", style::bold("rebuild:"), rebuild.id, rebuild.sync, rebuild.state);
    println!("from {}, {} of the log is done", rebuild.from, done(&report.step, &report.parts));
    if !report.rebuilt.is_empty() && !rebuild.dry_run {
        let (rebuilt, before) = (style::plain(&report.rebuilt, 100), style::plain(&report.before, 100));
        match rebuild.state.as_str() {
            "done" => println!("the new tables have taken the place of the old ones, which are in {before}"),
            _ => println!("the new tables are in {rebuilt}; after the swap the old ones are in {before}"),
        }
    }
    print_parts(
        &report.parts,
        report.waits_for.iter().chain(&report.notes).chain(&report.notices),
        report.failure.as_deref(),
    );
    if runs(rebuild) && !rebuild.swap && report.step == "ready" {
        println!(
            "the new tables follow the sync; swap them with `tidegate sync swap {}`",
            style::plain(&rebuild.sync, 100)
        );
    }
    let counts = &report.counts;
    print_counts(&[
        ("meant", counts.came),
        ("of suppressed people", counts.suppressed),
        ("filtered", counts.filtered),
        ("dropped by functions of the sync", counts.dropped),
        ("stopped by functions of the sync", counts.stopped),
        ("delivered", counts.delivered),
        ("refused", counts.refused),
    ]);
    print_refused(&report.refused);
}
