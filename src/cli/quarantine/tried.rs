//! What would become of quarantined events: with what runs, and with an object or a folder as it would be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tidegate_api_types::quarantine::{
    EntriesTried, EntrySelection, ProposedFolder, ProposedObject, TriedEntry, TriedEntryOutcome, TryEntries,
};
use tidegate_api_types::workspace::ObjectRefKind;

use super::super::client::{CatalogClient, ClientError};
use super::super::object::{CatalogArgs, print_json, spec_text};
use super::super::{CommandDone, CommandFailure, sent_files, style};
use crate::config::WorkspaceDocuments;

/// Entries of one request.
const PAGE: u64 = 100;

/// What entries are tried with.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ProposalArgs {
    /// With this object as `--file` would make it, e.g. event purchase
    #[arg(long, num_args = 2, value_names = ["KIND", "NAME"], requires = "file")]
    change: Option<Vec<String>>,
    /// The spec of it, in YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE", requires = "change")]
    file: Option<PathBuf>,
    /// With the contracts, functions, lookups, sources and syncs of this folder; what it does not name stays as it is
    #[arg(long, value_name = "FOLDER", conflicts_with = "change")]
    with: Option<PathBuf>,
}

impl ProposalArgs {
    fn change(&self) -> Result<Option<ProposedObject>, CommandFailure> {
        let (Some([kind, name]), Some(file)) = (self.change.as_deref(), &self.file) else { return Ok(None) };
        let spec = spec_text::spec(file, &spec_text::read(file)?)?;
        Ok(Some(ProposedObject { kind: kind.clone(), name: name.clone(), spec }))
    }

    fn folder(&self) -> Result<Option<ProposedFolder>, CommandFailure> {
        let Some(dir) = &self.with else { return Ok(None) };
        let documents = WorkspaceDocuments::read(dir).and_then(|documents| documents.of_folder());
        let mut documents = documents.map_err(CommandFailure::Problems)?;
        // Nothing is delivered, and nobody is told: what destinations and alerts are does not matter.
        documents.retain(|document| !matches!(document.kind, ObjectRefKind::Destination | ObjectRefKind::Alert));
        let (files, problems) = sent_files::hashes(dir, &documents);
        if problems.is_empty() {
            Ok(Some(ProposedFolder { documents, files }))
        } else {
            Err(CommandFailure::Problems(problems))
        }
    }
}

/// An entry that something else would become of.
#[derive(Debug, Serialize)]
struct ChangedEntry {
    id: u64,
    /// With what runs.
    now: TriedEntryOutcome,
    then: TriedEntryOutcome,
    code: Option<String>,
    reason: Option<String>,
    /// What would be delivered is another event than now.
    is_other_event: bool,
}

/// What would become of entries, and what is different from now.
#[derive(Debug, Serialize)]
struct TriedDifference<'t> {
    #[serde(flatten)]
    then: &'t EntriesTried,
    /// By outcome, how many of them with what runs.
    now: &'t BTreeMap<String, u64>,
    changed: Vec<ChangedEntry>,
}

pub(super) async fn attempt(
    entries: EntrySelection,
    (proposal, most): (&ProposalArgs, u64),
    (catalog, json): (&CatalogArgs, bool),
) -> CommandDone {
    let client = catalog.client()?;
    let (change, folder) = (proposal.change()?, proposal.folder()?);
    let is_proposed = change.is_some() || folder.is_some();
    let asked = TryEntries { entries, ..TryEntries::default() };
    let now = tried(&client, &asked, most).await?;
    if !is_proposed {
        if json {
            print_json(&now);
        } else {
            print(&now);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let with = TryEntries { change, folder, ..asked };
    let then = match tried(&client, &with, most).await {
        Err(ClientError::Refused(problem)) if problem.code == "missing-files" => {
            let missing: Vec<String> = problem.problems.into_iter().map(|problem| problem.file).collect();
            send(&client, (proposal.with.as_deref(), with.folder.as_ref()), &missing).await?;
            tried(&client, &with, most).await?
        }
        answered => answered?,
    };
    let difference = difference(&now, &then);
    if json {
        print_json(&difference);
    } else {
        print_difference(&difference);
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends files that the folder names and the server does not have.
async fn send(
    client: &CatalogClient,
    (dir, folder): (Option<&Path>, Option<&ProposedFolder>),
    missing: &[String],
) -> Result<(), CommandFailure> {
    let (Some(dir), Some(folder)) = (dir, folder) else { return Ok(()) };
    for path in missing {
        let Some(sha256) = folder.files.get(path) else { continue };
        let content = sent_files::read(dir, path)?;
        client.store_blob(sha256, content).await?;
    }
    Ok(())
}

/// Tries entries page by page, at most so many.
async fn tried(client: &CatalogClient, asked: &TryEntries, most: u64) -> Result<EntriesTried, ClientError> {
    let mut whole = EntriesTried::default();
    let (mut from, mut left) = (None, most);
    while left > 0 {
        let page = TryEntries { from, limit: Some(left.min(PAGE)), ..asked.clone() };
        let some = client.try_quarantine(&page).await?;
        left = left.saturating_sub(some.entries.len() as u64);
        for (outcome, entries) in some.summary {
            *whole.summary.entry(outcome).or_default() += entries;
        }
        whole.entries.extend(some.entries);
        whole.masked |= some.masked;
        (from, whole.next) = (some.next, some.next);
        if from.is_none() {
            break;
        }
    }
    Ok(whole)
}

fn difference<'t>(now: &'t EntriesTried, then: &'t EntriesTried) -> TriedDifference<'t> {
    let before: BTreeMap<u64, &TriedEntry> = now.entries.iter().map(|entry| (entry.id, entry)).collect();
    let changed = then.entries.iter().filter_map(|entry| {
        let was = before.get(&entry.id)?;
        let is_other_event = was.delivered != entry.delivered;
        let is_same = was.outcome == entry.outcome && was.code == entry.code && !is_other_event;
        (!is_same).then(|| ChangedEntry {
            id: entry.id,
            now: was.outcome,
            then: entry.outcome,
            code: entry.code.clone(),
            reason: entry.reason.clone(),
            is_other_event,
        })
    });
    TriedDifference { then, now: &now.summary, changed: changed.collect() }
}

fn print(tried: &EntriesTried) {
    let mut table = style::table(&["id", "was", "becomes", "code", "reason"]);
    for entry in tried.entries.iter().filter(|entry| entry.outcome != TriedEntryOutcome::Accepted) {
        table.add_row([
            entry.id.to_string(),
            style::plain(&entry.was, 64),
            entry.outcome.as_str().to_owned(),
            style::plain(entry.code.as_deref().unwrap_or_default(), 64),
            style::plain(entry.reason.as_deref().unwrap_or_default(), 200),
        ]);
    }
    if tried.entries.iter().any(|entry| entry.outcome != TriedEntryOutcome::Accepted) {
        println!("{table}");
    }
    println!("{}", summary(&tried.summary));
    print_more(tried);
}

fn print_difference(difference: &TriedDifference<'_>) {
    let TriedDifference { then, now, changed } = difference;
    if !changed.is_empty() {
        let mut table = style::table(&["id", "now", "then", "code", "reason"]);
        for entry in changed {
            let other = if entry.is_other_event && entry.now == entry.then { ", another event" } else { "" };
            table.add_row([
                entry.id.to_string(),
                entry.now.as_str().to_owned(),
                format!("{}{other}", entry.then.as_str()),
                style::plain(entry.code.as_deref().unwrap_or_default(), 64),
                style::plain(entry.reason.as_deref().unwrap_or_default(), 200),
            ]);
        }
        println!("{table}");
    }
    println!("now:  {}", summary(now));
    println!("then: {}", summary(&then.summary));
    println!("something else would become of {} entries; nothing was changed", style::count(changed.len() as u64));
    print_more(then);
}

fn summary(outcomes: &BTreeMap<String, u64>) -> String {
    if outcomes.is_empty() {
        return "nothing in quarantine is like that".to_owned();
    }
    let said = outcomes.iter().map(|(outcome, entries)| format!("{} {outcome}", style::count(*entries)));
    said.collect::<Vec<_>>().join(", ")
}

fn print_more(tried: &EntriesTried) {
    if tried.next.is_some() {
        println!("there are more: --most tries them");
    }
}
