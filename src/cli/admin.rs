//! `tidegate admin`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_document::file;
use zeroize::Zeroizing;

use super::{CommandDone, CommandFailure, WorkspaceArgs, runtime, style};
use crate::api::access;
use crate::app::{paths, rekey};
use crate::config::instance_key_of;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AdminCommand {
    /// Make a new admin token; a running server takes it at once, and the old one no more
    Token {
        #[command(flatten)]
        workspace: WorkspaceArgs,
        /// Yes, make a new one
        #[arg(long)]
        reset: bool,
    },
    /// Seal the secrets of the catalog under another instance key, while the server is stopped
    #[command(
        after_help = "Example:\n  openssl rand -hex 32 > new.key\n  tidegate admin rekey shop --new-key-file new.key\n\nWrite keys, tokens, passwords and the audit log stay as they are. A key in the data directory is replaced; one that\n`instance_key` in tidegate.yaml names is yours to replace before the next start. If the command is cut off, run it again.\nBackups of catalog.db from before are still sealed under the key before."
    )]
    Rekey {
        #[command(flatten)]
        workspace: WorkspaceArgs,
        /// The new key: 32 bytes, or their 64 hexadecimal digits
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
        /// The key before [default: the one that the workspace names, or that of the data directory]
        #[arg(long, value_name = "FILE")]
        old_key_file: Option<PathBuf>,
    },
}

const KEY_FILE_BYTES_MAX: u64 = 1 << 10;

pub(super) fn run(command: &AdminCommand, json: bool) -> CommandDone {
    match command {
        AdminCommand::Token { workspace, reset } => token(workspace, *reset, json),
        AdminCommand::Rekey { workspace, new_key_file, old_key_file } => {
            let new = key(new_key_file)?;
            let old = old_key_file.as_deref().map(key).transpose()?;
            let done = runtime()?.block_on(rekey::rekey(&workspace.read()?, old, new))?;
            let rekey::Rekeyed { secrets, before, now, is_in_place } = done;
            if json {
                let answer =
                    serde_json::json!({"secrets": secrets, "before": before, "now": now, "in_place": is_in_place});
                println!("{answer}");
                return Ok(ExitCode::SUCCESS);
            }
            println!("{} secrets are sealed under the key {now}, in place of {before}", style::count(secrets));
            if !is_in_place {
                println!("put the new key where `instance_key` of tidegate.yaml says before you start the server");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The key in a file.
fn key(path: &Path) -> Result<Zeroizing<[u8; 32]>, CommandFailure> {
    let failed = |reason: String| CommandFailure::Failed(format!("{}: {reason}; nothing was changed", path.display()));
    let bytes = file::read(path, KEY_FILE_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
    instance_key_of(&Zeroizing::new(bytes)).ok_or_else(|| {
        failed(
            "this is no key: write 32 random bytes, or their 64 hexadecimal digits, e.g. from `openssl rand -hex 32`"
                .to_owned(),
        )
    })
}

fn token(workspace: &WorkspaceArgs, reset: bool, json: bool) -> CommandDone {
    if !reset {
        let message = "a token is shown only when it is made, because only its hash is kept; add --reset for a new one";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    let token = access::reset(&paths::admin(&workspace.outline()?.data))?;
    if json {
        println!("{}", serde_json::json!({ "token": token }));
    } else {
        println!("{token}");
        eprintln!("{} the token before it is good no more; keep this one, it is not shown again", style::bold("made:"));
    }
    Ok(ExitCode::SUCCESS)
}
