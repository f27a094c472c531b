//! `tidegate audit`: whether the audit log of a running server is as it was written, and what is in it; whether events are conserved.

mod conservation;

use std::process::ExitCode;

use tidegate_api_types::control::{AuditQuery, AuditVerdict, ShownCheckpoint, VerifyAudit};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, runtime, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Say whether the log is as it was written: exit code 0, or 2 when it was altered
    Verify {
        /// A place of the log that you kept: its number and its hash, as an earlier call said them; may come several times
        #[arg(long = "checkpoint", value_name = "SEQ:HASH", value_parser = checkpoint)]
        checkpoints: Vec<ShownCheckpoint>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Say whether what was accepted is the sum of what became of it: exit code 0, 1 for a breach, 2 when it cannot be told
    Conservation(Box<conservation::ConservationArgs>),
    /// Print entries as lines of JSON, oldest first
    Export {
        /// Entries of then and later, e.g. 2026-12-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Entries before then
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Only those of this action, e.g. created
        #[arg(long)]
        action: Option<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

/// The log was altered.
const ALTERED: u8 = 2;

fn checkpoint(text: &str) -> Result<ShownCheckpoint, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    let (seq, hash) = parts.filter(|(_, hash)| hash.len() == 64).ok_or("write the number, a colon, and the hash")?;
    Ok(ShownCheckpoint { seq, hash: hash.to_owned() })
}

pub(super) fn run(command: &AuditCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            AuditCommand::Conservation(args) => conservation::run(args, json).await,
            AuditCommand::Verify { checkpoints, catalog } => {
                let asked = VerifyAudit { checkpoints: checkpoints.clone() };
                let verdict = catalog.client()?.verify_audit(&asked).await?;
                if json {
                    print_json(&verdict);
                } else {
                    print(&verdict);
                }
                Ok(if verdict.whole { ExitCode::SUCCESS } else { ExitCode::from(ALTERED) })
            }
            AuditCommand::Export { since, until, action, catalog } => {
                let client = catalog.client()?;
                let mut query = AuditQuery {
                    since: since.clone(),
                    until: until.clone(),
                    action: action.clone(),
                    ..AuditQuery::default()
                };
                loop {
                    let lines = client.export_audit(&query).await?;
                    for line in lines.lines() {
                        println!("{line}");
                    }
                    let last = lines.lines().last().and_then(|line| {
                        serde_json::from_str::<serde_json::Value>(line).ok().and_then(|entry| entry["seq"].as_u64())
                    });
                    match last {
                        Some(last) => query.from = Some(last),
                        None => return Ok(ExitCode::SUCCESS),
                    }
                }
            }
        }
    })
}

fn print(verdict: &AuditVerdict) {
    match (&verdict.head, verdict.altered_at) {
        (Some(head), _) => {
            println!("{} entries, as they were written", style::count(verdict.entries));
            println!("keep this apart from the server: --checkpoint {}:{}", head.seq, head.hash);
        }
        (None, at) => {
            let what = verdict.what.as_deref().unwrap_or_default();
            println!("{} at entry {}: {what}", style::bold("altered"), at.unwrap_or_default());
        }
    }
}
