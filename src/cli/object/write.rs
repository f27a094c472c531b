//! `tidegate object create`, `update` and `edit`: what an object says, from a file or from an editor.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tidegate_api_types::control::{DraftAction, DraftEdit, ProposeDraft};
use tidegate_api_types::object::{ChangeDone, NewObject, ShownObject};
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_catalog::ObjectId;

use super::super::client::{CatalogClient, ClientError, WriteManner};
use super::super::{CommandDone, CommandFailure, style};
use super::{CatalogArgs, NAME_CHARS_MAX, print_json, spec_text};
use crate::config::environment;

/// What is said of an object.
#[derive(Debug, clap::Args)]
struct SpecArgs {
    /// source, function, lookup, destination, sync, domain, event, component, group, role, …
    kind: String,
    name: String,
    /// The spec, in YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// A label; may stand several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Who answers for it: the name of a user, or the id of a user or a token
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "draft")]
    dry_run: bool,
    /// Propose it under this title, for somebody else to approve
    #[arg(long, value_name = "TITLE")]
    draft: Option<String>,
    #[command(flatten)]
    catalog: CatalogArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    said: SpecArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UpdateArgs {
    #[command(flatten)]
    said: SpecArgs,
    /// Only if the object is still of this revision [default: the one that is read just before]
    #[arg(long, value_name = "REVISION", conflicts_with = "draft")]
    if_revision: Option<u64>,
    /// Change what the files of a folder manage all the same; the next apply of the folder undoes it
    #[arg(long, conflicts_with = "draft")]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct EditArgs {
    kind: String,
    name: String,
    /// Change what the files of a folder manage all the same; the next apply of the folder undoes it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
}

/// `team=web`.
fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let parts = parts.ok_or_else(|| "a label is a name and a value; write team=web".to_owned())?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// The id of a user or a token: as it was given, or that of the user of this name.
pub(super) async fn owner_id(client: &CatalogClient, named: &str) -> Result<String, ClientError> {
    match ObjectId::parse(named) {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Ok(client.object("user", named).await?.id),
    }
}

pub(super) async fn create(CreateArgs { said }: &CreateArgs, json: bool) -> CommandDone {
    let spec = spec_text::spec(&said.file, &spec_text::read(&said.file)?)?;
    let client = said.catalog.client()?;
    let owner = match &said.owner {
        Some(owner) => Some(owner_id(&client, owner).await?),
        None => None,
    };
    let labels = said.labels.iter().cloned().collect();
    let new = NewObject { name: said.name.clone(), labels, owner, spec };
    if let Some(title) = &said.draft {
        let (action, kind) = (DraftAction::Create, said.kind.clone());
        return propose(&client, title, DraftEdit { action, kind, object: None, content: Some(new) }, json).await;
    }
    let manner = WriteManner { dry_run: said.dry_run, ..WriteManner::default() };
    let done = client.create_with(&said.kind, &new, manner).await.map_err(refused)?;
    told(&done, json);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn update(UpdateArgs { said, if_revision, force }: &UpdateArgs, json: bool) -> CommandDone {
    let spec = spec_text::spec(&said.file, &spec_text::read(&said.file)?)?;
    let client = said.catalog.client()?;
    let there = client.object(&said.kind, &said.name).await?;
    let owner = match &said.owner {
        Some(owner) => Some(owner_id(&client, owner).await?),
        None => there.owner,
    };
    let labels: BTreeMap<String, String> =
        if said.labels.is_empty() { there.labels } else { said.labels.iter().cloned().collect() };
    let new = NewObject { name: there.name, labels, owner, spec };
    if let Some(title) = &said.draft {
        let (action, kind) = (DraftAction::Update, said.kind.clone());
        let edit = DraftEdit { action, kind, object: Some(there.id), content: Some(new) };
        return propose(&client, title, edit, json).await;
    }
    let revision = Some(if_revision.unwrap_or(there.revision));
    let manner = WriteManner { revision, dry_run: said.dry_run, force: *force };
    let done = client.update_with((&said.kind, &there.id), &new, manner).await.map_err(refused)?;
    told(&done, json);
    Ok(ExitCode::SUCCESS)
}

/// Proposes one edit for somebody else to approve.
pub(super) async fn propose(client: &CatalogClient, title: &str, edit: DraftEdit, json: bool) -> CommandDone {
    let asked = ProposeDraft { title: title.to_owned(), edits: vec![edit] };
    let draft = client.propose_draft(&asked).await.map_err(refused)?;
    if json {
        print_json(&draft);
    } else {
        println!("proposed as the draft {0}; somebody else approves it: `tidegate draft approve {0}`", draft.id);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn edit(args: &EditArgs, json: bool) -> CommandDone {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let message = "`object edit` opens an editor, and this is no terminal; use `object get --json` and `object update -f FILE`";
        return Err(CommandFailure::Failed(message.to_owned()));
    }
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(environment).find(|editor| !editor.trim().is_empty());
    let Some(editor) = editor else {
        let message = "no editor is named; set EDITOR, e.g. `export EDITOR=vi`";
        return Err(CommandFailure::Failed(message.to_owned()));
    };
    let client = args.catalog.client()?;
    let there = client.object(&args.kind, &args.name).await?;
    let before = serde_json::to_string_pretty(&there.spec)? + "\n";
    let mut opened = tempfile::Builder::new().prefix("tidegate-").suffix(".json").tempfile()?;
    opened.write_all(before.as_bytes())?;
    opened.flush()?;
    let path = opened.into_temp_path();
    let sent = send_edited(&client, args, there, (&editor, &path)).await;
    match sent {
        Ok(Some(done)) => told(&done, json),
        Ok(None) => println!("nothing is different, and nothing was changed"),
        Err(failure) => {
            // What was written is worth more than the message.
            eprintln!("{} {}", style::bold("what you wrote is kept:"), path.keep()?.display());
            return Err(failure);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has a file edited and sends what it says then; none where that is the same.
async fn send_edited(
    client: &CatalogClient,
    args: &EditArgs,
    there: ShownObject,
    (editor, path): (&str, &Path),
) -> Result<Option<ChangeDone>, CommandFailure> {
    let spec = spec_text::spec(path, &edited(editor, path)?)?;
    if spec == there.spec {
        return Ok(None);
    }
    let ShownObject { id, name, labels, owner, revision, .. } = there;
    let new = NewObject { name, labels, owner, spec };
    let manner = WriteManner { revision: Some(revision), dry_run: false, force: args.force };
    client.update_with((&args.kind, &id), &new, manner).await.map(Some).map_err(refused)
}

/// What somebody made of a file in their editor.
fn edited(editor: &str, path: &Path) -> Result<String, CommandFailure> {
    // It may have options, as in `code --wait`.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(path).status();
    let failed =
        |reason: String| CommandFailure::Failed(format!("the editor {editor:?} {reason}; nothing was changed"));
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(failed(format!("ended with {status}"))),
        Err(error) => return Err(failed(format!("could not be started: {error}"))),
    }
    spec_text::read(path)
}

/// Why an object was not written. Where the workspace would have problems, each with its file.
fn refused(error: ClientError) -> CommandFailure {
    match error {
        ClientError::Refused(problem) if !problem.problems.is_empty() => {
            let each = problem.problems.iter().map(|one| {
                let WorkspaceProblem { file, line, message, fix } = one;
                format!("\n{file}:{line}: {message}\n  fix: {fix}")
            });
            CommandFailure::Failed(format!("the server says: {}{}", problem.detail, each.collect::<String>()))
        }
        error => error.into(),
    }
}

fn told(done: &ChangeDone, json: bool) {
    if json {
        print_json(done);
        return;
    }
    for object in &done.objects {
        let (kind, name) = (style::plain(&object.kind, NAME_CHARS_MAX), style::plain(&object.name, NAME_CHARS_MAX));
        match (done.dry_run, object.done.as_str()) {
            (_, "unchanged") => println!("{kind} {name} says that already; nothing was changed"),
            (true, what) => println!("{kind} {name} would be {what}; nothing was changed"),
            (false, what) => println!("{kind} {name} is {what}; revision {}", object.revision),
        }
    }
}
