//! Contracts in the shapes of Hightouch's API: `…/api/v1` is the base that its command line and scripts are pointed at. They read and
//! write the objects that a folder's files below `events/` are in the catalog; a contract is a domain whose components are not shown.

mod edits;
mod load;
mod place;
mod shown;
mod sound;

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use tidegate_api_types::contract::{
    ChangeContract, ChangeDomain, CreateContract, CreateDomain, DomainOrder, DomainQuery, EventContract,
    EventContracts, EventDomain, EventDomains,
};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_catalog::{CatalogOrder, ObjectKind};

use self::edits::DomainEdits;
use self::load::LoadedDomain;
use self::place::{DomainPlace, fresh_slug};
use self::shown::DomainView;
use super::asker::{OfApi, Requester};
use super::refused::{NO_OBJECT, absent};
use super::shown::limit;
use crate::api::SharedApi;
use crate::api::access::WORKSPACE_DEFAULT;
use crate::api::extract::{IdInPath, Query, body, parsed};
use crate::api::refusal::ApiRefusal;

type DomainAnswer<T> = Result<axum::Json<T>, ApiRefusal>;

/// A domain with its events and components.
const DOMAIN_BYTES_MAX: usize = 8 << 20;
/// Domains of one page.
const DOMAINS_MAX: usize = 1_000;

/// The domains of a workspace with their events and components.
#[utoipa::path(get, path = path::EVENT_DOMAINS, tag = "contracts", operation_id = "list_domains",
    params(DomainQuery), responses((status = 200, body = EventDomains), ApiRefusal))]
pub(super) async fn list_domains(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<DomainQuery>,
) -> DomainAnswer<EventDomains> {
    shared.domains(&asker, &query).await.map(axum::Json)
}

/// One domain, by its id or its slug.
#[utoipa::path(get, path = path::EVENT_DOMAIN, tag = "contracts", operation_id = "show_domain",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = EventDomain), ApiRefusal))]
pub(super) async fn show_domain(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(named): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> DomainAnswer<EventDomain> {
    shared.one_domain(&asker, workspace(query.workspace.as_ref()), &named).await.map(axum::Json)
}

/// Makes a domain. It applies to no source unless `sources` says so.
#[utoipa::path(post, path = path::EVENT_DOMAINS, tag = "contracts", operation_id = "create_domain",
    params(WorkspaceQuery), request_body = CreateDomain,
    responses((status = 200, body = EventDomain), ApiRefusal))]
pub(super) async fn create_domain(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> DomainAnswer<EventDomain> {
    let new: CreateDomain = parsed(&body(&shared, request, DOMAIN_BYTES_MAX, "a domain").await?)?;
    shared.make_domain(&asker, workspace(query.workspace.as_ref()), new.into()).await.map(axum::Json)
}

/// Changes a domain; `events` and `components` are replaced as a whole, where they are sent.
#[utoipa::path(patch, path = path::EVENT_DOMAIN, tag = "contracts", operation_id = "change_domain",
    params(("id" = String, Path), WorkspaceQuery), request_body = ChangeDomain,
    responses((status = 200, body = EventDomain), ApiRefusal))]
pub(super) async fn change_domain(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(named): IdInPath,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> DomainAnswer<EventDomain> {
    let change: ChangeDomain = parsed(&body(&shared, request, DOMAIN_BYTES_MAX, "a domain").await?)?;
    let workspace = workspace(query.workspace.as_ref());
    shared.change_domain(&asker, workspace, &named, change).await.map(axum::Json)
}

/// The domains of a workspace with their events alone.
#[utoipa::path(get, path = path::EVENT_CONTRACTS, tag = "contracts", operation_id = "list_contracts",
    params(DomainQuery), responses((status = 200, body = EventContracts), ApiRefusal))]
pub(super) async fn list_contracts(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<DomainQuery>,
) -> DomainAnswer<EventContracts> {
    let EventDomains { data, has_more } = shared.domains(&asker, &query).await?;
    Ok(axum::Json(EventContracts { data: data.into_iter().map(EventContract::from).collect(), has_more }))
}

/// One domain without its components, by its id or its slug.
#[utoipa::path(get, path = path::EVENT_CONTRACT, tag = "contracts", operation_id = "show_contract",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = EventContract), ApiRefusal))]
pub(super) async fn show_contract(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(named): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> DomainAnswer<EventContract> {
    let domain = shared.one_domain(&asker, workspace(query.workspace.as_ref()), &named).await?;
    Ok(axum::Json(domain.into()))
}

/// Makes a domain without components. It applies to no source unless `sources` says so.
#[utoipa::path(post, path = path::EVENT_CONTRACTS, tag = "contracts", operation_id = "create_contract",
    params(WorkspaceQuery), request_body = CreateContract,
    responses((status = 200, body = EventContract), ApiRefusal))]
pub(super) async fn create_contract(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> DomainAnswer<EventContract> {
    let new: CreateContract = parsed(&body(&shared, request, DOMAIN_BYTES_MAX, "a contract").await?)?;
    let domain = shared.make_domain(&asker, workspace(query.workspace.as_ref()), new.into()).await?;
    Ok(axum::Json(domain.into()))
}

/// Changes a domain and leaves its components; `events` are replaced as a whole, where they are sent.
#[utoipa::path(patch, path = path::EVENT_CONTRACT, tag = "contracts", operation_id = "change_contract",
    params(("id" = String, Path), WorkspaceQuery), request_body = ChangeContract,
    responses((status = 200, body = EventContract), ApiRefusal))]
pub(super) async fn change_contract(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(named): IdInPath,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> DomainAnswer<EventContract> {
    let change: ChangeContract = parsed(&body(&shared, request, DOMAIN_BYTES_MAX, "a contract").await?)?;
    let workspace = workspace(query.workspace.as_ref());
    let domain = shared.change_domain(&asker, workspace, &named, change.into()).await?;
    Ok(axum::Json(domain.into()))
}

fn workspace(asked: Option<&String>) -> &str {
    asked.map_or(WORKSPACE_DEFAULT, String::as_str)
}

impl SharedApi {
    /// A page of domains.
    async fn domains(&self, asker: &Requester, query: &DomainQuery) -> Result<EventDomains, ApiRefusal> {
        let workspace = workspace(query.workspace.as_ref());
        let sources = self.all_named(workspace, ObjectKind::Source, "").await?;
        let sources = self.visible(asker, workspace, sources).await?;
        let source = query.source.as_deref();
        let view = DomainView { workspace, sources: &sources, source };
        let mut domains = self.visible_domains(asker, workspace).await?;
        domains.retain(|domain| source.is_none_or(|source| domain.applies_to(source)));
        if let Some(name) = &query.name {
            domains.retain(|domain| domain.object.content.spec["name"] == name.as_str());
        }
        match query.order_by.unwrap_or_default() {
            DomainOrder::Id => domains.sort_by(|a, b| a.object.id.cmp(&b.object.id)),
            DomainOrder::Name => domains.sort_by(|a, b| name_of(a).cmp(name_of(b))),
            DomainOrder::CreatedAt => domains.sort_by_key(|domain| domain.object.created_at_us),
            DomainOrder::UpdatedAt => domains.sort_by_key(|domain| domain.object.updated_at_us),
        }
        let offset = usize::try_from(query.offset.unwrap_or(0)).unwrap_or(usize::MAX).min(domains.len());
        let mut page = domains.split_off(offset);
        let limit = limit(query.limit).clamp(1, DOMAINS_MAX);
        let has_more = page.len() > limit;
        page.truncate(limit);
        self.fill_domains(asker, workspace, &mut page).await?;
        Ok(EventDomains { data: page.iter().map(|domain| view.shown(domain)).collect(), has_more })
    }

    /// One domain with what whoever asks may view of it.
    async fn one_domain(&self, asker: &Requester, workspace: &str, named: &str) -> Result<EventDomain, ApiRefusal> {
        let domain = self.domain(asker, workspace, named).await?;
        self.whole_domain(asker, workspace, domain).await
    }

    async fn whole_domain(
        &self,
        asker: &Requester,
        workspace: &str,
        domain: LoadedDomain,
    ) -> Result<EventDomain, ApiRefusal> {
        let sources = self.all_named(workspace, ObjectKind::Source, "").await?;
        let sources = self.visible(asker, workspace, sources).await?;
        let mut domains = [domain];
        self.fill_domains(asker, workspace, &mut domains).await?;
        let view = DomainView { workspace, sources: &sources, source: None };
        let [domain] = &domains;
        Ok(view.shown(domain))
    }

    async fn make_domain(
        &self,
        asker: &Requester,
        workspace: &str,
        new: ChangeDomain,
    ) -> Result<EventDomain, ApiRefusal> {
        let shape = self.domain_shape(workspace).await?;
        let slug = match &new.slug {
            Some(slug) => edits::fitting(slug, "slug")?.to_owned(),
            None => {
                let there = self.all_named(workspace, ObjectKind::Domain, "").await?;
                let taken: BTreeSet<String> = there
                    .iter()
                    .filter_map(|object| DomainPlace::of(&object.content.name))
                    .map(|place| place.slug)
                    .collect();
                fresh_slug(new.name.as_deref().unwrap_or_default(), "domain", &taken)
            }
        };
        let place = DomainPlace { shape, slug };
        let name = place.name();
        self.keep_domain(asker, workspace, None, (place, new)).await?;
        let made = self.settings.catalog.catalog.find(workspace, ObjectKind::Domain, &name).await;
        let made = made.map_err(|error| self.refused(error))?.ok_or_else(|| absent(NO_OBJECT))?;
        self.one_domain(asker, workspace, made.id.as_str()).await
    }

    async fn change_domain(
        &self,
        asker: &Requester,
        workspace: &str,
        named: &str,
        change: ChangeDomain,
    ) -> Result<EventDomain, ApiRefusal> {
        let mut before = self.domain(asker, workspace, named).await?;
        self.fill_whole(workspace, &mut before).await?;
        let slug = match &change.slug {
            Some(slug) => edits::fitting(slug, "slug")?.to_owned(),
            None => before.place.slug.clone(),
        };
        let place = DomainPlace { shape: before.place.shape, slug };
        self.keep_domain(asker, workspace, Some(&before), (place, change)).await?;
        self.one_domain(asker, workspace, before.object.id.as_str()).await
    }

    /// Makes the domain so, all of it or nothing, if it can judge events then.
    async fn keep_domain(
        &self,
        asker: &Requester,
        workspace: &str,
        before: Option<&LoadedDomain>,
        (place, asked): (DomainPlace, ChangeDomain),
    ) -> Result<(), ApiRefusal> {
        let catalog = &self.settings.catalog.catalog;
        let DomainEdits { files, edits, .. } = DomainEdits::of(catalog, before, place, asked)?;
        if edits.is_empty() {
            return Ok(());
        }
        let change = asker.change(workspace, edits, false);
        // Who may not make the change learns nothing of what is wrong with the contract: the commit refuses it, and is in the audit log.
        if catalog.dry_run(&change).await.is_ok() {
            sound::check(files).await?;
        }
        self.execute(CatalogOrder::Change(change), false).await.map(drop)
    }
}

fn name_of(domain: &LoadedDomain) -> &str {
    domain.object.content.spec.get("name").and_then(serde_json::Value::as_str).unwrap_or(&domain.place.slug)
}
