//! `tidegate object`: what a running server has in its catalog, and what it was before.

pub(super) mod spec_text;
mod try_out;
mod write;

use std::process::ExitCode;

use serde::Serialize;
use tidegate_api_types::control::{DraftAction, DraftEdit};
use tidegate_api_types::object::{ManagedByQuery, ObjectQuery, ShownObject};
use tidegate_api_types::workspace::SyncEnding;

use super::client::{AdminClient, CatalogClient, ServerArgs};
use super::field_difference::VALUE_CHARS_MAX;
use super::{CommandDone, CommandFailure, field_difference, pause, runtime, style};

/// Which server, and which workspace of its catalog.
#[derive(Debug, clap::Args)]
pub(super) struct CatalogArgs {
    #[command(flatten)]
    server: ServerArgs,
}

impl CatalogArgs {
    /// The workspace that was named.
    pub(super) fn workspace(&self) -> Option<&str> {
        self.server.workspace()
    }

    /// A client that knows the token; nothing is connected yet.
    pub(super) fn client(&self) -> Result<CatalogClient, CommandFailure> {
        Ok(CatalogClient::new(self.admin()?, self.workspace().map(str::to_owned)))
    }

    /// The same, for what is of no workspace.
    pub(super) fn admin(&self) -> Result<AdminClient, CommandFailure> {
        self.server.client()
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ObjectCommand {
    /// List the objects of a kind, e.g. source, sync, destination, event, user, group, role
    List {
        kind: String,
        /// Only those whose names begin so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Only those with this text in their names; large and small letters are the same
        #[arg(long, value_name = "TEXT")]
        q: Option<String>,
        /// Only those with this label
        #[arg(long, value_name = "NAME=VALUE")]
        label: Option<String>,
        /// Only those that this user or token answers for: the name of a user, or an id
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Only those that the files of a folder say, or only those that no file says
        #[arg(long, value_name = "WHO", value_parser = ["folder", "nobody"])]
        managed_by: Option<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make an object of a spec
    #[command(
        after_help = "Examples:\n  tidegate object create destination crm -f crm.yaml --label team=sales\n  echo '{\"source\": \"web\", \"destination\": \"crm\"}' | tidegate object create sync web-to-crm -f -\n\nA spec is what the file of such an object says; write `secret:NAME` for what nobody shall read."
    )]
    Create(write::CreateArgs),
    /// Say anew what an object is; labels and owner stay unless they are given
    Update(write::UpdateArgs),
    /// Change the spec of an object in your editor: that of $VISUAL, else of $EDITOR
    Edit(write::EditArgs),
    /// Try a destination or a sync out, which changes nothing: is it there, what may be done there, what would become of events
    #[command(
        after_help = "Examples:\n  tidegate object test destination crm\n  tidegate object test sync web-to-crm --count 5           the newest events of its source\n  tidegate object test sync web-to-crm --events in.jsonl   events as SDKs send them\n  tidegate object test destination new -f new.yaml         one that is not made yet\n\nExit code 1 when something cannot be reached or is not allowed. Values of events take the right to see them."
    )]
    Test(try_out::TryArgs),
    /// Show an object, by its name or its id
    Get {
        kind: String,
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Show what an object was before, newest first
    History {
        kind: String,
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Show what is different between two versions of an object, field by field
    Diff {
        kind: String,
        name: String,
        /// A revision [default: the one before the last change]
        #[arg(long, value_name = "REVISION")]
        from: Option<u64>,
        /// A revision [default: the last change]
        #[arg(long, value_name = "REVISION")]
        to: Option<u64>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Stop a source, a sync or a destination for now: a source takes nothing in, a sync delivers nothing and the log keeps
    /// what waits for it, a destination stops all its syncs
    Pause {
        /// source, sync or destination
        kind: String,
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Let a source, a sync or a destination go on where it stopped
    Resume {
        /// source, sync or destination
        kind: String,
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Delete an object; what it was stays in its history
    Delete {
        kind: String,
        name: String,
        /// Of a sync, or of a source with all its syncs: deliver what waits for it first
        #[arg(long, conflicts_with = "abandon")]
        drain: bool,
        /// Of a sync, or of a source with all its syncs: give up what waits for it, and count it
        #[arg(long)]
        abandon: bool,
        /// Propose it under this title, for somebody else to approve
        #[arg(long, value_name = "TITLE", conflicts_with_all = ["drain", "abandon"])]
        draft: Option<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

/// Something is different.
const DIFFERS: u8 = 2;
const NAME_CHARS_MAX: usize = 80;

pub(super) fn run(command: &ObjectCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            ObjectCommand::List { kind, prefix, q, label, owner, managed_by, catalog } => {
                let client = catalog.client()?;
                let owner = match owner {
                    Some(owner) => Some(write::owner_id(&client, owner).await?),
                    None => None,
                };
                let managed_by = managed_by.as_deref().map(|who| match who {
                    "folder" => ManagedByQuery::Folder,
                    _ => ManagedByQuery::Nobody,
                });
                let (prefix, q, label) = (prefix.clone(), q.clone(), label.clone());
                let query = ObjectQuery { prefix, q, label, owner, managed_by, ..ObjectQuery::default() };
                let objects = client.objects(kind, &query).await?;
                if json {
                    print_json(&objects);
                } else {
                    print_list(kind, &objects);
                }
            }
            ObjectCommand::Get { kind, name, catalog } => {
                let object = catalog.client()?.object(kind, name).await?;
                if json {
                    print_json(&object);
                } else {
                    print_object(&object);
                }
            }
            ObjectCommand::History { kind, name, catalog } => {
                let history = catalog.client()?.history(kind, name).await?;
                if json {
                    print_json(&history.versions);
                    return Ok(ExitCode::SUCCESS);
                }
                let mut table = style::table(&["revision", "at", "by", "name", ""]);
                for version in &history.versions {
                    let by = version.changed_by_name.clone().or_else(|| version.changed_by.clone());
                    let by = style::plain(by.as_deref().unwrap_or("the server"), NAME_CHARS_MAX);
                    let what = if version.deleted { "deleted" } else { "" };
                    let name = style::plain(&version.object.name, NAME_CHARS_MAX);
                    let (revision, at) = (version.object.revision.to_string(), version.object.updated_at.clone());
                    table.add_row([revision, at, by, name, what.to_owned()]);
                }
                println!("{table}");
            }
            ObjectCommand::Create(args) => return write::create(args, json).await,
            ObjectCommand::Update(args) => return write::update(args, json).await,
            ObjectCommand::Edit(args) => return write::edit(args, json).await,
            ObjectCommand::Test(args) => return try_out::run(args, json).await,
            ObjectCommand::Pause { kind, name, catalog } => {
                return pause::run(&catalog.client()?, (kind, name), true, json).await;
            }
            ObjectCommand::Resume { kind, name, catalog } => {
                return pause::run(&catalog.client()?, (kind, name), false, json).await;
            }
            ObjectCommand::Delete { kind, name, draft: Some(title), catalog, .. } => {
                let (action, object) = (DraftAction::Delete, Some(name.clone()));
                let edit = DraftEdit { action, kind: kind.clone(), object, content: None };
                return write::propose(&catalog.client()?, title, edit, json).await;
            }
            ObjectCommand::Delete { kind, name, drain, abandon, catalog, .. } => {
                let ending = drain.then_some(SyncEnding::Drain).or(abandon.then_some(SyncEnding::Abandon));
                let done = catalog.client()?.delete_with((kind, name), ending).await?;
                if json {
                    print_json(&done);
                    return Ok(ExitCode::SUCCESS);
                }
                for object in &done.objects {
                    let name = style::plain(&object.name, NAME_CHARS_MAX);
                    let how = if *drain { ", and what waits for it is delivered first" } else { "" };
                    println!("{} {name} is deleted{how}", style::plain(&object.kind, NAME_CHARS_MAX));
                }
            }
            ObjectCommand::Diff { kind, name, from, to, catalog } => {
                let diff = catalog.client()?.diff(kind, name, (*from, *to)).await?;
                if json {
                    print_json(&diff);
                } else if diff.fields.is_empty() {
                    println!("nothing is different");
                } else {
                    diff.fields.iter().for_each(field_difference::print);
                }
                let is_same = diff.fields.is_empty();
                return Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// An answer as the server gave it.
pub(super) fn print_json(answer: &impl Serialize) {
    println!("{}", serde_json::to_value(answer).unwrap_or_default());
}

pub(super) fn print_list(kind: &str, objects: &[ShownObject]) {
    if objects.is_empty() {
        println!("there is no {} that you may see", style::plain(kind, NAME_CHARS_MAX));
        return;
    }
    let mut table = style::table(&["kind", "name", "revision", "owner", "managed", "state", "labels"]);
    for object in objects {
        let labels: Vec<String> = object.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.add_row([
            style::plain(&object.kind, NAME_CHARS_MAX),
            style::plain(&object.name, NAME_CHARS_MAX),
            object.revision.to_string(),
            owner(object),
            managed(object),
            if object.paused { "paused" } else { "" }.to_owned(),
            style::plain(&labels.join(", "), NAME_CHARS_MAX),
        ]);
    }
    println!("{table}");
}

/// Who answers for an object, by name where that is known.
fn owner(object: &ShownObject) -> String {
    let owner = object.owner_name.as_deref().or(object.owner.as_deref());
    style::plain(owner.unwrap_or_default(), NAME_CHARS_MAX)
}

fn managed(object: &ShownObject) -> String {
    let Some(managing) = &object.managed_by else { return String::new() };
    let file = style::plain(managing.file.as_deref().unwrap_or("a folder"), NAME_CHARS_MAX);
    if managing.drifted { format!("{file} (drifted)") } else { file }
}

fn print_object(object: &ShownObject) {
    println!("{} {}", object.kind, style::bold(&style::plain(&object.name, NAME_CHARS_MAX)));
    println!("  id:       {}", object.id);
    println!("  revision: {} of {}", object.revision, object.updated_at);
    if object.owner.is_some() {
        println!("  owner:    {}", owner(object));
    }
    if object.paused {
        println!("  state:    paused");
    }
    if object.managed_by.is_some() {
        println!("  managed:  {}", managed(object));
    }
    for (name, value) in &object.labels {
        println!("  label:    {name}={value}");
    }
    for line in serde_json::to_string_pretty(&object.spec).unwrap_or_default().lines() {
        println!("  {}", style::plain(line, VALUE_CHARS_MAX));
    }
}
