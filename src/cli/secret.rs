//! `tidegate secret`: values that a running server keeps sealed, and that no command shows.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, secret_input, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SecretCommand {
    /// List secrets: when each was changed last, and by how many objects it is named
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Keep a value under a name: from standard input, or asked for without showing it. What names it uses the new one at once
    #[command(
        after_help = "Examples:\n  tidegate secret set crm-key                     asks for it\n  tidegate secret set crm-key < key.pem           all of a file, but for the end of its last line\n\nDocuments name it as secret:crm-key."
    )]
    Set {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Delete a secret that nothing names any more
    Delete {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// List the objects that name a secret
    UsedBy {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

const NAME_CHARS_MAX: usize = 80;
/// No secret is longer.
const VALUE_BYTES_MAX: u64 = 64 << 10;
const SECRET: &str = "secret";

pub(super) fn run(command: &SecretCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            SecretCommand::List { catalog } => {
                let secrets = catalog.client()?.secrets().await?;
                if json {
                    print_json(&secrets);
                    return Ok(ExitCode::SUCCESS);
                }
                let mut table = style::table(&["name", "version", "revision", "changed", "by", "named by"]);
                for secret in secrets {
                    table.add_row([
                        style::plain(&secret.name, NAME_CHARS_MAX),
                        secret.version.to_string(),
                        secret.revision.to_string(),
                        secret.changed_at,
                        style::plain(
                            secret.changed_by_name.or(secret.changed_by).as_deref().unwrap_or("the server"),
                            NAME_CHARS_MAX,
                        ),
                        objects(secret.used_by),
                    ]);
                }
                println!("{table}");
            }
            SecretCommand::Set { name, catalog } => {
                let client = catalog.client()?;
                let done = client.write_secret(name, value(name)?).await?;
                if json {
                    print_json(&done);
                    return Ok(ExitCode::SUCCESS);
                }
                let is_same = done.objects.iter().all(|object| object.done == "unchanged");
                let what = if is_same { "has that value already" } else { "is kept, and what names it uses it" };
                println!("the secret {} {what}", style::plain(name, NAME_CHARS_MAX));
            }
            SecretCommand::Delete { name, catalog } => {
                let done = catalog.client()?.delete(SECRET, name).await?;
                if json {
                    print_json(&done);
                } else {
                    println!("the secret {} is deleted", style::plain(name, NAME_CHARS_MAX));
                }
            }
            SecretCommand::UsedBy { name, catalog } => {
                let used = catalog.client()?.used_by(SECRET, name).await?;
                if json {
                    print_json(&used);
                    return Ok(ExitCode::SUCCESS);
                }
                for object in &used.objects {
                    println!("{} {}", object.kind, style::plain(&object.name, NAME_CHARS_MAX));
                }
                if used.hidden > 0 {
                    println!("and {} more that you may not see", style::count(used.hidden));
                }
                if used.objects.is_empty() && used.hidden == 0 {
                    println!("nothing names it");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn objects(count: u64) -> String {
    match count {
        0 => "nothing".to_owned(),
        1 => "1 object".to_owned(),
        many => format!("{} objects", style::count(many)),
    }
}

/// The value: what is piped in, with all its lines, or what is typed.
fn value(name: &str) -> Result<String, CommandFailure> {
    if std::io::stdin().is_terminal() {
        return filled(secret_input::read_new(&format!("value of {name}"))?);
    }
    let mut text = String::new();
    std::io::stdin().lock().take(VALUE_BYTES_MAX + 2).read_to_string(&mut text)?;
    let end = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(end);
    if text.ends_with('\r') {
        text.pop();
    }
    if text.len() as u64 > VALUE_BYTES_MAX {
        let message = format!("a secret has {VALUE_BYTES_MAX} bytes at most; nothing was changed");
        return Err(CommandFailure::Failed(message));
    }
    filled(text)
}

fn filled(value: String) -> Result<String, CommandFailure> {
    if value.is_empty() {
        let message = "the value is empty, and nothing was changed; pipe it in, or type it at a terminal";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    Ok(value)
}
