//! What each endpoint asks: one row for each method of each path.

use hyper::Method;
use tidegate_api_types::path;
use tidegate_catalog::Verb;

/// Who may have an endpoint's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum EndpointRule {
    /// Everybody with a token; the answer holds nothing but what they may view.
    Filtered,
    /// Whoever may do this to the object that the path names.
    Named(Verb),
    /// The same; where there is no such object yet, the catalog asks whoever would make it.
    NamedOrNew(Verb),
    /// Whoever may do this to the source that the path names.
    OfSource(Verb),
    /// Whoever may view the object that the path names, or, by its id, could have viewed one that was deleted.
    Past,
    /// Whoever may do this in the workspace that the query names, or in the server's own.
    Workspace(Verb),
    /// Whoever may do this in the server's own workspace.
    Server(Verb),
    /// The catalog asks in the transaction of the change.
    InChange,
    /// Everybody, without a token: by these people sign in.
    Open,
}

use EndpointRule::{Filtered, InChange, Named, NamedOrNew, OfSource, Open, Past, Server, Workspace};

const RULES: &[(Method, &str, EndpointRule)] = &[
    (Method::GET, path::WHO_AM_I, Filtered),
    (Method::GET, path::LOGIN, Open),
    (Method::POST, path::LOGIN, Open),
    (Method::GET, path::LOGIN_PROVIDER, Open),
    (Method::GET, path::LOGIN_CALLBACK, Open),
    (Method::POST, path::LOGIN_DEVICE, Open),
    (Method::POST, path::LOGIN_DEVICE_POLL, Open),
    (Method::DELETE, path::SESSION, Filtered),
    (Method::PUT, path::USER_PASSWORD, InChange),
    (Method::GET, path::OBJECTS, Filtered),
    (Method::POST, path::OBJECTS, InChange),
    (Method::GET, path::OBJECT, Named(Verb::View)),
    (Method::PUT, path::OBJECT, Named(Verb::Update)),
    (Method::DELETE, path::OBJECT, Named(Verb::Delete)),
    (Method::GET, path::OBJECT_HISTORY, Past),
    (Method::GET, path::OBJECT_DIFF, Past),
    (Method::GET, path::OBJECT_USED_BY, Named(Verb::View)),
    (Method::POST, path::OBJECT_RELEASE, Named(Verb::Adopt)),
    (Method::POST, path::OBJECT_ADOPT, Named(Verb::Adopt)),
    (Method::POST, path::OBJECT_PAUSE, Named(Verb::Update)),
    (Method::POST, path::OBJECT_RESUME, Named(Verb::Update)),
    (Method::POST, path::OBJECT_TEST, NamedOrNew(Verb::Test)),
    (Method::GET, path::SECRETS, Filtered),
    (Method::PUT, path::SECRET, InChange),
    (Method::GET, path::SOURCE_WRITE_KEYS, OfSource(Verb::View)),
    // A write key has the rights of its source. The catalog asks once more, in the transaction of the change.
    (Method::POST, path::SOURCE_WRITE_KEYS, OfSource(Verb::Update)),
    (Method::DELETE, path::SOURCE_WRITE_KEY, OfSource(Verb::Update)),
    (Method::POST, path::SOURCE_WRITE_KEY_ROTATE, OfSource(Verb::Update)),
    (Method::POST, path::PLANS, Filtered),
    (Method::POST, path::APPLY, InChange),
    // The handler asks what may be seen of the one workspace, the catalog what may be changed of the other.
    (Method::POST, path::PROMOTIONS, InChange),
    (Method::GET, path::RUNNING, Filtered),
    // The handlers ask: a file belongs to the objects that name it.
    (Method::GET, path::BLOB, Filtered),
    (Method::PUT, path::BLOB, InChange),
    (Method::GET, path::DRAFTS, Filtered),
    (Method::POST, path::DRAFTS, InChange),
    (Method::GET, path::DRAFT, Filtered),
    (Method::POST, path::DRAFT_APPROVE, InChange),
    (Method::POST, path::DRAFT_CLOSE, InChange),
    (Method::GET, path::TOKENS, Filtered),
    (Method::POST, path::TOKENS, InChange),
    (Method::GET, path::AUDIT, Workspace(Verb::ReadAudit)),
    (Method::GET, path::AUDIT_EXPORT, Workspace(Verb::ReadAudit)),
    // The log is one for all workspaces, and so is the question whether it is whole.
    (Method::POST, path::AUDIT_VERIFY, Server(Verb::ReadAudit)),
    (Method::GET, path::EVENT_DOMAINS, Filtered),
    (Method::POST, path::EVENT_DOMAINS, InChange),
    (Method::GET, path::EVENT_DOMAIN, Filtered),
    (Method::PATCH, path::EVENT_DOMAIN, InChange),
    (Method::GET, path::EVENT_CONTRACTS, Filtered),
    (Method::POST, path::EVENT_CONTRACTS, InChange),
    (Method::GET, path::EVENT_CONTRACT, Filtered),
    (Method::PATCH, path::EVENT_CONTRACT, InChange),
];

/// The rule of a method of a path, as it is registered.
pub(in crate::api) fn rule(method: &Method, path: &str) -> Option<EndpointRule> {
    // The answer to HEAD is that to GET without its body.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    rules().find(|(of, at, _)| of == method && *at == path).map(|(_, _, rule)| rule)
}

/// Whether a request to this path is looked at though nobody is known by it: what is there asks for itself.
pub(in crate::api) fn is_open(asked: &str) -> bool {
    asked.strip_prefix(path::LOGIN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every rule.
pub(in crate::api) fn rules() -> impl Iterator<Item = (Method, &'static str, EndpointRule)> {
    RULES.iter().cloned()
}
