//! The question before every handler.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use hyper::http::request::Parts;
use serde_json::json;
use tidegate_catalog::{
    ActingPrincipal, AuditRecord, AuditResult, CatalogError, CatalogObject, CatalogSnapshot, Denial, ObjectId,
    ObjectKind, RightsTarget, SERVER_WORKSPACE, Verb, authorise,
};

use super::asker::{AskedFrom, Requester, workspace_of};
use super::refused::{NO_OBJECT, absent, denied};
use super::rules::EndpointRule;
use crate::api::SharedApi;
use crate::api::access::Principal;
use crate::api::engines::asked_workspace;
use crate::api::refusal::ApiRefusal;

/// The object that a path names, which whoever asks may do this with.
#[derive(Clone)]
pub(super) struct NamedObject(pub(super) Arc<CatalogObject>);

/// The kind that a path names.
pub(super) struct KindInPath(pub(super) ObjectKind);

/// Lets a request pass that its rule lets pass, or says why not. The object that the path names goes with it.
pub(in crate::api) async fn permit(
    shared: &SharedApi,
    rule: EndpointRule,
    params: &RawPathParams,
    request: &mut Request,
) -> Result<(), ApiRefusal> {
    if rule == EndpointRule::Open {
        return Ok(());
    }
    let principal = request.extensions().get::<Principal>().ok_or_else(ApiRefusal::forbidden)?;
    let asker = Requester::of(principal, request.extensions().get::<AskedFrom>(), request.headers());
    let asked = asked_workspace(request.uri());
    match rule {
        EndpointRule::Filtered | EndpointRule::InChange | EndpointRule::Open => Ok(()),
        EndpointRule::Workspace(verb) => {
            in_workspace(shared, &asker, asked.as_deref().unwrap_or(SERVER_WORKSPACE), verb).await
        }
        EndpointRule::Server(verb) => in_workspace(shared, &asker, SERVER_WORKSPACE, verb).await,
        EndpointRule::Named(_)
        | EndpointRule::NamedOrNew(_)
        | EndpointRule::OfSource(_)
        | EndpointRule::OfAlert(_)
        | EndpointRule::OfDestination(_)
        | EndpointRule::Past => {
            let kind = match rule {
                EndpointRule::OfSource(_) => ObjectKind::Source,
                EndpointRule::OfAlert(_) => ObjectKind::Alert,
                EndpointRule::OfDestination(_) => ObjectKind::Destination,
                _ => kind(params)?,
            };
            let (workspace, named) = (workspace_of(kind, asked.as_deref()), param(params, "name"));
            let (verb, object) = match rule {
                EndpointRule::Named(verb)
                | EndpointRule::OfSource(verb)
                | EndpointRule::OfAlert(verb)
                | EndpointRule::OfDestination(verb) => (verb, shared.object(&workspace, kind, named).await?),
                EndpointRule::NamedOrNew(verb) => match shared.found(&workspace, kind, named).await? {
                    Some(object) => (verb, object),
                    None => return Ok(()),
                },
                _ => (Verb::View, shared.object_or_past(&workspace, kind, named).await?),
            };
            if let Some(acting) = asker.acting() {
                let snapshot = shared.ends(&workspace, std::slice::from_ref(&object)).await?;
                if let Err(denial) = may(acting, verb, &object, snapshot.as_ref()) {
                    let asked = AskedThing { workspace: &workspace, verb, object: Some(&object) };
                    return Err(denied_in_log(shared, &asker, asked, denial).await);
                }
            }
            request.extensions_mut().insert(NamedObject(Arc::new(object)));
            Ok(())
        }
    }
}

/// What is asked of no object of a workspace.
async fn in_workspace(shared: &SharedApi, asker: &Requester, workspace: &str, verb: Verb) -> Result<(), ApiRefusal> {
    let Some(acting) = asker.acting() else { return Ok(()) };
    match authorise(acting, verb.into(), &RightsTarget::of_workspace(workspace)) {
        Ok(()) => Ok(()),
        Err(denial) => Err(denied_in_log(shared, asker, AskedThing { workspace, verb, object: None }, denial).await),
    }
}

/// What was asked, for the audit log.
pub(super) struct AskedThing<'a> {
    pub(super) workspace: &'a str,
    pub(super) verb: Verb,
    pub(super) object: Option<&'a CatalogObject>,
}

/// Whether somebody may do this to an object. `ends` has the objects that it names.
pub(super) fn may(
    acting: &ActingPrincipal,
    verb: Verb,
    object: &CatalogObject,
    ends: Option<&CatalogSnapshot>,
) -> Result<(), Denial> {
    let target = RightsTarget::of(object, |kind, name| ends.and_then(|ends| ends.named(kind, name)));
    authorise(acting, verb.into(), &target)
}

/// A denial is in the audit log before it is answered.
pub(super) async fn denied_in_log(
    shared: &SharedApi,
    asker: &Requester,
    asked: AskedThing<'_>,
    denial: Denial,
) -> ApiRefusal {
    let record = AuditRecord {
        workspace: asked.workspace.to_owned(),
        action: asked.verb.name().to_owned(),
        kind: asked.object.map(|object| object.content.kind),
        object: asked.object.map(|object| object.id.clone()),
        name: asked.object.map(|object| object.content.name.clone()),
        result: AuditResult::Denied,
        revision: None,
        detail: json!({ "missing": denial.missing.to_string() }),
    };
    match shared.settings.catalog.catalog.record(&asker.actor, asker.at_us, record).await {
        Ok(()) => denied(&denial),
        Err(error) => shared.refused(error),
    }
}

impl SharedApi {
    /// The living object that a text names: by its id, or by its name.
    pub(super) async fn object(
        &self,
        workspace: &str,
        kind: ObjectKind,
        named: &str,
    ) -> Result<CatalogObject, ApiRefusal> {
        self.found(workspace, kind, named).await?.ok_or_else(|| absent(NO_OBJECT))
    }

    /// The same, if there is one.
    async fn found(&self, workspace: &str, kind: ObjectKind, named: &str) -> Result<Option<CatalogObject>, ApiRefusal> {
        let catalog = &self.settings.catalog.catalog;
        let by_name = catalog.find(workspace, kind, named).await.map_err(|error| self.refused(error))?;
        if by_name.is_some() {
            return Ok(by_name);
        }
        let Some(id) = ObjectId::parse(named).ok().filter(|id| id.kind() == kind) else { return Ok(None) };
        match catalog.get(workspace, &id).await {
            Ok(object) => Ok(Some(object)),
            Err(CatalogError::Absent { .. }) => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// The same; of one that was deleted, by its id, what it was last.
    async fn object_or_past(
        &self,
        workspace: &str,
        kind: ObjectKind,
        named: &str,
    ) -> Result<CatalogObject, ApiRefusal> {
        let Some(id) = ObjectId::parse(named).ok().filter(|id| id.kind() == kind) else {
            return self.object(workspace, kind, named).await;
        };
        let catalog = &self.settings.catalog.catalog;
        let versions = catalog.history(workspace, &id, None, 1).await.map_err(|error| self.refused(error))?.versions;
        versions.into_iter().next().map(|version| version.object).ok_or_else(|| absent(NO_OBJECT))
    }

    /// What the rights on some of these objects depend on, where they depend on others.
    pub(super) async fn ends(
        &self,
        workspace: &str,
        objects: &[CatalogObject],
    ) -> Result<Option<CatalogSnapshot>, ApiRefusal> {
        let has_ends = |object: &CatalogObject| matches!(object.content.kind, ObjectKind::Sync | ObjectKind::WriteKey);
        if !objects.iter().any(has_ends) {
            return Ok(None);
        }
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        snapshot.map(Some).map_err(|error| self.refused(error))
    }

    /// Those of the objects that whoever asks may view.
    pub(super) async fn visible(
        &self,
        asker: &Requester,
        workspace: &str,
        objects: Vec<CatalogObject>,
    ) -> Result<Vec<CatalogObject>, ApiRefusal> {
        let Some(acting) = asker.acting() else { return Ok(objects) };
        let ends = self.ends(workspace, &objects).await?;
        let is_visible = |object: &CatalogObject| may(acting, Verb::View, object, ends.as_ref()).is_ok();
        Ok(objects.into_iter().filter(is_visible).collect())
    }
}

/// The object that a path names, or nothing but the name where there is none yet.
pub(super) struct NamedOrNewObject {
    pub(super) name: String,
    pub(super) object: Option<Arc<CatalogObject>>,
}

impl<S: Send + Sync> FromRequestParts<S> for NamedOrNewObject {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let object = parts.extensions.get::<NamedObject>().map(|NamedObject(object)| Arc::clone(object));
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        Ok(Self { name: param(&params, "name").to_owned(), object })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedObject {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiRefusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiRefusal::forbidden)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KindInPath {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        kind(&params).map(Self)
    }
}

/// The kind that a path names; `write-key` is `write_key`.
fn kind(params: &RawPathParams) -> Result<ObjectKind, ApiRefusal> {
    named_kind(param(params, "kind"))
}

/// A kind by its name.
pub(super) fn named_kind(text: &str) -> Result<ObjectKind, ApiRefusal> {
    text.replace('-', "_").parse().map_err(|error: tidegate_catalog::UnknownKind| {
        let fix = "write one of the kinds that the detail names";
        ApiRefusal::new(hyper::StatusCode::NOT_FOUND, "no-such-kind", error.to_string(), fix).in_field("kind")
    })
}

fn param<'p>(params: &'p RawPathParams, name: &str) -> &'p str {
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
}
