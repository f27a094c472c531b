//! Sources that are there and cannot run: what can be read of them all the same, so that the door knows their write keys.

use std::collections::BTreeMap;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};

use super::Workspace;
use super::documents::WorkspaceDocuments;
use super::resolving::Resolving;
use super::sources::{self, SourceConfig, WriteKeyConfig};
use super::surroundings::Surroundings;

/// Sources that cannot run, by their names, with what can be read of each.
pub type LeftOutSources = BTreeMap<String, Option<SourceConfig>>;

impl WorkspaceDocuments {
    /// What can be read of the sources among these objects, whatever is wrong with them.
    #[must_use]
    pub fn left_out_sources(
        &self,
        left_out: &BTreeMap<ObjectRef, String>,
        surroundings: &Surroundings<'_>,
    ) -> LeftOutSources {
        let is_source = |object: &&ObjectRef| object.kind == ObjectRefKind::Source;
        let named = left_out.keys().filter(is_source).map(|object| (object.key.clone(), None));
        let mut sources: LeftOutSources = named.collect();
        if sources.is_empty() {
            return sources;
        }
        let mut documents = self.clone();
        documents.objects.retain(|object, _| object.kind == ObjectRefKind::Source && sources.contains_key(&object.key));
        let mut resolving = Resolving::new(&documents, surroundings);
        // It says which variables they may name.
        let outgoing = resolving.server().map(|server| server.outgoing).unwrap_or_default();
        let known = resolving.each(ObjectRefKind::Source, |f, inputs| sources::source(f, inputs, &outgoing));
        sources.extend(known.into_iter().map(|(name, source)| (name, Some(source))));
        sources
    }
}

impl Workspace {
    /// The write keys of sources that cannot run, each with its source.
    pub fn left_out_keys(&self) -> impl Iterator<Item = (&str, &WriteKeyConfig)> {
        let known = self.left_out_sources.iter().filter_map(|(name, source)| Some((name.as_str(), source.as_ref()?)));
        known.flat_map(|(name, source)| source.write_keys.iter().map(move |key| (name, key)))
    }
}
