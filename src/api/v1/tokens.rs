//! API tokens: made and shown once, listed without their texts.

use std::collections::BTreeMap;

use axum::extract::State;
use hyper::StatusCode;
use serde::Deserialize as _;
use tidegate_api_types::control::{CreateToken, CreatedToken, ShownToken, ShownTokenForm, Tokens};
use tidegate_api_types::object::{ObjectQuery, WorkspaceQuery};
use tidegate_api_types::path;
use tidegate_catalog::{
    CatalogObject, ListQuery, NewToken, ObjectContent, ObjectId, ObjectKind, RightsTarget, RoleGrants,
    SERVER_WORKSPACE, TokenForm, TokenSpec, Verb, authorise,
};
use tidegate_event::time;

use super::asker::{OfApi, Requester, workspace_of};
use super::permit::{AskedThing, denied_in_log};
use super::shown::limit;
use crate::api::SharedApi;
use crate::api::extract::{Json, Query, without_text};
use crate::api::refusal::ApiRefusal;

/// The user in whose name the admin token makes tokens, unless another one is named.
const MAKER_DEFAULT: &str = "admin";
const DAYS_MAX: u64 = 400;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// The tokens of a workspace that one may view, by name. `prefix`, `cursor` and `limit` count.
#[utoipa::path(get, path = path::TOKENS, tag = "access", operation_id = "list_tokens",
    params(ObjectQuery), responses((status = 200, body = Tokens), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<ObjectQuery>,
) -> Result<axum::Json<Tokens>, ApiRefusal> {
    let workspace = workspace_of(ObjectKind::Token, query.workspace.as_deref());
    let asked = ListQuery {
        workspace: workspace.clone(),
        kind: Some(ObjectKind::Token),
        name_prefix: query.prefix,
        cursor: query.cursor,
        limit: limit(query.limit),
        ..ListQuery::default()
    };
    let catalog = &shared.settings.catalog.catalog;
    let page = catalog.list(&asked).await.map_err(|error| shared.refused(error))?;
    let objects = shared.visible(&asker, &workspace, page.objects).await?;
    let uses = match (objects.first(), objects.last()) {
        (Some(first), Some(last)) => {
            let names = first.content.name.as_str()..=last.content.name.as_str();
            catalog.last_uses(&workspace, ObjectKind::Token, names).await.map_err(|error| shared.refused(error))?
        }
        _ => BTreeMap::new(),
    };
    let shown = |object: &CatalogObject| shown(object, uses.get(&object.id).copied(), asker.at_us);
    let mut tokens: Vec<ShownToken> = objects.iter().filter_map(shown).collect();
    let names = shared.names_of(tokens.iter().map(|token| token.maker.as_str()).collect()).await?;
    for token in &mut tokens {
        token.maker_name = names.of(Some(&token.maker));
    }
    Ok(axum::Json(Tokens { tokens, next: page.next }))
}

/// Makes a token for oneself. Its text is in the answer and nowhere else. The admin token makes one in a user's name.
#[utoipa::path(post, path = path::TOKENS, tag = "access", operation_id = "create_token",
    params(WorkspaceQuery), request_body = CreateToken,
    responses((status = 201, body = CreatedToken), ApiRefusal))]
pub(super) async fn create(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(asked): Json<CreateToken>,
) -> Result<(StatusCode, axum::Json<CreatedToken>), ApiRefusal> {
    let workspace = workspace_of(ObjectKind::Token, query.workspace.as_deref());
    let maker = shared.maker(&asker, &workspace, &asked).await?;
    let grants = asked.grants.map(|grants| {
        RoleGrants::deserialize(grants).map_err(|error| {
            let fix = "send the grants of a role: `create`, `access`, `reveal`, `see_payloads`, `only_proposes`";
            let detail = format!("`grants`: {}", without_text(&error.to_string()));
            ApiRefusal::unprocessable("content", detail, fix).in_field("grants")
        })
    });
    let life_us = asked.days.map(|days| i64::try_from(days.clamp(1, DAYS_MAX)).unwrap_or(1) * DAY_US);
    let new = NewToken {
        workspace,
        name: asked.name.clone(),
        form: match asked.form {
            ShownTokenForm::Person => TokenForm::Person,
            ShownTokenForm::Service => TokenForm::Service,
        },
        grants: grants.transpose()?,
        life_us,
        maker,
        actor: asker.actor.clone(),
        at_us: asker.at_us,
    };
    let issued = shared.settings.catalog.catalog.create_token(&new).await.map_err(|error| shared.refused(error))?;
    let token = issued.value.expose_text().unwrap_or_default().to_owned();
    let created = CreatedToken { id: issued.id.to_string(), name: asked.name, token };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

impl SharedApi {
    /// The user whose token it will be.
    async fn maker(&self, asker: &Requester, workspace: &str, asked: &CreateToken) -> Result<ObjectId, ApiRefusal> {
        let Some(acting) = asker.acting() else {
            let name = asked.user.as_deref().unwrap_or(MAKER_DEFAULT);
            return Ok(self.object(SERVER_WORKSPACE, ObjectKind::User, name).await?.id);
        };
        // The catalog asks of the maker; that a token makes no tokens is asked of who asks.
        let spec = serde_json::Value::Null;
        let labels = Default::default();
        let owner = Some(acting.person.clone());
        let content = ObjectContent { kind: ObjectKind::Token, name: asked.name.clone(), labels, owner, spec };
        let target = RightsTarget::of_new(workspace, &content, |_, _| None);
        if let Err(denial) = authorise(acting, Verb::Create.into(), &target) {
            let asked = AskedThing { workspace, verb: Verb::Create, object: None };
            return Err(denied_in_log(self, asker, asked, denial).await);
        }
        if asked.user.is_some() {
            let detail = "a token is made by the one whose it is";
            let fix = "leave `user` out, or send the admin token (`--token tg_…`), which makes one in a user's name";
            return Err(ApiRefusal::unprocessable("user", detail, fix).in_field("user"));
        }
        Ok(acting.person.clone())
    }
}

fn shown(object: &CatalogObject, last_used: Option<i64>, now_us: i64) -> Option<ShownToken> {
    let spec = TokenSpec::deserialize(&object.content.spec).ok()?;
    Some(ShownToken {
        id: object.id.to_string(),
        name: object.content.name.clone(),
        form: match spec.form {
            TokenForm::Person => ShownTokenForm::Person,
            TokenForm::Service => ShownTokenForm::Service,
        },
        maker: spec.maker.to_string(),
        maker_name: None,
        last4: spec.last4,
        expires_at: time::format(spec.expires_at_us),
        expired: spec.expires_at_us <= now_us,
        last_used: last_used.map(time::format),
    })
}
