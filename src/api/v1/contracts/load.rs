//! A domain with its parts, as the catalog has them.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_catalog::{CatalogObject, ListQuery, ObjectId, ObjectKind, Verb};

use super::place::{DomainPlace, DomainShape, beginning_of, slug_in};
use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;
use crate::api::v1::asker::Requester;
use crate::api::v1::permit::may;
use crate::api::v1::refused::{NO_OBJECT, absent};

/// Objects that are read at once.
const PAGE: usize = 1_000;

/// A domain, its events and its components, each in the order of their names.
pub(super) struct LoadedDomain {
    pub(super) object: CatalogObject,
    pub(super) place: DomainPlace,
    pub(super) events: Vec<CatalogObject>,
    pub(super) components: Vec<CatalogObject>,
}

impl LoadedDomain {
    /// Whether it applies to a source: to all, unless it names some.
    pub(super) fn applies_to(&self, source: &str) -> bool {
        named_sources(&self.object.content.spec).is_none_or(|sources| sources.contains(&source))
    }
}

/// The sources that the spec of a domain or of a component names; none when it says nothing of sources.
pub(super) fn named_sources(spec: &Value) -> Option<Vec<&str>> {
    let sources = spec.get("sources")?.as_array()?;
    Some(sources.iter().filter_map(Value::as_str).collect())
}

impl SharedApi {
    /// All objects of a kind whose names begin so, whoever may view them.
    pub(super) async fn all_named(
        &self,
        workspace: &str,
        kind: ObjectKind,
        beginning: &str,
    ) -> Result<Vec<CatalogObject>, ApiRefusal> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let query = ListQuery {
                workspace: workspace.to_owned(),
                kind: Some(kind),
                name_prefix: Some(beginning.to_owned()),
                cursor,
                limit: PAGE,
                ..ListQuery::default()
            };
            let page = self.settings.catalog.catalog.list(&query).await.map_err(|error| self.refused(error))?;
            found.extend(page.objects);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// The domains of a workspace that whoever asks may view, without their parts.
    pub(super) async fn visible_domains(
        &self,
        asker: &Requester,
        workspace: &str,
    ) -> Result<Vec<LoadedDomain>, ApiRefusal> {
        let objects = self.all_named(workspace, ObjectKind::Domain, "").await?;
        let objects = self.visible(asker, workspace, objects).await?;
        let domain = |object: CatalogObject| {
            let place = DomainPlace::of(&object.content.name)?;
            Some(LoadedDomain { object, place, events: Vec::new(), components: Vec::new() })
        };
        Ok(objects.into_iter().filter_map(domain).collect())
    }

    /// Puts the parts that whoever asks may view into domains.
    pub(super) async fn fill_domains(
        &self,
        asker: &Requester,
        workspace: &str,
        domains: &mut [LoadedDomain],
    ) -> Result<(), ApiRefusal> {
        let beginning = match &*domains {
            [] => return Ok(()),
            [one] => one.place.events(),
            _ => String::new(),
        };
        for kind in [ObjectKind::Event, ObjectKind::Component] {
            let objects = self.all_named(workspace, kind, &beginning).await?;
            let mut parts: BTreeMap<String, Vec<CatalogObject>> = BTreeMap::new();
            for object in self.visible(asker, workspace, objects).await? {
                parts.entry(beginning_of(&object.content.name).to_owned()).or_default().push(object);
            }
            for domain in domains.iter_mut() {
                let events = domain.place.events();
                let (part, at) = match kind {
                    ObjectKind::Event => (&mut domain.events, events),
                    _ => (&mut domain.components, domain.place.components()),
                };
                *part = parts.remove(&at).unwrap_or_default();
                part.retain(|object| slug_in(&object.content.name, &at).is_some());
            }
        }
        Ok(())
    }

    /// The domain that a path names, by its id or its slug, without its parts. What may not be viewed is not there.
    pub(super) async fn domain(
        &self,
        asker: &Requester,
        workspace: &str,
        named: &str,
    ) -> Result<LoadedDomain, ApiRefusal> {
        let catalog = &self.settings.catalog.catalog;
        let by_id = ObjectId::parse(named).ok().filter(|id| id.kind() == ObjectKind::Domain);
        let mut found = match by_id {
            Some(id) => Some(catalog.get(workspace, &id).await.map_err(|error| self.refused(error))?),
            None => None,
        };
        for shape in [DomainShape::Domains, DomainShape::Contracts] {
            if found.is_none() {
                let name = DomainPlace { shape, slug: named.to_owned() }.name();
                let by_slug = catalog.find(workspace, ObjectKind::Domain, &name).await;
                found = by_slug.map_err(|error| self.refused(error))?;
            }
        }
        let is_visible =
            |object: &CatalogObject| asker.acting().is_none_or(|acting| may(acting, Verb::View, object, None).is_ok());
        let object = found.filter(is_visible).ok_or_else(|| absent(NO_OBJECT))?;
        let place = DomainPlace::of(&object.content.name).ok_or_else(|| absent(NO_OBJECT))?;
        Ok(LoadedDomain { object, place, events: Vec::new(), components: Vec::new() })
    }

    /// All parts of a domain, for a change: also what whoever asks may not view is replaced, or is in the way.
    pub(super) async fn fill_whole(&self, workspace: &str, domain: &mut LoadedDomain) -> Result<(), ApiRefusal> {
        let (events, components) = (domain.place.events(), domain.place.components());
        domain.events = self.all_named(workspace, ObjectKind::Event, &events).await?;
        domain.events.retain(|object| slug_in(&object.content.name, &events).is_some());
        domain.components = self.all_named(workspace, ObjectKind::Component, &components).await?;
        domain.components.retain(|object| slug_in(&object.content.name, &components).is_some());
        Ok(())
    }

    /// The layout of a workspace: that of the domains that are there.
    pub(super) async fn domain_shape(&self, workspace: &str) -> Result<DomainShape, ApiRefusal> {
        let objects = self.all_named(workspace, ObjectKind::Domain, "").await?;
        let first = objects.iter().find_map(|object| DomainPlace::of(&object.content.name));
        Ok(first.map_or(DomainShape::Domains, |place| place.shape))
    }
}
