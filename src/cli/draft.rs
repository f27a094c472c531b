//! `tidegate draft`: changes that wait for somebody else to approve them.

use std::process::ExitCode;

use tidegate_api_types::control::{ApproveDraft, ShownDraft, ShownDraftState};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

const TEXT_CHARS_MAX: usize = 200;

#[derive(Debug, clap::Subcommand)]
pub(super) enum DraftCommand {
    /// List drafts, newest first
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// What a draft would do, field by field
    Show {
        id: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Make the change of a draft of somebody else, with your rights
    Approve {
        id: String,
        /// A sync that ends by it, or a source: what waits for it is delivered first
        #[arg(long, value_name = "NAME")]
        drain: Vec<String>,
        /// The same: what waits for it is given up, and counted
        #[arg(long, value_name = "NAME")]
        abandon: Vec<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// End a draft without its change: take your own back, or decline that of somebody else
    Close {
        id: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(command: &DraftCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            DraftCommand::List { catalog } => list((catalog, json)).await?,
            DraftCommand::Show { id, catalog } => print_draft(&catalog.client()?.draft(id).await?, json),
            DraftCommand::Approve { id, drain, abandon, catalog } => {
                let named = ApproveDraft { drain: drain.clone(), abandon: abandon.clone() };
                let done = catalog.client()?.approve_draft(id, &named).await?;
                if json {
                    print_json(&done);
                } else {
                    println!("{} revision {}", style::good("made:"), done.revision);
                }
            }
            DraftCommand::Close { id, catalog } => print_draft(&catalog.client()?.close_draft(id).await?, json),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn list((catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let found = catalog.client()?.drafts().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    let mut table = style::table(&["draft", "title", "state", "objects", "proposed", "author"]);
    for draft in &found.drafts {
        table.add_row([
            draft.id.clone(),
            style::plain(&draft.title, TEXT_CHARS_MAX),
            state(draft).to_owned(),
            draft.objects.len().to_string(),
            draft.proposed_at.clone(),
            style::plain(draft.author_name.as_ref().unwrap_or(&draft.author), TEXT_CHARS_MAX),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn state(draft: &ShownDraft) -> &'static str {
    match draft.state {
        ShownDraftState::Open if draft.stale.is_some() => "stale",
        ShownDraftState::Open => "open",
        ShownDraftState::Approved => "approved",
        ShownDraftState::Declined => "declined",
        ShownDraftState::Withdrawn => "withdrawn",
    }
}

fn print_draft(draft: &ShownDraft, json: bool) {
    if json {
        print_json(draft);
        return;
    }
    let title = style::plain(&draft.title, TEXT_CHARS_MAX);
    let author = style::plain(draft.author_name.as_ref().unwrap_or(&draft.author), TEXT_CHARS_MAX);
    println!("{} {} of {author} is {}: {title}", style::bold("draft:"), draft.id, state(draft));
    for object in &draft.objects {
        println!("{} {} {}", object.action, object.kind, style::plain(&object.name, TEXT_CHARS_MAX));
        for field in &object.fields {
            let shown = |value: Option<&serde_json::Value>| {
                value.map_or_else(|| "nothing".to_owned(), |value| style::plain(&value.to_string(), TEXT_CHARS_MAX))
            };
            let (before, after) = (shown(field.before.as_ref()), shown(field.after.as_ref()));
            println!("  {}: {before} becomes {after}", style::plain(&field.field, TEXT_CHARS_MAX));
        }
    }
}
