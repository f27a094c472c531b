//! `tidegate apply`: a running server takes over what a folder says, from wherever the folder is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_api_types::control::{ApplyFolder, FolderApplied};
use tidegate_api_types::workspace::{FolderDocument, ObjectRef};
use tidegate_document::node::Tree;
use tidegate_document::problem::Problem;

use super::change_wish::{EndingArgs, exit_code};
use super::client::{CatalogClient, ClientError, TokenArgs};
use super::object::print_json;
use super::{CommandDone, CommandFailure, check, reload, runtime, sent_files};
use crate::config::{Outline, WorkspaceDocuments, catalog_kind, written_secret};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate plan shop --server https://tide.example.com     what it would change, and as of which revision\n  tidegate apply shop --server https://tide.example.com    make it so\n  tidegate apply shop --expect 12                          only if nobody has changed anything since the plan\n\nThe whole folder is applied or nothing of it, and what the server runs follows before the answer. Files that documents name\n(components, tables) are sent with them. tidegate.yaml is not: it holds settings of a server. Secrets stay out of documents:\nwrite secret:NAME for a secret of the server's catalog, or ${NAME} for a variable that `catalog_variables` of its tidegate.yaml lists.\n\nExit code 0 when it is applied or nothing was different, 1 when it was refused, 2 when it is applied and an object of it does\nnot run as it is wanted."
)]
pub(super) struct ApplyArgs {
    /// The folder
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// The admin API of the server [default: `admin.listen` of tidegate.yaml, on this machine]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The workspace of the catalog [default: default]
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Also delete what an applied folder manages there and this one does not name any more
    #[arg(long)]
    prune: bool,
    /// Also take over what the folder names and nobody manages, or the server's own folder does
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    endings: EndingArgs,
    /// Say what would be done, and do nothing; files are sent all the same
    #[arg(long)]
    dry_run: bool,
    /// Only if the catalog is at this revision, which a plan was made from
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    #[command(flatten)]
    access: TokenArgs,
}

pub(super) fn run(args: &ApplyArgs, json: bool) -> CommandDone {
    match apply(args, json) {
        Ok(applied) => {
            if json {
                print_json(&applied);
            } else {
                print(&applied);
            }
            Ok(exit_code(&applied))
        }
        Err(CommandFailure::Problems(problems)) => {
            check::report_with(&problems, json, "nothing was changed");
            Ok(ExitCode::FAILURE)
        }
        Err(failure) => Err(failure),
    }
}

fn apply(args: &ApplyArgs, json: bool) -> Result<FolderApplied, CommandFailure> {
    let documents = WorkspaceDocuments::read(&args.dir).map_err(CommandFailure::Problems)?;
    let has_settings = documents.main.as_ref().is_some_and(|main| match &main.value {
        Tree::Map(fields) => !fields.is_empty(),
        _ => false,
    });
    if has_settings && !json {
        println!("tidegate.yaml holds settings of a server, and is not applied");
    }
    let written = documents.as_written().map_err(CommandFailure::Problems)?;
    let (files, mut problems) = sent_files::hashes(&args.dir, &written);
    problems.extend(secrets(&args.dir, &documents, &written));
    if !problems.is_empty() {
        return Err(CommandFailure::Problems(problems));
    }
    let server = match &args.server {
        Some(server) => server.clone(),
        None => {
            let outline = Outline::read(&args.dir, None).map_err(CommandFailure::Problems)?;
            outline.admin_url().map_err(CommandFailure::Problems)?
        }
    };
    let client = CatalogClient::new(args.access.client(&server)?, args.workspace.clone());
    let folder = ApplyFolder {
        documents: written,
        files,
        prune: args.prune,
        take_over: args.take_over,
        base_revision: args.expect,
        drain: args.endings.drain.clone(),
        abandon: args.endings.abandon.clone(),
    };
    runtime()?.block_on(send(&client, args, &folder)).map_err(|failure| match failure {
        SendError::Refused(ClientError::Refused(problem)) if !problem.problems.is_empty() => {
            CommandFailure::Problems(reload::problems(&problem))
        }
        SendError::Refused(error) => error.into(),
        SendError::File(error) => error.into(),
    })
}

/// Why a folder did not arrive.
enum SendError {
    Refused(ClientError),
    File(std::io::Error),
}

/// Sends the folder; the files that the server does not have first.
async fn send(client: &CatalogClient, args: &ApplyArgs, folder: &ApplyFolder) -> Result<FolderApplied, SendError> {
    let missing = match client.apply(folder, args.dry_run).await {
        Err(ClientError::Refused(problem)) if problem.code == "missing-files" => problem.problems,
        answered => return answered.map_err(SendError::Refused),
    };
    for file in &missing {
        let Some(sha256) = folder.files.get(&file.file) else { continue };
        let content = sent_files::read(&args.dir, &file.file).map_err(SendError::File)?;
        client.store_blob(sha256, content).await.map_err(SendError::Refused)?;
    }
    client.apply(folder, args.dry_run).await.map_err(SendError::Refused)
}

/// Secrets that are written down in documents, which are not sent.
fn secrets(dir: &Path, documents: &WorkspaceDocuments, written: &[FolderDocument]) -> Vec<Problem> {
    let problem = |document: &FolderDocument| {
        let field = written_secret(catalog_kind(document.kind, &document.key), &document.document)?;
        let object = documents.objects.get(&ObjectRef::new(document.kind, document.key.as_str()))?;
        let line = object.node.line_at(&format!("/{}", field.replace('.', "/"))).unwrap_or(0);
        let instead = if field.starts_with("write_key") {
            "take it away and make one with `tidegate write-key create`"
        } else {
            "write `secret:NAME` for a secret of the server's catalog, kept with PUT /api/v1/secrets/NAME"
        };
        let message = format!("`{field}` holds a secret that is written down, and nothing of it is sent");
        let fix = format!(
            "{instead}; or write `${{NAME}}` for a variable that `catalog_variables` of the server's tidegate.yaml lists"
        );
        Some(Problem::of_file(object.place(dir), line, message, fix))
    };
    written.iter().filter_map(problem).collect()
}

fn print(applied: &FolderApplied) {
    reload::print_applied(applied, "in no file any more");
    let FolderApplied { created, updated, deleted, revision, .. } = applied;
    match (created + updated + deleted, applied.dry_run) {
        (0, _) => println!("nothing is different from revision {revision}"),
        (_, true) => {
            println!("{created} to add, {updated} to change, {deleted} to remove; nothing was changed");
        }
        (_, false) => {
            println!("{created} added, {updated} changed, {deleted} removed; the catalog is at revision {revision}");
        }
    }
}
