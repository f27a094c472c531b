//! All paths of the API, and the document that describes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use tidegate_api_types::ProblemDetails;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refusal::ApiRefusal;
use super::{SharedApi, builds, destinations, functions, reload, v1, write_keys};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate admin API",
        description = "Uploads functions and destinations to a running server, makes versions live, takes them back, and shows \
            what they did; and everything else that there is, who may touch it, and what was done. docs/admin-api.md tells the same \
            as a story."
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "functions", description = "What changes events"),
        (name = "destinations", description = "What sends events to tools"),
        (name = "builds", description = "Uploads on their way to being versions"),
        (name = "sources", description = "Where events enter"),
        (name = "workspace", description = "The folder that the server runs"),
        (name = "objects", description = "What exists, with what it was before"),
        (name = "secrets", description = "Values that are written and shown to nobody"),
        (name = "plans", description = "What a folder would change"),
        (name = "drafts", description = "Changes that somebody else approves"),
        (name = "access", description = "Who asks, and their tokens"),
        (name = "audit", description = "Who did what"),
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Any refusal.
impl IntoResponses for ApiRefusal {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let content = || {
            ContentBuilder::new().schema(Some(utoipa::openapi::Ref::from_schema_name(ProblemDetails::name()))).build()
        };
        let response = |what: &str| {
            RefOr::T(ResponseBuilder::new().description(what).content(ProblemDetails::MEDIA_TYPE, content()).build())
        };
        BTreeMap::from([
            ("4XX".to_owned(), response("The request cannot be done")),
            ("5XX".to_owned(), response("The server cannot do it now")),
        ])
    }
}

/// The paths with their handlers, and the document.
pub(super) fn routes() -> (Router<Arc<SharedApi>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(functions::list))
        .routes(routes!(functions::show))
        .routes(routes!(functions::push))
        .routes(routes!(functions::live))
        .routes(routes!(functions::rollback))
        .routes(routes!(functions::canary))
        .routes(routes!(functions::settings))
        .routes(routes!(functions::attach))
        .routes(routes!(functions::detach))
        .routes(routes!(functions::logs))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::show))
        .routes(routes!(destinations::push))
        .routes(routes!(destinations::live))
        .routes(routes!(destinations::rollback))
        .routes(routes!(destinations::settings))
        .routes(routes!(destinations::logs))
        .routes(routes!(builds::show))
        .routes(routes!(write_keys::list))
        .routes(routes!(reload::reload))
        .merge(v1::routes())
        .split_for_parts()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::access;

    #[test]
    fn every_path_of_the_document_says_what_it_asks() {
        let document = serde_json::to_value(routes().1).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 20 + 20);
        let mut described = BTreeSet::new();
        for (path, operations) in paths {
            for method in operations.as_object().unwrap().keys() {
                let method = hyper::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let is_known = match path.starts_with("/api/v1/") {
                    true => v1::rule(&method, path).is_some(),
                    false => access::asked(&method, path, Some("a")).is_some(),
                };
                assert!(is_known, "{method} {path} has no rule: nobody would get an answer");
                described.insert((method.to_string(), path.clone()));
            }
        }
        for (method, path, _) in v1::rules() {
            assert!(
                described.contains(&(method.to_string(), path.to_owned())),
                "the rule of {method} {path} is of nothing"
            );
        }
        for path in ["/admin/functions/{name}/else", "/admin/else", "/"] {
            assert_eq!(access::asked(&hyper::Method::GET, path, Some("a")), None, "{path}");
        }
    }
}
