//! The quarantine, as it is asked for here. Who knows the log and what runs is not known here.

use std::pin::Pin;

use serde_json::{Value, json};
use tidegate_api_types::quarantine::EntriesTried;
use tidegate_catalog::{CatalogOrder, ObjectKind};
use tidegate_event::Position;
use tidegate_state::{EntryFilter, EntryScope, KeptEntry, KeptOriginal, State};

use super::SharedApi;
use super::refusal::ApiRefusal;
use super::tries::TryRefusal;

/// Finds the record that a quarantined event came in; a sentence when that fails.
pub type FindOriginal = Box<dyn Fn(&State, Position) -> Result<Option<KeptOriginal>, String> + Send + Sync>;

/// A change that is tried and not made, and the objects that it is of.
#[derive(Debug)]
pub struct ProposedChange {
    pub objects: Vec<(ObjectKind, String)>,
    pub order: CatalogOrder,
}

/// An order to try what would become of quarantined events. Nothing is changed by it.
#[derive(Debug)]
pub struct TryEntriesOrder {
    /// With these objects as they would be; none for what runs now.
    pub change: Option<ProposedChange>,
    /// Each with the record that its event came in, if somebody has it.
    pub entries: Vec<(KeptEntry, Option<KeptOriginal>)>,
}

/// A try on its way.
pub type TryingEntries = Pin<Box<dyn Future<Output = Result<EntriesTried, TryRefusal>> + Send>>;

/// Tries quarantined events.
pub type TryQuarantined = Box<dyn Fn(TryEntriesOrder) -> TryingEntries + Send + Sync>;

/// A filter as a job keeps it.
pub(super) fn entry_filter_text(filter: &EntryFilter) -> String {
    let scopes = filter.scopes.as_ref().map(|scopes| {
        let shown = |scope: &EntryScope| json!({"name": scope.name, "is_sync": scope.is_sync});
        scopes.iter().map(shown).collect::<Vec<Value>>()
    });
    json!({
        "id": filter.id, "code": filter.code, "stage": filter.stage, "scopes": scopes,
        "since_us": filter.since_us, "until_us": filter.until_us, "text": filter.text,
    })
    .to_string()
}

/// The filter that a job keeps. Of a text that is none, a filter that no entry passes.
#[must_use]
pub fn entry_filter_of(text: &str) -> EntryFilter {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return EntryFilter { scopes: Some(Vec::new()), ..EntryFilter::default() };
    };
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let scope = |scope: &Value| EntryScope {
        name: scope["name"].as_str().unwrap_or_default().to_owned(),
        is_sync: scope["is_sync"] == true,
    };
    EntryFilter {
        id: value["id"].as_u64(),
        code: text("code"),
        stage: text("stage"),
        scopes: value["scopes"].as_array().map(|scopes| scopes.iter().map(scope).collect()),
        since_us: value["since_us"].as_i64(),
        until_us: value["until_us"].as_i64(),
        text: text("text"),
    }
}

impl SharedApi {
    /// What would become of quarantined events, or why that cannot be said.
    pub(super) async fn tried_entries(
        &self,
        workspace: &str,
        order: TryEntriesOrder,
    ) -> Result<EntriesTried, ApiRefusal> {
        let engine = self.engine(workspace)?;
        (engine.entry_tries)(order).await.map_err(|refusal| self.not_tried(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_what_it_was_after_a_job_has_kept_it() {
        let filter = EntryFilter {
            id: Some(7),
            code: Some("schema-violation".to_owned()),
            stage: None,
            scopes: Some(vec![EntryScope { name: "web".to_owned(), is_sync: false }]),
            since_us: Some(-5),
            until_us: Some(1_700_000_000_000_000),
            text: Some("a \"quoted\" text".to_owned()),
        };
        assert_eq!(entry_filter_of(&entry_filter_text(&filter)), filter);
        assert_eq!(entry_filter_of(&entry_filter_text(&EntryFilter::default())), EntryFilter::default());
        assert_eq!(entry_filter_of("no JSON").scopes, Some(Vec::new()), "it lets nothing through");
    }
}
