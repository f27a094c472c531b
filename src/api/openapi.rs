//! All paths of the API, and the document that describes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use tidegate_api_types::ProblemDetails;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refusal::ApiRefusal;
use super::{SharedApi, builds, destinations, functions, reload, scripts, v1, write_keys};

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
    security(("token" = []), ("session" = [])),
    tags(
        (name = "functions", description = "What changes events"),
        (name = "destinations", description = "What sends events to tools"),
        (name = "builds", description = "Uploads on their way to being versions"),
        (name = "sources", description = "Where events enter"),
        (name = "workspace", description = "The folder that the server runs"),
        (name = "objects", description = "What exists, with what it was before"),
        (name = "contracts", description = "Domains, events and components, in the shapes of Hightouch's API"),
        (name = "secrets", description = "Values that are written and shown to nobody"),
        (name = "quarantine", description = "Events that go no further, why, and their way back"),
        (name = "replays", description = "Parts of the log that go to a sync once more"),
        (name = "alerts", description = "Conditions that people are told of"),
        (name = "rebuilds", description = "Tables of a sync that are made anew beside the old ones"),
        (name = "warehouses", description = "Tables of embedded warehouses, read by SQL"),
        (name = "traces", description = "What has become of single events, and events while they pass"),
        (name = "plans", description = "What a folder would change, and making it so"),
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
        let session = ApiKey::Cookie(ApiKeyValue::new("tidegate_session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
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

/// OpenAPI wants a description of every answer, and generators of clients refuse a document that lacks one.
fn describe_answers(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            for answer in operation.responses.responses.values_mut() {
                if let RefOr::T(answer) = answer
                    && answer.description.is_empty()
                {
                    "What was asked for".clone_into(&mut answer.description);
                }
            }
        }
    }
}

/// The paths with their handlers, and the document.
pub(super) fn routes() -> (Router<Arc<SharedApi>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
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
        .routes(routes!(scripts::show, scripts::push))
        .routes(routes!(scripts::try_out))
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
        .split_for_parts();
    describe_answers(&mut document);
    (router, document)
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
        let of_catalog: BTreeSet<&str> = v1::rules().map(|(_, path, _)| path).collect();
        assert_eq!(paths.len(), 22 + of_catalog.len());
        let mut described = BTreeSet::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap();
                assert!(
                    answers.values().all(|answer| answer["description"].is_string()),
                    "{method} {path}: {answers:?}"
                );
                assert!(operation["operationId"].is_string(), "{method} {path} has no name for clients");
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
