//! `tidegate context`: the servers that somebody has signed in at.

use std::process::ExitCode;

use serde_json::json;

use super::client::{KeptContext, KeptContexts};
use super::{CommandDone, CommandFailure, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum ContextCommand {
    /// List the servers that you have signed in at; the one in use has a `*`
    List,
    /// Use another one from now on
    Use { name: String },
    /// Show one: its server, its user, how its token ends
    Show {
        /// [default: the one in use]
        name: Option<String>,
    },
    /// Forget one; its token is not ended: `tidegate logout` does that
    Remove { name: String },
}

const SHOWN_CHARS_MAX: usize = 200;

pub(super) fn run(command: &ContextCommand, json: bool) -> CommandDone {
    let mut kept = KeptContexts::read()?;
    match command {
        ContextCommand::List => list(&kept, json),
        ContextCommand::Show { name } => {
            let Some((name, context)) = kept.chosen(name.as_deref())? else {
                return Err(CommandFailure::Failed("no context is in use; `tidegate login` makes one".to_owned()));
            };
            if json {
                println!("{}", shown(name, context, kept.current.as_deref() == Some(name)));
            } else {
                println!("context  {}", style::plain(name, SHOWN_CHARS_MAX));
                println!("server   {}", style::plain(&context.server, SHOWN_CHARS_MAX));
                println!("user     {}", style::plain(user(context), SHOWN_CHARS_MAX));
                println!("token    …{}", last4(&context.token));
                if let Some(ca_file) = &context.connect.ca_file {
                    println!("trusts   {}", style::plain(&ca_file.display().to_string(), SHOWN_CHARS_MAX));
                }
                if let Some(end) = &context.expires_at {
                    println!("ends     {}", style::plain(end, SHOWN_CHARS_MAX));
                }
            }
        }
        ContextCommand::Use { name } => {
            kept.chosen(Some(name))?;
            kept.current = Some(name.clone());
            kept.write()?;
            told(json, name, "is in use now");
        }
        ContextCommand::Remove { name } => {
            kept.chosen(Some(name))?;
            kept.contexts.remove(name);
            kept.current = kept.current.filter(|current| current != name);
            kept.write()?;
            told(json, name, "is gone");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(json: bool, name: &str, what: &str) {
    if json {
        println!("{}", json!({ "context": name }));
    } else {
        println!("the context {name:?} {what}");
    }
}

fn list(kept: &KeptContexts, json: bool) {
    let is_current = |name: &str| kept.current.as_deref() == Some(name);
    if json {
        let all: Vec<serde_json::Value> =
            kept.contexts.iter().map(|(name, context)| shown(name, context, is_current(name))).collect();
        println!("{}", serde_json::Value::from(all));
        return;
    }
    let mut table = style::table(&["", "context", "server", "user", "ends"]);
    for (name, context) in &kept.contexts {
        let mark = if is_current(name) { "*" } else { "" };
        let ends = context.expires_at.clone().unwrap_or_default();
        let texts = [name.as_str(), &context.server, user(context), &ends];
        let mut row = vec![mark.to_owned()];
        row.extend(texts.map(|text| style::plain(text, SHOWN_CHARS_MAX)));
        table.add_row(row);
    }
    println!("{table}");
}

fn shown(name: &str, context: &KeptContext, is_current: bool) -> serde_json::Value {
    let KeptContext { server, user, expires_at, connect, .. } = context;
    json!({
        "context": name, "current": is_current, "server": server, "user": user, "expires_at": expires_at,
        "ca_file": connect.ca_file,
    })
}

fn user(context: &KeptContext) -> &str {
    context.user.as_deref().unwrap_or("the admin token")
}

/// By which people tell one token from another.
fn last4(token: &str) -> String {
    let chars: Vec<char> = token.chars().collect();
    chars.iter().skip(chars.len().saturating_sub(4)).collect()
}
