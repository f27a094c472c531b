//! Looking at objects.

use axum::extract::State;
use hyper::header::{self, HeaderName, HeaderValue};
use tidegate_api_types::control::WhoAmI;
use tidegate_api_types::object::{
    DiffQuery, HistoryQuery, ManagedByQuery, ObjectDiff, ObjectHistory, ObjectQuery, Objects, ShownObject,
    ShownObjectVersion, UsedBy, WorkspaceQuery,
};
use tidegate_api_types::path;
use tidegate_catalog::{ListQuery, ManagedFilter, ObjectId, ObjectKind};
use tidegate_registry::PluginKind;

use super::asker::{OfApi, Requester, workspace_of};
use super::permit::{KindInPath, NamedObject};
use super::shown::{etag, fields, limit, name};
use super::visitor::Visitor;
use crate::api::extract::Query;
use crate::api::refusal::ApiRefusal;

type ObjectAnswer<T> = Result<axum::Json<T>, ApiRefusal>;

/// Who asks, by the token or the cookie that was sent.
#[utoipa::path(get, path = path::WHO_AM_I, tag = "access", operation_id = "who_am_i",
    responses((status = 200, body = WhoAmI), ApiRefusal))]
pub(super) async fn who_am_i(State(shared): OfApi, asker: Requester, visitor: Visitor) -> ObjectAnswer<WhoAmI> {
    let acting = asker.acting().map(|acting| &**acting);
    shared.who(acting, visitor.session.is_some()).await.map(axum::Json)
}

/// The objects of a kind, page by page.
#[utoipa::path(get, path = path::OBJECTS, tag = "objects", operation_id = "list_objects",
    params(("kind" = String, Path), ObjectQuery), responses((status = 200, body = Objects), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    KindInPath(kind): KindInPath,
    Query(query): Query<ObjectQuery>,
) -> ObjectAnswer<Objects> {
    let workspace = workspace_of(kind, query.workspace.as_deref());
    let asked = listed(kind, &workspace, query)?;
    let page = shared.settings.catalog.catalog.list(&asked).await.map_err(|error| shared.refused(error))?;
    let objects = shared.visible(&asker, &workspace, page.objects).await?;
    let mut objects: Vec<ShownObject> = objects.into_iter().map(|object| shared.shown(object)).collect();
    let names = shared.names_of(objects.iter().filter_map(|object| object.owner.as_deref()).collect()).await?;
    for object in &mut objects {
        object.owner_name = names.of(object.owner.as_deref());
    }
    Ok(axum::Json(Objects { objects, next: page.next }))
}

/// What a query asks the catalog for.
pub(super) fn listed(kind: ObjectKind, workspace: &str, query: ObjectQuery) -> Result<ListQuery, ApiRefusal> {
    let label = query.label.map(|label| {
        let parts = label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        parts.ok_or_else(|| {
            ApiRefusal::bad("label", "a label is a name and a value", "write `label=team=web`").in_field("label")
        })
    });
    Ok(ListQuery {
        workspace: workspace.to_owned(),
        kind: Some(kind),
        name_prefix: query.prefix,
        name_part: query.q,
        label: label.transpose()?,
        managed_by: query.managed_by.map(|managed_by| match managed_by {
            ManagedByQuery::Nobody => ManagedFilter::Nobody,
            ManagedByQuery::Folder => ManagedFilter::Folder,
        }),
        owner: query.owner.as_deref().map(owner).transpose()?,
        cursor: query.cursor,
        limit: limit(query.limit),
    })
}

/// One object, by its name or its id. Its ETag is its revision.
#[utoipa::path(get, path = path::OBJECT, tag = "objects", operation_id = "show_object",
    params(("kind" = String, Path), ("name" = String, Path), WorkspaceQuery),
    responses(
        (status = 200, body = ShownObject, headers(("ETag" = String, description = "Its revision, for If-Match"))),
        ApiRefusal
    ))]
pub(super) async fn show(
    State(shared): OfApi,
    NamedObject(object): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<([(HeaderName, HeaderValue); 1], axum::Json<ShownObject>), ApiRefusal> {
    let tag = etag(object.revision);
    let mut shown = shared.shown((*object).clone());
    shown.owner_name = shared.names_of(shown.owner.as_deref().into_iter().collect()).await?.of(shown.owner.as_deref());
    Ok(([(header::ETAG, tag)], axum::Json(shown)))
}

/// What an object was before, newest first.
#[utoipa::path(get, path = path::OBJECT_HISTORY, tag = "objects", operation_id = "show_object_history",
    params(("kind" = String, Path), ("name" = String, Path), HistoryQuery),
    responses((status = 200, body = ObjectHistory), ApiRefusal))]
pub(super) async fn history(
    State(shared): OfApi,
    NamedObject(object): NamedObject,
    Query(query): Query<HistoryQuery>,
) -> ObjectAnswer<ObjectHistory> {
    let catalog = &shared.settings.catalog.catalog;
    let page = catalog.history(&object.workspace, &object.id, query.before, limit(query.limit)).await;
    let page = page.map_err(|error| shared.refused(error))?;
    let mut versions: Vec<ShownObjectVersion> =
        page.versions.into_iter().map(|version| shared.shown_version(version)).collect();
    let names = shared.names_of(versions.iter().filter_map(|version| version.changed_by.as_deref()).collect()).await?;
    for version in &mut versions {
        version.changed_by_name = names.of(version.changed_by.as_deref());
    }
    Ok(axum::Json(ObjectHistory { versions, next: page.next }))
}

/// What is different between two versions of an object, field by field.
#[utoipa::path(get, path = path::OBJECT_DIFF, tag = "objects", operation_id = "compare_object_versions",
    params(("kind" = String, Path), ("name" = String, Path), DiffQuery),
    responses((status = 200, body = ObjectDiff), ApiRefusal))]
pub(super) async fn diff(
    State(shared): OfApi,
    NamedObject(object): NamedObject,
    Query(query): Query<DiffQuery>,
) -> ObjectAnswer<ObjectDiff> {
    let to = query.to.unwrap_or(object.revision);
    let from = query.from.unwrap_or(to.saturating_sub(1));
    let catalog = &shared.settings.catalog.catalog;
    let newest = catalog.revision().await.map_err(|error| shared.refused(error))?;
    for (field, asked) in [("from", from), ("to", to)] {
        if asked > newest {
            let detail = format!("there is no revision {asked} yet: the newest of the catalog is {newest}");
            let fix = "the object's history has its revisions";
            return Err(ApiRefusal::bad("no-such-revision", detail, fix).in_field(field));
        }
    }
    let changes = catalog.diff(&object.workspace, &object.id, from, to).await;
    let changes = changes.map_err(|error| shared.refused(error))?;
    Ok(axum::Json(ObjectDiff { from, to, fields: fields(changes) }))
}

/// The objects whose specs name this one; of a secret, functions too that were uploaded and name it in their settings.
#[utoipa::path(get, path = path::OBJECT_USED_BY, tag = "objects", operation_id = "list_object_uses",
    params(("kind" = String, Path), ("name" = String, Path), WorkspaceQuery),
    responses((status = 200, body = UsedBy), ApiRefusal))]
pub(super) async fn used_by(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> ObjectAnswer<UsedBy> {
    let (kind, of) = object.key();
    let users = shared.settings.catalog.catalog.used_by(&object.workspace, kind, of).await;
    let users = users.map_err(|error| shared.refused(error))?;
    let all = users.len();
    let visible = shared.visible(&asker, &object.workspace, users).await?;
    let mut hidden = (all - visible.len()) as u64;
    let mut objects: Vec<_> = visible.iter().map(|user| name(user.content.kind, &user.content.name)).collect();
    if kind == ObjectKind::Secret {
        let uploaded = shared.uploaded_users(&object.workspace).remove(of).unwrap_or_default();
        let kind_of = |kind: PluginKind| match kind {
            PluginKind::Functions => ObjectKind::Function,
            PluginKind::Destinations => ObjectKind::Destination,
        };
        match asker.is_admin(&object.workspace) {
            true => objects.extend(uploaded.iter().map(|(kind, user)| name(kind_of(*kind), user))),
            false => hidden += uploaded.len() as u64,
        }
    }
    Ok(axum::Json(UsedBy { objects, hidden }))
}

/// An id of a user or a token.
pub(super) fn owner(text: &str) -> Result<ObjectId, ApiRefusal> {
    ObjectId::parse(text).map_err(|error| {
        let fix = "write the id of a user or a token";
        ApiRefusal::unprocessable("owner", error.to_string(), fix).in_field("owner")
    })
}
