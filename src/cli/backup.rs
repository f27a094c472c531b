//! `tidegate backup`: a data directory is copied while its server runs.

mod told;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{CommandDone, WorkspaceArgs, style};
use crate::app::backup::{self, BackupOrder};
pub(super) use told::{BackupProgress, print_contents, shown_contents};

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  tidegate backup shop --to /backups/shop-monday\n  tidegate backup shop --to /backups/shop-tuesday --since /backups/shop-monday   what is the same takes no room again\n  tidegate backup verify /backups/shop-tuesday                                  is every file what was written?\n  tidegate restore /backups/shop-tuesday --to shop\n\nIt copies the data directory with those of all environments: log, state, dedup index, store, catalog, and warehouses in SQLite that\nlie in it. The server may run or not, and waits for nothing. The files of the workspace are not in it, and neither is the key that\nsecrets are sealed under (instance.key): keep both elsewhere. The log holds personal data, and so does its backup; what is forgotten\nlater is still in it (docs/backup.md). (A workspace in a folder that has the name of a command is ./verify.)"
)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "DIR", required = true)]
    to: Option<PathBuf>,
    /// An earlier backup: files that it has too are linked, not written again
    #[arg(long, value_name = "BACKUP")]
    since: Option<PathBuf>,
    /// Put the instance key into it as well: whoever has the backup has every secret of the catalog then
    #[arg(long)]
    with_instance_key: bool,
}

#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    /// Hold every file of a backup against its SHA-256; exit code 1 when one is missing or another one
    Verify {
        /// The backup
        #[arg(value_name = "BACKUP")]
        from: PathBuf,
    },
}

pub(super) fn run(args: &BackupArgs, json: bool) -> CommandDone {
    if let Some(BackupCommand::Verify { from }) = &args.command {
        let progress = BackupProgress::begin(json);
        let verified = backup::verify(from, &mut |what| progress.tell(what));
        progress.end();
        let contents = verified?;
        if json {
            println!(
                "{}",
                json!({"ok": true, "backup": from.display().to_string(), "contents": shown_contents(&contents)})
            );
        } else {
            println!("{} {}: every file is what was written", style::good("ok"), from.display());
            print_contents(&contents);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outline = args.workspace.outline()?;
    let to = args.to.clone().unwrap_or_default();
    let order = BackupOrder {
        data: &outline.data,
        to: &to,
        since: args.since.as_deref(),
        with_instance_key: args.with_instance_key,
    };
    let progress = BackupProgress::begin(json);
    let taken = backup::take(&order, &mut |what| progress.tell(what));
    progress.end();
    let taken = taken?;
    if json {
        let shown = shown_contents(&taken.contents);
        println!(
            "{}",
            json!({
                "ok": true, "backup": to.display().to_string(), "linked_bytes": taken.linked_bytes, "contents": shown,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {} is a backup of {}", style::good("ok"), to.display(), outline.data.display());
    print_contents(&taken.contents);
    if args.since.is_some() {
        println!("  {} bytes of it are those of the earlier backup", style::count(taken.linked_bytes));
    }
    Ok(ExitCode::SUCCESS)
}
