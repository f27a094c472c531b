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
    /// Whoever may do this to the alert that the path names.
    OfAlert(Verb),
    /// Whoever may do this to the destination that the path names.
    OfDestination(Verb),
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

use EndpointRule::{
    Filtered, InChange, Named, NamedOrNew, OfAlert, OfDestination, OfSource, Open, Past, Server, Workspace,
};

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
    // The handlers ask the same of every sync that writes to it.
    (Method::GET, path::DESTINATION_QUERY, OfDestination(Verb::SeePayloads)),
    (Method::POST, path::DESTINATION_QUERY, OfDestination(Verb::SeePayloads)),
    (Method::GET, path::ROLES, Filtered),
    (Method::GET, path::SECRETS, Filtered),
    (Method::PUT, path::SECRET, InChange),
    (Method::GET, path::SOURCE_WRITE_KEYS, OfSource(Verb::View)),
    // A write key has the rights of its source. The catalog asks once more, in the transaction of the change.
    (Method::POST, path::SOURCE_WRITE_KEYS, OfSource(Verb::Update)),
    (Method::DELETE, path::SOURCE_WRITE_KEY, OfSource(Verb::Update)),
    (Method::POST, path::SOURCE_WRITE_KEY_ROTATE, OfSource(Verb::Update)),
    (Method::GET, path::SOURCE_STREAM, OfSource(Verb::View)),
    (Method::POST, path::SOURCE_SEEK, OfSource(Verb::Update)),
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
    (Method::GET, path::CONSERVATION, Workspace(Verb::ReadAudit)),
    (Method::GET, path::EVENT_DOMAINS, Filtered),
    (Method::POST, path::EVENT_DOMAINS, InChange),
    (Method::GET, path::EVENT_DOMAIN, Filtered),
    (Method::PATCH, path::EVENT_DOMAIN, InChange),
    (Method::GET, path::EVENT_CONTRACTS, Filtered),
    (Method::POST, path::EVENT_CONTRACTS, InChange),
    (Method::GET, path::EVENT_CONTRACT, Filtered),
    (Method::PATCH, path::EVENT_CONTRACT, InChange),
    // The handlers ask what may be seen of each source and each sync.
    (Method::GET, path::ACTIVITY, Filtered),
    (Method::GET, path::CONTRACT_TRAFFIC, Filtered),
    (Method::POST, path::CONTRACT_TRAFFIC, Filtered),
    (Method::GET, path::CONTRACT_VIOLATIONS, Filtered),
    // It is the same for everybody: what this program can do.
    (Method::GET, path::DESTINATION_KINDS, Filtered),
    // The handlers ask what may be seen of the source of each record, and of each sync.
    (Method::GET, path::TRACE, Filtered),
    (Method::GET, path::TAP, Filtered),
    // An entry is of a source or a sync: the handlers ask what may be seen of those, and what may be done with them.
    (Method::GET, path::QUARANTINE, Filtered),
    (Method::GET, path::QUARANTINE_COUNTS, Filtered),
    (Method::GET, path::QUARANTINE_EXPORT, Filtered),
    (Method::POST, path::QUARANTINE_TRY, Filtered),
    (Method::POST, path::QUARANTINE_RETRY, InChange),
    (Method::POST, path::QUARANTINE_PURGE, InChange),
    (Method::GET, path::QUARANTINE_JOBS, Filtered),
    (Method::GET, path::QUARANTINE_JOB, Filtered),
    (Method::POST, path::QUARANTINE_JOB_CANCEL, InChange),
    (Method::GET, path::QUARANTINE_ENTRY, Filtered),
    (Method::POST, path::QUARANTINE_ENTRY_EDIT, InChange),
    // A replay is of a sync: the handlers ask whether events of it may be replayed.
    (Method::GET, path::REPLAYS, Filtered),
    (Method::POST, path::REPLAYS, InChange),
    (Method::GET, path::REPLAY, Filtered),
    (Method::POST, path::REPLAY_CANCEL, InChange),
    // Alerts are objects: the handlers leave out what may not be viewed.
    (Method::GET, path::ALERTS, Filtered),
    (Method::GET, path::ALERT_HISTORY, Filtered),
    (Method::POST, path::ALERT_TEST, OfAlert(Verb::Test)),
    (Method::POST, path::ALERT_MUTE, OfAlert(Verb::Update)),
    (Method::POST, path::ALERT_UNMUTE, OfAlert(Verb::Update)),
    // A rebuild is of a sync too.
    (Method::POST, path::SYNC_REBUILD, InChange),
    (Method::POST, path::SYNC_SWAP, InChange),
    (Method::GET, path::REBUILDS, Filtered),
    (Method::GET, path::REBUILD, Filtered),
    (Method::POST, path::REBUILD_CANCEL, InChange),
    // For admins of the workspace alone: the handlers ask.
    (Method::GET, path::PRIVACY_SUPPRESSED, Filtered),
    (Method::POST, path::PRIVACY_SUPPRESS, InChange),
    (Method::POST, path::PRIVACY_UNSUPPRESS, InChange),
    (Method::POST, path::PRIVACY_CONSENT, InChange),
    (Method::POST, path::PRIVACY_FORGET, InChange),
    (Method::POST, path::PRIVACY_VERIFY, Filtered),
    (Method::GET, path::PRIVACY_JOBS, Filtered),
    (Method::GET, path::PRIVACY_JOB, Filtered),
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
