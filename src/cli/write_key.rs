//! `tidegate write-key`: write keys of a source of a running server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tidegate_api_types::write_key::{CreateWriteKey, CreatedWriteKey, RotateWriteKey, SourceWriteKey, WriteKeyFrom};
use tidegate_document::units;
use tidegate_event::time;

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum WriteKeyCommand {
    /// List the write keys of a source, with what each is used for
    List {
        source: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make a write key; it is shown this once
    Create {
        source: String,
        name: String,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make a write key in the place of another one, which clients may use for a while yet; the new one is shown this once
    Rotate {
        source: String,
        /// The old one: its name or its id
        name: String,
        /// How long clients may use the old one, such as 12h or 7d; 0 ends it at once [default: 7d]
        #[arg(long, value_name = "TIME", value_parser = grace_seconds)]
        grace: Option<u64>,
        /// The name of the new one [default: the old one's with a number behind it]
        #[arg(long, value_name = "NAME")]
        as_name: Option<String>,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Revoke a write key: whoever sends under it gets a 401 from now on
    Revoke {
        source: String,
        /// Its name or its id
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

/// What a new key is.
#[derive(Debug, clap::Args)]
pub(super) struct NewKeyArgs {
    /// From when on it opens nothing: a time such as 2026-12-31T18:00:00Z, or a day, which is its beginning in UTC [default: never]
    #[arg(long, value_name = "TIME", value_parser = end)]
    ends: Option<String>,
    /// A file with a key that clients have already [default: the server makes one]
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
}

const NAME_CHARS_MAX: usize = 80;

pub(super) fn run(command: &WriteKeyCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            WriteKeyCommand::List { source, catalog } => {
                let keys = catalog.client()?.source_keys(source).await?;
                if json {
                    print_json(&keys.write_keys);
                } else {
                    print_keys(&keys.write_keys);
                }
            }
            WriteKeyCommand::Create { source, name, key, catalog } => {
                let (ends_at, value) = (key.ends.clone(), key.value()?);
                let asked = CreateWriteKey { name: name.clone(), ends_at, value };
                tell(&catalog.client()?.create_key(source, &asked).await?, json);
            }
            WriteKeyCommand::Rotate { source, name, grace, as_name, key, catalog } => {
                let (ends_at, value) = (key.ends.clone(), key.value()?);
                let asked = RotateWriteKey { grace_seconds: *grace, name: as_name.clone(), ends_at, value };
                tell(&catalog.client()?.rotate_key((source, name), &asked).await?, json);
            }
            WriteKeyCommand::Revoke { source, name, catalog } => {
                let revoked = catalog.client()?.revoke_key(source, name).await?;
                if json {
                    print_json(&revoked);
                } else if revoked.in_force {
                    println!("{} of {} opens nothing any more", revoked.name, revoked.source);
                }
                if !revoked.in_force {
                    let note = revoked.note.unwrap_or_default();
                    let message = format!("{} is revoked, and the server does not go by it yet: {note}", revoked.name);
                    if json {
                        eprintln!("{message}");
                        return Ok(ExitCode::FAILURE);
                    }
                    return Err(CommandFailure::Failed(message));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl NewKeyArgs {
    /// The key that clients have already.
    fn value(&self) -> Result<Option<String>, CommandFailure> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| {
                format!("--value-file {}: {error}; name a file that holds the key, and nothing else", path.display())
            });
            text.map(|text| text.trim().to_owned()).map_err(CommandFailure::Failed)
        };
        self.value_file.as_ref().map(read).transpose()
    }
}

fn tell(created: &CreatedWriteKey, json: bool) {
    if json {
        print_json(created);
        return;
    }
    println!("{}", created.key);
    let (source, name) = (&created.source, &created.name);
    eprintln!("{} {name} of {source}; keep it, it is not shown again", style::bold("made:"));
    if let (Some(old), Some(until)) = (&created.replaces, &created.grace_until) {
        eprintln!("{old} opens {source} until {until}");
    }
    if let Some(note) = &created.note {
        eprintln!("the server does not go by it yet: {note}");
    }
}

fn print_keys(keys: &[SourceWriteKey]) {
    let mut table = style::table(&["write key", "ends in", "from", "events", "last used", "created", "ends"]);
    for key in keys {
        let name = style::plain(&key.name, NAME_CHARS_MAX);
        let last4 = key.last4.as_ref().map_or_else(String::new, |last4| format!("\u{2026}{last4}"));
        let from = match (key.from, &key.file) {
            (WriteKeyFrom::Api, _) => "API".to_owned(),
            (WriteKeyFrom::File, file) => file.clone().unwrap_or_else(|| "file".to_owned()),
        };
        let last_used = key.last_used.clone().unwrap_or_else(|| "never".to_owned());
        let created = key.created.clone().unwrap_or_else(|| "unknown".to_owned());
        table.add_row([name, last4, from, style::count(key.events), last_used, created, shown_end(key)]);
    }
    println!("{table}");
}

/// When a key ends, and why.
fn shown_end(key: &SourceWriteKey) -> String {
    let over = if key.ended { " (over)" } else { "" };
    let replaced = key.replaced_by.as_ref().map_or_else(String::new, |next| format!(", replaced by {next}"));
    match [&key.ends_at, &key.grace_until].into_iter().flatten().min() {
        Some(end) => format!("{end}{over}{replaced}"),
        None => "never".to_owned(),
    }
}

/// A time as the server takes it; a day is its beginning.
fn end(text: &str) -> Result<String, String> {
    let day = format!("{text}T00:00:00Z");
    let found = [text, &*day].into_iter().find(|text| time::parse(text).is_some());
    found
        .map(str::to_owned)
        .ok_or_else(|| "write a day, such as 2026-12-31, or a time, such as 2026-12-31T18:00:00Z".to_owned())
}

/// Seconds of a time of grace.
fn grace_seconds(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let found = units::duration(text).map(|grace| grace.as_secs()).filter(|seconds| *seconds > 0);
    let most = Duration::from_secs(400 * 24 * 3_600).as_secs();
    found
        .filter(|seconds| *seconds <= most)
        .ok_or_else(|| "write 0, or a time of at most 400 days, such as 12h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_beginning_and_a_time_of_grace_has_a_unit() {
        assert_eq!(end("2026-12-31").unwrap(), "2026-12-31T00:00:00Z");
        assert_eq!(end("2026-12-31T18:00:00+02:00").unwrap(), "2026-12-31T18:00:00+02:00");
        assert!(end("tomorrow").is_err() && end("2026-13-01").is_err());
        assert_eq!((grace_seconds("0"), grace_seconds("7d"), grace_seconds("12h")), (Ok(0), Ok(604_800), Ok(43_200)));
        assert!(grace_seconds("7").is_err() && grace_seconds("401d").is_err() && grace_seconds("1 ms").is_err());
    }
}
