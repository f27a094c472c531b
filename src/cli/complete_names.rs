//! `tidegate complete-names`: what may stand next on a command line, asked of the server that the line speaks to. Completion scripts ask; who
//! cannot be asked within a second has no names, and no error is told.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as _, Command, CommandFactory, FromArgMatches as _};
use tidegate_catalog::ObjectKind;
use tokio::time::timeout;

use super::client::{CatalogClient, KeptContexts};
use super::object::CatalogArgs;
use super::{CommandDone, CommandFailure, runtime};

#[derive(Debug, clap::Args)]
pub(super) struct CompleteNamesArgs {
    /// The words behind the name of the program; the last is the one that is being written
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Nobody waits longer for a list.
const PATIENCE: Duration = Duration::from_secs(1);

/// What stands in the place of the last word.
#[derive(Debug, PartialEq, Eq)]
enum NamedPlace {
    Kinds,
    /// Objects of a kind.
    Objects(String),
    /// Write keys of a source.
    WriteKeys(String),
    Contexts,
    Workspaces,
}

/// A command line that is not done.
#[derive(Debug, Default, PartialEq, Eq)]
struct UnfinishedLine {
    /// The names of the command and of the one within it.
    commands: Vec<String>,
    positionals: Vec<String>,
    /// Options with their values, as they stand.
    options: Vec<(String, String)>,
    /// The option whose value is being written.
    open: Option<String>,
}

impl UnfinishedLine {
    /// Reads the words that are done.
    fn read(command: &Command, words: &[String]) -> Self {
        let (mut line, mut at, mut words) = (Self::default(), command, words.iter());
        while let Some(word) = words.next() {
            let option = word.strip_prefix('-').filter(|rest| !rest.is_empty()).map(|_| word.as_str());
            if let Some(option) = option {
                let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
                let takes_value = |it: &clap::Arg| {
                    let is_it = it.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
                        || it
                            .get_short()
                            .is_some_and(|short| name.strip_prefix('-') == Some(short.to_string().as_str()));
                    is_it && it.get_action().takes_values()
                };
                match value {
                    Some(value) => line.options.push((name.to_owned(), value.to_owned())),
                    None if at.get_arguments().any(takes_value) => match words.next() {
                        Some(value) => line.options.push((name.to_owned(), value.clone())),
                        None => line.open = Some(name.to_owned()),
                    },
                    None => {}
                }
            } else if let Some(within) = at.find_subcommand(word).filter(|_| line.positionals.is_empty()) {
                line.commands.push(within.get_name().to_owned());
                at = within;
            } else {
                line.positionals.push(word.clone());
            }
        }
        line
    }

    /// What the word behind them names.
    fn place(&self) -> Option<NamedPlace> {
        match self.open.as_deref() {
            Some("--context") => return Some(NamedPlace::Contexts),
            Some("--workspace") => return Some(NamedPlace::Workspaces),
            Some("--owner") => return Some(NamedPlace::Objects("user".to_owned())),
            Some(_) => return None,
            None => {}
        }
        let commands: Vec<&str> = self.commands.iter().map(String::as_str).collect();
        let positionals: Vec<&str> = self.positionals.iter().map(String::as_str).collect();
        let objects = |kind: &str| Some(NamedPlace::Objects(kind.to_owned()));
        match (&commands[..], &positionals[..]) {
            (["object", _], []) => Some(NamedPlace::Kinds),
            (["object", "list" | "create"], _) => None,
            (["object", _], [kind]) => objects(kind),
            (["secret", "set" | "delete" | "used-by"], []) => objects("secret"),
            (["write-key" | "source", _], []) => objects("source"),
            (["write-key", "rotate" | "revoke"], [source]) => Some(NamedPlace::WriteKeys((*source).to_owned())),
            (["sync", "rebuild" | "swap"], []) => objects("sync"),
            (["token", "revoke"], []) => objects("token"),
            (["alert", "show" | "test" | "mute" | "unmute"], []) => objects("alert"),
            (["user", "list" | "create"] | ["role", "list"], _) => None,
            (["user", _], []) => objects("user"),
            (["role", _], []) => objects("role"),
            (["context", "use" | "show" | "remove"], []) => Some(NamedPlace::Contexts),
            _ => None,
        }
    }

    /// A client of the server that the line speaks to.
    fn client(&self) -> Result<CatalogClient, CommandFailure> {
        let asked = CatalogArgs::augment_args(Command::new("names").no_binary_name(true));
        let is_asked = |name: &str| asked.get_arguments().any(|it| it.get_long() == name.strip_prefix("--"));
        let options = self.options.iter().filter(|(name, _)| name.starts_with("--") && is_asked(name));
        let words: Vec<String> = options.map(|(name, value)| format!("{name}={value}")).collect();
        let matches = asked.clone().try_get_matches_from(words)?;
        CatalogArgs::from_arg_matches(&matches)?.client()
    }
}

/// Prints what may stand in the place of the last word, a line for each.
pub(super) fn run<C: CommandFactory>(args: &CompleteNamesArgs) -> CommandDone {
    let Some((last, done)) = args.words.split_last() else { return Ok(ExitCode::SUCCESS) };
    let mut command = C::command();
    command.build();
    let line = UnfinishedLine::read(&command, done);
    if let Some(place) = line.place() {
        // Nobody who completes a line wants to read why there is nothing.
        for name in names(&line, &place, last).unwrap_or_default() {
            if name.starts_with(last.as_str()) && !name.chars().any(char::is_control) {
                println!("{name}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(line: &UnfinishedLine, place: &NamedPlace, prefix: &str) -> Result<Vec<String>, CommandFailure> {
    let kinds = ObjectKind::all().map(|kind| kind.name().replace('_', "-"));
    match place {
        NamedPlace::Kinds => return Ok(kinds.collect()),
        NamedPlace::Contexts => return Ok(KeptContexts::read()?.contexts.into_keys().collect()),
        NamedPlace::Objects(_) | NamedPlace::WriteKeys(_) | NamedPlace::Workspaces => {}
    }
    let client = line.client()?;
    let asked = async {
        match place {
            NamedPlace::Objects(kind) => client.names(kind, prefix).await,
            NamedPlace::WriteKeys(source) => {
                let found = client.source_keys(source).await;
                found.map(|found| found.write_keys.into_iter().map(|key| key.name).collect())
            }
            NamedPlace::Workspaces => client.workspaces().await,
            NamedPlace::Kinds | NamedPlace::Contexts => Ok(Vec::new()),
        }
    };
    let runtime = runtime()?;
    let answered = runtime.block_on(async { timeout(PATIENCE, asked).await });
    runtime.shutdown_background();
    Ok(answered??)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;

    fn place(words: &[&str]) -> Option<NamedPlace> {
        let mut command = Cli::command();
        command.build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        UnfinishedLine::read(&command, &words).place()
    }

    #[test]
    fn names_stand_where_a_command_takes_them_whatever_options_are_between() {
        let objects = |kind: &str| Some(NamedPlace::Objects(kind.to_owned()));
        for (words, expected) in [
            (&["object", "get"][..], Some(NamedPlace::Kinds)),
            (&["object", "get", "source"], objects("source")),
            (&["--json", "object", "get", "--server", "http://x", "source"], objects("source")),
            (&["object", "get", "--workspace", "default", "sync"], objects("sync")),
            (&["object", "get", "source", "web"], None),
            (&["object", "create", "source"], None),
            (&["object", "list"], Some(NamedPlace::Kinds)),
            (&["object", "list", "source", "--owner"], objects("user")),
            (&["write-key", "rotate", "web"], Some(NamedPlace::WriteKeys("web".to_owned()))),
            (&["secret", "set"], objects("secret")),
            (&["object", "get", "--context"], Some(NamedPlace::Contexts)),
            (&["object", "get", "--workspace"], Some(NamedPlace::Workspaces)),
            (&["object", "get", "--server"], None),
            (&["serve"], None),
            (&[], None),
        ] {
            assert_eq!(place(words), expected, "{words:?}");
        }
    }
}
