//! What would become of quarantined events: with what runs, or with an object as it would be.

use std::sync::Arc;

use tidegate_api_types::quarantine::{EntriesTried, TriedEntry, TriedEntryOutcome};
use tidegate_api_types::workspace::ObjectRef;
use tidegate_event::record::LoggedRecord;
use tidegate_event::{RetriedParts, decode};
use tidegate_process::telemetry::with_causes;
use tidegate_state::{KeptEntry, KeptOriginal, RetryEnding};
use tokio::time::Instant;

use super::{ObjectTries, TRY_MAX};
use crate::api::{TryEntriesOrder, TryRefusal};
use crate::app::entry_retries::one_sync;
use crate::app::sample::{LeftOut, Sampled, Sampler};
use crate::config::{Workspace, folder_kind};

impl ObjectTries {
    /// Passes each event through the contract and the functions of its source, and, of what one sync stopped, through that sync as far as its
    /// destination.
    pub(super) async fn tried_entries(&self, order: TryEntriesOrder) -> Result<EntriesTried, TryRefusal> {
        let until = Instant::now() + TRY_MAX;
        let TryEntriesOrder { change, entries } = order;
        let mut objects = Vec::new();
        for (kind, name) in change.iter().flat_map(|change| &change.objects) {
            let kind = folder_kind(*kind);
            let kind = kind.ok_or_else(|| TryRefusal::Failed(format!("{name:?} is nothing that events go through")))?;
            objects.push(ObjectRef::new(kind, name.as_str()));
        }
        let wanted = self.wanted(&objects, change.as_ref().map(|change| &change.order)).await?;
        let workspace = &*wanted.whole.1;
        let sampler = Sampler::within(workspace, self.store.clone()).await;
        let sampler = sampler.map_err(|error| TryRefusal::Failed(with_causes(&error)))?;
        let mut tried = EntriesTried::default();
        for (kept, original) in entries {
            if Instant::now() >= until {
                return Err(TryRefusal::TooSlow(TRY_MAX.as_secs()));
            }
            let entry = tried_entry(workspace, &sampler, &kept, original.as_ref()).await;
            *tried.summary.entry(entry.outcome.as_str().to_owned()).or_default() += 1;
            tried.entries.push(entry);
        }
        Ok(tried)
    }
}

/// Of a part of an event that functions do not make any more: as jobs count it.
const NOT_MADE: &str = RetryEnding::NotMade.as_str();
const NOT_MADE_REASON: &str = "functions do not make the part of the event any more that was stopped: it would leave the quarantine and go nowhere";

async fn tried_entry(
    workspace: &Workspace,
    sampler: &Sampler<'_>,
    kept: &KeptEntry,
    original: Option<&KeptOriginal>,
) -> TriedEntry {
    let read = original.and_then(|original| LoggedRecord::read(&original.shared, &original.own).ok());
    let Some(read) = read else {
        return not_retried(kept, "no-original", "nobody has the record any more that it came in");
    };
    let record = read.record();
    if record.problem.is_some() {
        return not_retried(kept, "no-event", "it holds no event; edited it may become one");
    }
    let source: Arc<str> = record.source.into();
    let event = match decode::decode(&record, Arc::clone(&source), kept.entry.id.position) {
        Ok(event) => event,
        Err(refusal) => {
            let code = Some(refusal.code.to_owned());
            return TriedEntry { code, reason: Some(refusal.message), ..of(kept, TriedEntryOutcome::Quarantined) };
        }
    };
    let message_id = Some(event.message_id().to_owned());
    let sampled = match one_sync(kept, &source) {
        Some(sync) if !workspace.syncs.contains_key(&sync) => {
            return not_retried(kept, "no-sync", "the sync that it is for does not run");
        }
        Some(sync) => sampler.pass(&sync, vec![event]).await,
        None => sampler.refined(&source, vec![event]).await,
    };
    TriedEntry { message_id, ..become_of(kept, sampled) }
}

fn become_of(kept: &KeptEntry, sampled: Sampled) -> TriedEntry {
    let Sampled { mut events, violations, left_out, hidden } = sampled;
    let parts = RetriedParts::of(kept.entry.stage, kept.entry.id.part);
    let is_of_several = parts.part > 0 || parts.is_exact;
    let made = events.len();
    events.retain(|event| parts.takes(event.id.part));
    let code = left_out.keys().find_map(|reason| match reason {
        LeftOut::Quarantined { code, .. } => Some(code.clone()),
        _ => None,
    });
    let is_not_made = code.is_none() && events.is_empty() && made > 0;
    let violations: Vec<String> = violations.into_iter().flat_map(|violation| violation.violations).collect();
    let reasons: Vec<String> = left_out.keys().map(ToString::to_string).chain(violations).collect();
    let outcome = match (&code, events.is_empty()) {
        // What stops the parts beside it does not stop it.
        (_, false) if is_of_several => TriedEntryOutcome::Accepted,
        (Some(_), _) => TriedEntryOutcome::Quarantined,
        (None, true) => TriedEntryOutcome::Dropped,
        (None, false) => TriedEntryOutcome::Accepted,
    };
    // What a function writes into an event is delivered, and no reason to show a secret to whoever tries.
    let delivered = events.iter().map(|event| {
        let mut delivered: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap_or_default();
        hidden.clean_json(&mut delivered);
        delivered
    });
    let delivered = delivered.collect();
    if is_not_made {
        let (code, reason) = (Some(NOT_MADE.to_owned()), Some(NOT_MADE_REASON.to_owned()));
        return TriedEntry { code, reason, ..of(kept, outcome) };
    }
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    TriedEntry { code, reason, delivered, ..of(kept, outcome) }
}

fn not_retried(kept: &KeptEntry, code: &str, reason: &str) -> TriedEntry {
    let (code, reason) = (Some(code.to_owned()), Some(reason.to_owned()));
    TriedEntry { code, reason, ..of(kept, TriedEntryOutcome::NotRetried) }
}

fn of(kept: &KeptEntry, outcome: TriedEntryOutcome) -> TriedEntry {
    TriedEntry {
        id: kept.id,
        scope: kept.entry.scope.clone(),
        was: kept.entry.code.clone(),
        message_id: None,
        outcome,
        code: None,
        reason: None,
        delivered: Vec::new(),
    }
}
