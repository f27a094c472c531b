//! `tidegate promote`: a workspace of a running server gets what another one has.

use std::process::ExitCode;

use tidegate_api_types::control::FolderApplied;
use tidegate_api_types::object::ObjectName;
use tidegate_api_types::promotion::PromoteObjects;

use super::change_wish::{EndingArgs, exit_code};
use super::client::{CatalogClient, ClientError, TokenArgs, server_default};
use super::object::print_json;
use super::{CommandDone, CommandFailure, check, reload, runtime, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate promote --from staging --to production --dry-run     what would change, field by field\n  tidegate promote --from staging --to production               make it so\n  tidegate promote --from staging --to production --kind function --name redact\n\nAll of it is done or nothing, and what runs in --to follows before the answer. Write keys and the values of secrets stay where\nthey are: write `secret:NAME` where workspaces differ, and give each a value of its own. What --to has and --from does not stays,\nunless --prune is given; what the folder of that environment manages is left alone, unless --take-over is.\n\nExit code 0 when it is done or nothing was different, 1 when it was refused, 2 when it is done and an object of it does not run\nas it is wanted."
)]
pub(super) struct PromoteArgs {
    /// The workspace that has what the other one shall have
    #[arg(long, value_name = "NAME")]
    from: String,
    /// The workspace that shall have it
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Only this object: of this kind, with --name
    #[arg(long, value_name = "KIND", requires = "name")]
    kind: Option<String>,
    /// Only the objects of these names, of --kind; may be repeated
    #[arg(long, value_name = "NAME", requires = "kind")]
    name: Vec<String>,
    /// Also delete what was promoted or applied there and is not in --from
    #[arg(long, conflicts_with = "kind")]
    prune: bool,
    /// Also take over what is there and nobody manages, or the folder of that environment does
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    endings: EndingArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Only if the catalog is at this revision
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// The admin API of the server [default: that of the context, else http://127.0.0.1:8089]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    access: TokenArgs,
}

pub(super) fn run(args: &PromoteArgs, json: bool) -> CommandDone {
    let client = args.access.client_or(args.server.as_deref(), || Ok(server_default()))?;
    let client = CatalogClient::new(client, None);
    runtime()?.block_on(async {
        match client.promote(&asked(args)).await {
            Ok(done) => {
                if json {
                    print_json(&done);
                } else {
                    print(args, &done);
                    note_what_runs(&client, &args.to).await;
                }
                Ok(exit_code(&done))
            }
            Err(ClientError::Refused(problem)) if !problem.problems.is_empty() => {
                check::report_with(&reload::problems(&problem), json, "nothing was changed");
                Ok(ExitCode::FAILURE)
            }
            Err(error) => Err(CommandFailure::from(error)),
        }
    })
}

/// What no environment runs is kept; whoever has mistyped its name should hear that. The promotion is done, whatever is answered here.
async fn note_what_runs(client: &CatalogClient, to: &str) {
    let Ok(running) = client.environments().await else { return };
    if !running.iter().any(|name| name == to) {
        let names = running.join(", ");
        eprintln!(
            "{} no environment {to:?} runs on this server, so this is kept and does not run; there are {names}",
            style::bold("note:")
        );
    }
}

fn asked(args: &PromoteArgs) -> PromoteObjects {
    let kind = args.kind.clone().unwrap_or_default();
    let named = |name: &String| ObjectName { kind: kind.clone(), name: name.clone() };
    PromoteObjects {
        from: args.from.clone(),
        to: args.to.clone(),
        objects: args.name.iter().map(named).collect(),
        prune: args.prune,
        take_over: args.take_over,
        dry_run: args.dry_run,
        base_revision: args.expect,
        drain: args.endings.drain.clone(),
        abandon: args.endings.abandon.clone(),
    }
}

fn print(args: &PromoteArgs, done: &FolderApplied) {
    reload::print_applied(done, &format!("not in {}", args.from));
    let FolderApplied { created, updated, deleted, revision, .. } = done;
    match (created + updated + deleted, done.dry_run) {
        (0, _) => println!("{} has what {} has; the catalog is at revision {revision}", args.to, args.from),
        (_, true) => println!(
            "{created} to add, {updated} to change, {deleted} to remove in {}; nothing was changed. Planned from revision {revision}",
            args.to
        ),
        (_, false) => println!(
            "{created} added, {updated} changed, {deleted} removed in {}; the catalog is at revision {revision}",
            args.to
        ),
    }
}
