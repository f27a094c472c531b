//! `tidegate user` and `tidegate role`: who may do what on a running server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_api_types::object::{ChangeDone, NewObject, ObjectQuery};

use super::client::CatalogClient;
use super::object::{CatalogArgs, print_json, print_list};
use super::{CommandDone, CommandFailure, runtime};

#[derive(Debug, clap::Subcommand)]
pub(super) enum UserCommand {
    /// List users
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make a user
    Create {
        name: String,
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Give a user a role in a workspace, through a group that has it; the group is made if it is not there
    Grant {
        name: String,
        /// admin, editor, draft_editor, viewer, or a role of your own
        #[arg(long)]
        role: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Let a user and their tokens in no more
    Disable {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Delete a user
    Delete {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum RoleCommand {
    /// List roles of your own; admin, editor, draft_editor and viewer are always there
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make a role of the grants in a JSON file, or give it these grants
    Set {
        name: String,
        /// `{"create": ["source"], "access": [{"level": "connect", "on": {"kind": "destination"}}]}`
        #[arg(long, value_name = "FILE")]
        grants: PathBuf,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Delete a role
    Delete {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

const USER: &str = "user";
const GROUP: &str = "group";
const ROLE: &str = "role";
/// Where roles count that no workspace is named for.
const WORKSPACE_DEFAULT: &str = crate::api::WORKSPACE_DEFAULT;

pub(super) fn run_user(command: &UserCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let done = match command {
            UserCommand::List { catalog } => return list(&catalog.client()?, USER, json).await,
            UserCommand::Create { name, email, catalog } => {
                let spec = json!({ "email": email });
                catalog.client()?.create(USER, &new(name, spec)).await?
            }
            UserCommand::Grant { name, role, catalog } => {
                let workspace = catalog.workspace().unwrap_or(WORKSPACE_DEFAULT);
                grant(&catalog.client()?, name, role, workspace).await?
            }
            UserCommand::Disable { name, catalog } => {
                let client = catalog.client()?;
                let user = client.object(USER, name).await?;
                let (mut spec, revision) = (user.spec, user.revision);
                spec["is_disabled"] = true.into();
                let content = NewObject { name: user.name, labels: user.labels, owner: user.owner, spec };
                client.update(USER, (name, revision), &content).await?
            }
            UserCommand::Delete { name, catalog } => catalog.client()?.delete(USER, name).await?,
        };
        told(&done, json)
    })
}

pub(super) fn run_role(command: &RoleCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        let done = match command {
            RoleCommand::List { catalog } => return list(&catalog.client()?, ROLE, json).await,
            RoleCommand::Set { name, grants, catalog } => {
                let text = std::fs::read_to_string(grants);
                let failed =
                    |error: &dyn std::fmt::Display| CommandFailure::Failed(format!("{}: {error}", grants.display()));
                let text = text.map_err(|error| failed(&error))?;
                let spec: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
                let client = catalog.client()?;
                let query = ObjectQuery { prefix: Some(name.clone()), ..ObjectQuery::default() };
                let there = client.objects(ROLE, &query).await?.into_iter().find(|role| role.name == *name);
                match there {
                    Some(role) => {
                        let content = NewObject { labels: role.labels, owner: role.owner, ..new(name, spec) };
                        client.update(ROLE, (name, role.revision), &content).await?
                    }
                    None => client.create(ROLE, &new(name, spec)).await?,
                }
            }
            RoleCommand::Delete { name, catalog } => catalog.client()?.delete(ROLE, name).await?,
        };
        told(&done, json)
    })
}

/// Puts a user into the group that has this role in this workspace.
async fn grant(client: &CatalogClient, user: &str, role: &str, workspace: &str) -> Result<ChangeDone, CommandFailure> {
    let user = client.object(USER, user).await?.id;
    let group = format!("{workspace} {role}");
    let query = ObjectQuery { prefix: Some(group.clone()), ..ObjectQuery::default() };
    let there = client.objects(GROUP, &query).await?.into_iter().find(|found| found.name == group);
    let Some(there) = there else {
        let mut roles = serde_json::Map::new();
        roles.insert(workspace.to_owned(), role.into());
        let spec = json!({ "members": [user], "roles": roles });
        return Ok(client.create(GROUP, &new(&group, spec)).await?);
    };
    let mut spec = there.spec;
    if let Some(members) = spec["members"].as_array_mut()
        && !members.iter().any(|member| *member == *user)
    {
        members.push(user.into());
    }
    let content = NewObject { name: group.clone(), labels: there.labels, owner: there.owner, spec };
    Ok(client.update(GROUP, (&group, there.revision), &content).await?)
}

fn new(name: &str, spec: Value) -> NewObject {
    NewObject { name: name.to_owned(), labels: BTreeMap::new(), owner: None, spec }
}

async fn list(client: &CatalogClient, kind: &str, json: bool) -> CommandDone {
    let objects = client.objects(kind, &ObjectQuery::default()).await?;
    if json {
        print_json(&objects);
    } else {
        print_list(kind, &objects);
    }
    Ok(ExitCode::SUCCESS)
}

fn told(done: &ChangeDone, json: bool) -> CommandDone {
    if json {
        print_json(done);
    } else {
        for object in &done.objects {
            println!("{} {} {} ({})", object.done, object.kind, object.name, object.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}
