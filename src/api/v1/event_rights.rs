//! Whose events somebody may know of, and whose they may see.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_catalog::{ObjectKind, Verb};
use tidegate_state::EntryScope;

use super::asker::{Requester, workspace_of};
use super::permit::may;
use super::refused::absent;
use crate::api::refusal::ApiRefusal;
use crate::api::{EngineSettings, MaskedField, SharedApi};

/// What passes a workspace is for whoever has a role in it.
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";

/// The events of an environment, as far as somebody may know of them.
pub(super) struct AskedEvents {
    pub(super) engine: Arc<EngineSettings>,
    pub(super) workspace: String,
    pub(super) rights: EventRights,
    /// Fields that stay masked in those that they may see.
    pub(super) masked: Vec<MaskedField>,
}

/// Of which sources and syncs somebody may know events, and of which they may see them.
#[derive(Clone)]
pub(super) enum EventRights {
    All,
    Of(Arc<NamedRights>),
}

#[derive(Default)]
pub(super) struct NamedRights {
    views: BTreeSet<EntryScope>,
    sees: BTreeSet<EntryScope>,
}

impl EventRights {
    /// Whether they may know of events there.
    pub(super) fn views(&self, name: &str, is_sync: bool) -> bool {
        match self {
            Self::All => true,
            Self::Of(of) => of.views.contains(&EntryScope { name: name.to_owned(), is_sync }),
        }
    }

    /// Whether they may see what stands in events there.
    pub(super) fn sees(&self, name: &str, is_sync: bool) -> bool {
        match self {
            Self::All => true,
            Self::Of(of) => of.sees.contains(&EntryScope { name: name.to_owned(), is_sync }),
        }
    }

    /// The sources whose events they may know of or, with `seen`, see; none for all.
    pub(super) fn sources(&self, seen: bool) -> Option<BTreeSet<String>> {
        self.names(seen, false)
    }

    /// The syncs of whose events they may know or, with `seen`, that they may see; none for all.
    pub(super) fn syncs(&self, seen: bool) -> Option<BTreeSet<String>> {
        self.names(seen, true)
    }

    fn names(&self, seen: bool, is_sync: bool) -> Option<BTreeSet<String>> {
        let Self::Of(of) = self else { return None };
        let scopes = if seen { &of.sees } else { &of.views };
        Some(scopes.iter().filter(|scope| scope.is_sync == is_sync).map(|scope| scope.name.clone()).collect())
    }
}

#[cfg(test)]
impl EventRights {
    /// Of whoever may know of the first and see the others: names, and whether each is a sync.
    pub(super) fn of(views: &[(&str, bool)], sees: &[(&str, bool)]) -> Self {
        let scopes = |names: &[(&str, bool)]| {
            let scope = |(name, is_sync): &(&str, bool)| EntryScope { name: (*name).to_owned(), is_sync: *is_sync };
            names.iter().map(scope).collect::<BTreeSet<EntryScope>>()
        };
        Self::Of(Arc::new(NamedRights { views: scopes(views), sees: scopes(sees) }))
    }
}

impl SharedApi {
    /// The events of an environment, for whoever has a role in its workspace.
    pub(super) async fn asked_events(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
    ) -> Result<AskedEvents, ApiRefusal> {
        let workspace = workspace_of(ObjectKind::Source, workspace);
        if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
            return Err(absent(NO_ENVIRONMENT));
        }
        let engine = self.engine(&workspace)?;
        let acting = match asker.acting() {
            Some(acting) if !asker.is_admin(&workspace) => acting,
            _ => return Ok(AskedEvents { engine, workspace, rights: EventRights::All, masked: Vec::new() }),
        };
        let snapshot = self.settings.catalog.catalog.snapshot(&workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let mut named = NamedRights::default();
        for object in &snapshot.objects {
            let is_sync = match object.content.kind {
                ObjectKind::Source => false,
                ObjectKind::Sync => true,
                _ => continue,
            };
            let scope = EntryScope { name: object.content.name.clone(), is_sync };
            if may(acting, Verb::SeePayloads, object, Some(&snapshot)).is_ok() {
                named.sees.insert(scope.clone());
            }
            if may(acting, Verb::View, object, Some(&snapshot)).is_ok() {
                named.views.insert(scope);
            }
        }
        let masked = engine.masked_for(false);
        Ok(AskedEvents { engine, workspace, rights: EventRights::Of(Arc::new(named)), masked })
    }
}
