//! Which entries somebody asks for, and which of them they may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api_types::quarantine::EntrySelection;
use tidegate_catalog::{CatalogSnapshot, ObjectKind, Verb};
use tidegate_event::time;
use tidegate_state::{EntryFilter, EntryScope, KeptEntry, State, StateError};

use crate::api::extract::blocking;
use crate::api::refusal::ApiRefusal;
use crate::api::v1::asker::{Requester, workspace_of};
use crate::api::v1::permit::{AskedThing, denied_in_log, may};
use crate::api::v1::refused::absent;
use crate::api::{EngineSettings, MaskedField, SharedApi};

/// What is quarantined in a workspace is for whoever has a role in it.
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";
/// Bytes of a text that is looked for.
const TEXT_BYTES_MAX: usize = 200;

/// Entries that somebody asks for.
pub(super) struct AskedEntries {
    pub(super) engine: Arc<EngineSettings>,
    pub(super) workspace: String,
    /// Of nothing that they may not have.
    pub(super) filter: EntryFilter,
    pub(super) payloads: PayloadScopes,
    /// Fields that stay masked in those that may be seen.
    pub(super) masked: Vec<MaskedField>,
}

/// Whose events somebody may see.
#[derive(Clone)]
pub(super) enum PayloadScopes {
    All,
    Of(BTreeSet<EntryScope>),
}

impl PayloadScopes {
    pub(super) fn sees(&self, scope: &EntryScope) -> bool {
        match self {
            Self::All => true,
            Self::Of(scopes) => scopes.contains(scope),
        }
    }
}

impl AskedEntries {
    /// Leaves those whose events may be seen.
    pub(super) fn only_seen(&mut self) {
        if let PayloadScopes::Of(seen) = &self.payloads {
            match &mut self.filter.scopes {
                Some(scopes) => scopes.retain(|scope| seen.contains(scope)),
                none => *none = Some(seen.iter().cloned().collect()),
            }
        }
    }

    /// The entry, if it is one.
    pub(super) fn one(&self, state: &State) -> Result<Option<KeptEntry>, ApiRefusal> {
        let id = self.filter.id.unwrap_or(0);
        let page = state.entries(&self.filter, (id.saturating_sub(1), id), 1).map_err(|error| unreadable(&error))?;
        Ok(page.entries.into_iter().next())
    }
}

pub(super) fn unreadable(error: &dyn std::fmt::Display) -> ApiRefusal {
    ApiRefusal::failed("the quarantine could not be read", error)
}

/// The id that a path names.
pub(super) fn entry_id(text: &str) -> Result<u64, ApiRefusal> {
    text.parse().map_err(|_| absent(super::NO_ENTRY))
}

/// Whether any condition is there.
pub(super) fn is_of_all(selection: &EntrySelection) -> bool {
    *selection == EntrySelection { all: selection.all, ..EntrySelection::default() }
}

fn filter(selection: &EntrySelection) -> Result<EntryFilter, ApiRefusal> {
    let at = |field: &'static str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let wrong = || {
            let detail = format!("`{field}` is no time with its offset from UTC");
            ApiRefusal::bad("query", detail, "write it as 2026-12-31T00:00:00Z").in_field(field)
        };
        time::parse(text).map(Some).ok_or_else(wrong)
    };
    if selection.text.as_ref().is_some_and(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        let detail = format!("`text` has 1 to {TEXT_BYTES_MAX} bytes");
        return Err(ApiRefusal::bad("query", detail, "look for a part of it").in_field("text"));
    }
    Ok(EntryFilter {
        id: selection.id,
        code: selection.code.clone(),
        stage: selection.stage.clone(),
        scopes: None,
        since_us: at("since", &selection.since)?,
        until_us: at("until", &selection.until)?,
        text: selection.text.clone(),
    })
}

/// The sources and syncs that are named; none for all.
fn named(selection: &EntrySelection) -> Option<Vec<EntryScope>> {
    let scope = |name: &Option<String>, is_sync| Some(EntryScope { name: name.clone()?, is_sync });
    let named: Vec<EntryScope> =
        scope(&selection.source, false).into_iter().chain(scope(&selection.sync, true)).collect();
    (!named.is_empty()).then_some(named)
}

impl SharedApi {
    /// The entries that somebody asks for, of what they may do this with.
    pub(super) async fn asked_entries(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
        (selection, verb): (&EntrySelection, Verb),
    ) -> Result<AskedEntries, ApiRefusal> {
        let workspace = workspace_of(ObjectKind::Source, workspace);
        if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
            return Err(absent(NO_ENVIRONMENT));
        }
        let engine = self.engine(&workspace)?;
        let mut filter = filter(selection)?;
        let named = named(selection);
        if asker.is_admin(&workspace) {
            filter.scopes = named;
            return Ok(AskedEntries { engine, workspace, filter, payloads: PayloadScopes::All, masked: Vec::new() });
        }
        let catalog = &self.settings.catalog.catalog;
        let snapshot = catalog.snapshot(&workspace, None).await.map_err(|error| self.refused(error))?;
        if verb != Verb::View {
            self.refuse_denied(asker, (&workspace, &snapshot), (named.as_deref().unwrap_or_default(), verb)).await?;
        }
        let opened = Arc::clone(&engine);
        let known = move || -> Result<Vec<EntryScope>, StateError> { (opened.open_state)()?.entry_scopes() };
        let known = blocking(known).await?.map_err(|error| unreadable(&error))?;
        let is_empty = known.is_empty();
        let may_do = |verb: Verb, scope: &EntryScope| is_allowed(asker, &snapshot, (scope, verb));
        let mut scopes: Vec<EntryScope> = known.into_iter().filter(|scope| may_do(verb, scope)).collect();
        if verb != Verb::View && named.is_none() && scopes.is_empty() && !is_empty {
            return Err(ApiRefusal::forbidden());
        }
        let seen: BTreeSet<EntryScope> =
            scopes.iter().filter(|scope| may_do(Verb::SeePayloads, scope)).cloned().collect();
        if let Some(named) = &named {
            scopes.retain(|scope| named.contains(scope));
        }
        // Whether a text is found would tell what stands in an event.
        let masked = engine.masked_for(false);
        if filter.text.is_some() {
            scopes.retain(|scope| masked.is_empty() && seen.contains(scope));
        }
        filter.scopes = Some(scopes);
        Ok(AskedEntries { engine, workspace, filter, payloads: PayloadScopes::Of(seen), masked })
    }

    /// The same of one entry.
    pub(super) async fn asked_entry(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
        (id, verb): (u64, Verb),
    ) -> Result<AskedEntries, ApiRefusal> {
        let selection = EntrySelection { id: Some(id), ..EntrySelection::default() };
        self.asked_entries(asker, workspace, (&selection, verb)).await
    }

    /// Refuses whoever names a source or a sync that they may view and not do this with.
    async fn refuse_denied(
        &self,
        asker: &Requester,
        (workspace, snapshot): (&str, &CatalogSnapshot),
        (named, verb): (&[EntryScope], Verb),
    ) -> Result<(), ApiRefusal> {
        let Some(acting) = asker.acting() else { return Ok(()) };
        for scope in named {
            let Some(object) = snapshot.named(kind_of(scope), &scope.name) else { continue };
            if let Err(denial) = may(acting, verb, object, Some(snapshot)) {
                let asked = AskedThing { workspace, verb, object: Some(object) };
                return Err(denied_in_log(self, asker, asked, denial).await);
            }
        }
        Ok(())
    }
}

const fn kind_of(scope: &EntryScope) -> ObjectKind {
    if scope.is_sync { ObjectKind::Sync } else { ObjectKind::Source }
}

/// What is of no object that there is, is an admin's.
fn is_allowed(asker: &Requester, snapshot: &CatalogSnapshot, (scope, verb): (&EntryScope, Verb)) -> bool {
    let Some(acting) = asker.acting() else { return true };
    let object = snapshot.named(kind_of(scope), &scope.name);
    object.is_some_and(|object| may(acting, verb, object, Some(snapshot)).is_ok())
}
