//! Who asks, for handlers: with which rights a change is made, and what the audit log says of it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use tidegate_catalog::{
    ActingPrincipal, Actor, Authority, CatalogChange, ChangeOrigin, ObjectEdit, ObjectId, ObjectKind, SERVER_WORKSPACE,
};
use tidegate_process::clock;

use crate::api::access::{Principal, WORKSPACE_DEFAULT, is_admin};
use crate::api::refusal::ApiRefusal;
use crate::api::v1::refused::absent;
use crate::api::{EngineSettings, SharedApi};

/// What handlers are handed.
pub(super) type OfApi = State<Arc<SharedApi>>;

/// The address that a request came from.
#[derive(Debug, Clone)]
pub(in crate::api) struct AskedFrom(pub(in crate::api) String);

/// What is said of the admin token, which is nobody's in the catalog.
pub(super) const BREAK_GLASS: &str = "the admin token";

/// Whoever asks, now.
pub(in crate::api) struct Requester {
    principal: Principal,
    pub(super) actor: Actor,
    pub(super) at_us: i64,
}

impl Requester {
    pub(super) fn of(principal: &Principal, from: Option<&AskedFrom>, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (agent, request) = (text(header::USER_AGENT.as_str()), text("x-request-id"));
        let address = from.map(|from| from.0.clone());
        let actor = match principal {
            Principal::Admin => {
                let agent = agent.map_or(BREAK_GLASS.to_owned(), |agent| format!("{BREAK_GLASS}; {agent}"));
                Actor { agent: Some(agent), address, request, ..Actor::default() }
            }
            Principal::Acting(acting) => {
                let token = acting.is_token().then(|| acting.id.clone());
                Actor { principal: Some(acting.person.clone()), token, address, agent, request }
            }
        };
        Self { principal: principal.clone(), actor, at_us: clock::now_us() }
    }

    /// A user or a token of the catalog; none for the admin token.
    pub(super) fn acting(&self) -> Option<&Arc<ActingPrincipal>> {
        match &self.principal {
            Principal::Admin => None,
            Principal::Acting(acting) => Some(acting),
        }
    }

    /// Whether they may do everything in a workspace.
    pub(super) fn is_admin(&self, workspace: &str) -> bool {
        self.acting().is_none_or(|acting| is_admin(acting, workspace))
    }

    /// By whom something is said to be asked for, where that is kept.
    pub(super) fn asked_by(&self) -> String {
        self.acting().map_or_else(|| BREAK_GLASS.to_owned(), |acting| acting.person.to_string())
    }

    pub(super) fn authority(&self) -> Authority {
        self.acting().map_or(Authority::Program, |acting| Authority::Principal(acting.id.clone()))
    }

    /// Edits as a change of theirs. One that is forced changes what a file manages as well.
    pub(super) fn change(&self, workspace: &str, edits: Vec<ObjectEdit>, is_forced: bool) -> CatalogChange {
        CatalogChange {
            origin: ChangeOrigin::Api { is_forced },
            authority: self.authority(),
            actor: self.actor.clone(),
            ..CatalogChange::by_program(workspace, edits, self.at_us)
        }
    }

    /// What takes somebody of the catalog: a draft has an author, and somebody else who approves it.
    pub(super) fn person(&self) -> Result<ObjectId, ApiRefusal> {
        self.acting().map(|acting| acting.id.clone()).ok_or_else(|| {
            let detail = "a draft is proposed and decided by users of the catalog, and the admin token is none of them";
            ApiRefusal::new(hyper::StatusCode::FORBIDDEN, "person", detail, "send a user's API token")
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Requester {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiRefusal> {
        let principal = parts.extensions.get::<Principal>().ok_or_else(ApiRefusal::forbidden)?;
        Ok(Self::of(principal, parts.extensions.get(), &parts.headers))
    }
}

/// The workspace of an object of this kind. Users and groups are the server's.
pub(super) fn workspace_of(kind: ObjectKind, asked: Option<&str>) -> String {
    let workspace = if kind.is_of_server() { SERVER_WORKSPACE } else { asked.unwrap_or(WORKSPACE_DEFAULT) };
    workspace.to_owned()
}

impl SharedApi {
    /// The environment that a request names, for whoever has a role in it; nobody else hears more than that `what` is not there.
    pub(super) fn engine_of(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
        what: &'static str,
    ) -> Result<(String, Arc<EngineSettings>), ApiRefusal> {
        let workspace = workspace.unwrap_or(WORKSPACE_DEFAULT).to_owned();
        if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
            return Err(absent(what));
        }
        let engine = self.engine(&workspace)?;
        Ok((workspace, engine))
    }
}
