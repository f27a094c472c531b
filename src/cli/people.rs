//! `tidegate user` and `tidegate role`: who may do what on a running server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_api_types::object::{ChangeDone, NewObject, ObjectQuery, ShownObject};
use tidegate_api_types::sign_in::SetPassword;
use tidegate_catalog::{PREBUILT_ROLES, SERVER_WORKSPACE, check_workspace};

use super::client::{AdminClient, CatalogClient};
use super::object::{CatalogArgs, print_json, print_list};
use super::{CommandDone, CommandFailure, runtime, secret_input};

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
    /// Set the password of a user, and end their sessions; it is asked for, or read from standard input
    Password {
        name: String,
        /// It is your own: the one before is asked for as well
        #[arg(long)]
        own: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// List the groups of a user and the roles they give, or put the user into groups and take them out
    Groups {
        name: String,
        /// Put the user into this group; may be given more than once
        #[arg(long, value_name = "GROUP")]
        add: Vec<String>,
        /// Take the user out of this group; may be given more than once
        #[arg(long, value_name = "GROUP")]
        remove: Vec<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Let a user in again who was disabled
    Enable {
        name: String,
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
            UserCommand::Password { name, own, catalog } => {
                return set_password(&catalog.admin()?, name, *own, json).await;
            }
            UserCommand::Groups { name, add, remove, catalog } => {
                return groups(&catalog.client()?, name, (add, remove), json).await;
            }
            UserCommand::Enable { name, catalog } => set_disabled(&catalog.client()?, name, false).await?,
            UserCommand::Disable { name, catalog } => set_disabled(&catalog.client()?, name, true).await?,
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

async fn set_disabled(client: &CatalogClient, name: &str, is_disabled: bool) -> Result<ChangeDone, CommandFailure> {
    let user = client.object(USER, name).await?;
    let (mut spec, revision) = (user.spec, user.revision);
    spec["is_disabled"] = is_disabled.into();
    let content = NewObject { name: user.name, labels: user.labels, owner: user.owner, spec };
    Ok(client.update(USER, (name, revision), &content).await?)
}

async fn set_password(client: &AdminClient, name: &str, is_own: bool, json: bool) -> CommandDone {
    let old = if is_own { Some(secret_input::read("the password that you have")?) } else { None };
    let password = secret_input::read_new(&format!("new password of {name}"))?;
    client.set_password(name, &SetPassword { password, old }).await?;
    if json {
        print_json(&json!({ "user": name }));
    } else {
        println!("the password of {name} is set, and their sessions are over");
    }
    Ok(ExitCode::SUCCESS)
}

/// What groups a user is in, after the changes that are asked for.
async fn groups(client: &CatalogClient, name: &str, (add, remove): (&[String], &[String]), json: bool) -> CommandDone {
    let user = client.object(USER, name).await?.id;
    for (names, is_member) in [(add, true), (remove, false)] {
        for name in names {
            let group = client.object(GROUP, name).await?;
            set_member(client, group, &user, is_member).await?;
        }
    }
    let of_user: Vec<ShownObject> = client.objects(GROUP, &ObjectQuery::default()).await?;
    let of_user: Vec<&ShownObject> = of_user.iter().filter(|group| has_member(group, &user)).collect();
    if json {
        let shown = |group: &&ShownObject| json!({ "group": group.name, "roles": group.spec["roles"] });
        print_json(&of_user.iter().map(shown).collect::<Vec<Value>>());
        return Ok(ExitCode::SUCCESS);
    }
    for group in of_user {
        let roles = group.spec["roles"].as_object().into_iter().flatten();
        let roles: Vec<String> =
            roles.map(|(workspace, role)| format!("{} in {workspace}", role.as_str().unwrap_or_default())).collect();
        println!("{}: {}", group.name, roles.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn has_member(group: &ShownObject, user: &str) -> bool {
    group.spec["members"].as_array().is_some_and(|members| members.iter().any(|member| member == user))
}

/// Makes a user a member of a group, or not; none when they were so already.
async fn set_member(
    client: &CatalogClient,
    group: ShownObject,
    user: &str,
    is_member: bool,
) -> Result<Option<ChangeDone>, CommandFailure> {
    if has_member(&group, user) == is_member {
        return Ok(None);
    }
    let ShownObject { id, name, labels, owner, revision, mut spec, .. } = group;
    let mut members = spec["members"].as_array().cloned().unwrap_or_default();
    members.retain(|member| member != user);
    if is_member {
        members.push(user.into());
    }
    spec["members"] = members.into();
    let content = NewObject { name, labels, owner, spec };
    Ok(Some(client.update(GROUP, (&id, revision), &content).await?))
}

/// Every workspace.
const EVERYWHERE: &str = "*";

/// Whether there is such a role: a group with one that nobody has made yet gives its members nothing, until somebody makes it.
async fn check_role(client: &CatalogClient, role: &str, workspace: &str) -> Result<(), CommandFailure> {
    // What counts everywhere is a role of the server's own workspace.
    let home = if workspace == EVERYWHERE { SERVER_WORKSPACE } else { workspace };
    check_workspace(home).map_err(|problem| CommandFailure::Failed(format!("--workspace: {problem}")))?;
    check_is_there(client, home).await?;
    if PREBUILT_ROLES.contains(&role) || client.names_in(Some(home), ROLE, role).await?.iter().any(|name| name == role)
    {
        return Ok(());
    }
    Err(CommandFailure::Failed(format!(
        "there is no role {role:?} in the workspace {workspace:?}, and nothing was granted: write one of {}; or make the role first: \
         `tidegate role set NAME --grants FILE`",
        PREBUILT_ROLES.join(", ")
    )))
}

/// Kinds of objects of which a workspace that is in use has some, though no environment runs it.
const KEPT_KINDS: [&str; 4] = ["source", "destination", "secret", ROLE];

/// Whether a workspace runs or has anything: a role in one that is mistyped gives nothing.
async fn check_is_there(client: &CatalogClient, workspace: &str) -> Result<(), CommandFailure> {
    if [SERVER_WORKSPACE, WORKSPACE_DEFAULT].contains(&workspace) {
        return Ok(());
    }
    let running = client.environments().await?;
    if running.iter().any(|name| name == workspace) {
        return Ok(());
    }
    for kind in KEPT_KINDS {
        if !client.names_in(Some(workspace), kind, "").await?.is_empty() {
            return Ok(());
        }
    }
    Err(CommandFailure::Failed(format!(
        "no environment {workspace:?} runs on this server, and nothing is kept for it; nothing was granted: write one of {} as \
         --workspace; or write it below `environments` in tidegate.yaml and start the server anew first",
        running.join(", ")
    )))
}

/// Puts a user into a group that gives this role in this workspace and nothing else; one is made if there is none.
async fn grant(client: &CatalogClient, user: &str, role: &str, workspace: &str) -> Result<ChangeDone, CommandFailure> {
    check_role(client, role, workspace).await?;
    let user = client.object(USER, user).await?.id;
    let all = client.objects(GROUP, &ObjectQuery::default()).await?;
    let usual = format!("{workspace} {role}");
    let is_usual_taken = all.iter().any(|group| group.name == usual);
    let gives_this_alone = |group: &ShownObject| {
        let roles = group.spec["roles"].as_object();
        roles.is_some_and(|roles| roles.len() == 1 && roles.get(workspace).and_then(Value::as_str) == Some(role))
    };
    // The one with the usual name before others.
    let found = all.into_iter().filter(gives_this_alone).min_by_key(|group| group.name != usual);
    if let Some(group) = found {
        let there = ChangeDone { revision: group.revision, dry_run: false, repeated: false, objects: Vec::new() };
        return Ok(set_member(client, group, &user, true).await?.unwrap_or(there));
    }
    if is_usual_taken {
        let message = format!(
            "there is a group {usual:?}, and it gives something else than the role {role:?} in {workspace:?}; nothing was granted: \
             rename it, or put the user into a group with `tidegate user groups {user} --add GROUP`"
        );
        return Err(CommandFailure::Failed(message));
    }
    let mut roles = serde_json::Map::new();
    roles.insert(workspace.to_owned(), role.into());
    let spec = json!({ "members": [user], "roles": roles });
    Ok(client.create(GROUP, &new(&usual, spec)).await?)
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
        if done.objects.is_empty() {
            println!("it was so already");
        }
        for object in &done.objects {
            println!("{} {} {} ({})", object.done, object.kind, object.name, object.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}
