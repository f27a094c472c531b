//! `tidegate token`: API tokens of a running server.

use std::process::ExitCode;

use tidegate_api_types::control::{CreateToken, ShownTokenForm};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, runtime, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; it is shown this once. A token makes no tokens: this takes the admin token (`--token tg_…`), or make it on the
    /// page /people of the console
    Create {
        name: String,
        /// The user in whose name the admin token makes it [default: admin]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// For a program, and not for a person
        #[arg(long)]
        service: bool,
        /// When it ends, from today on: 1 to 400 [default: 90]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=400))]
        days: Option<u64>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// List tokens, with when each was used last
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// End a token, one of your own or, as an admin, any: whoever shows it is let in no more
    Revoke {
        /// Its name or its id
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

const NAME_CHARS_MAX: usize = 80;

pub(super) fn run(command: &TokenCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            TokenCommand::Create { name, user, service, days, catalog } => {
                let asked = CreateToken {
                    name: name.clone(),
                    form: if *service { ShownTokenForm::Service } else { ShownTokenForm::Person },
                    grants: None,
                    days: *days,
                    user: user.clone(),
                };
                let created = catalog.client()?.create_token(&asked).await?;
                if json {
                    print_json(&created);
                } else {
                    println!("{}", created.token);
                    eprintln!("{} keep it, it is not shown again", style::bold("made:"));
                }
            }
            TokenCommand::List { catalog } => {
                let tokens = catalog.client()?.tokens().await?.tokens;
                if json {
                    print_json(&tokens);
                    return Ok(ExitCode::SUCCESS);
                }
                let mut table = style::table(&["name", "ends in", "last used", "ends", "user", "id"]);
                for token in tokens {
                    let ends = if token.expired { format!("{} (over)", token.expires_at) } else { token.expires_at };
                    let name = style::plain(&token.name, NAME_CHARS_MAX);
                    let last_used = token.last_used.unwrap_or_else(|| "never".to_owned());
                    let user = style::plain(&token.maker_name.unwrap_or(token.maker), NAME_CHARS_MAX);
                    table.add_row([name, format!("…{}", token.last4), last_used, ends, user, token.id]);
                }
                println!("{table}");
            }
            TokenCommand::Revoke { name, catalog } => {
                let done = catalog.client()?.delete("token", name).await?;
                if json {
                    print_json(&done);
                } else {
                    println!("{name} opens nothing any more");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
