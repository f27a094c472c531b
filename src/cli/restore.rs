//! `tidegate restore`: a data directory is made of a backup.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::backup::{BackupProgress, print_contents, shown_contents};
use super::{CommandDone, CommandFailure, style};
use crate::app::backup::{self, InstanceKeyCopy, RestoreOrder};
use crate::app::paths;
use crate::config::Outline;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate restore /backups/shop-monday --to shop --instance-key /safe/instance.key\n  tidegate restore /backups/shop-monday --to shop --data /var/lib/shop\n\nEvery file of the backup is verified before anything is written, and the data directory is there whole or not at all. One that is not\nempty is refused. The next start says what follows from the time between the backup and now (docs/backup.md)."
)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "BACKUP")]
    from: PathBuf,
    /// The workspace's folder
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The data directory [default: `data` of tidegate.yaml]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The file instance.key of the data directory that was backed up, if the backup has it not
    #[arg(long, value_name = "FILE")]
    instance_key: Option<PathBuf>,
}

pub(super) fn run(args: &RestoreArgs, json: bool) -> CommandDone {
    let outline = Outline::read(&args.to, args.data.as_deref()).map_err(CommandFailure::Problems)?;
    let order = RestoreOrder { from: &args.from, data: &outline.data, instance_key: args.instance_key.as_deref() };
    let progress = BackupProgress::begin(json);
    let restored = backup::restore(&order, &mut |what| progress.tell(what));
    progress.end();
    let contents = restored?;
    let needs_key = contents.instance_key == InstanceKeyCopy::LeftOut && args.instance_key.is_none();
    if json {
        let data = outline.data.display().to_string();
        println!(
            "{}",
            json!({
                "ok": true, "data": data, "needs_instance_key": needs_key, "contents": shown_contents(&contents),
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} {} is what it was at {}",
        style::good("ok"),
        outline.data.display(),
        style::plain(&contents.begun_at, 40)
    );
    print_contents(&contents);
    if needs_key {
        let place = paths::instance_key(&outline.data);
        println!("Before the start put the instance key of that time at {}", style::bold(&place.display().to_string()));
    }
    println!("Whoever was forgotten since is in it again: forget them once more (tidegate privacy forget)");
    println!("Run it:     tidegate serve {}", args.to.display());
    Ok(ExitCode::SUCCESS)
}
