//! Kinds of objects.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an object is. The order is that of dependency: what others refer to comes before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    User,
    Group,
    Role,
    Token,
    Secret,
    Lookup,
    Function,
    Domain,
    Component,
    Event,
    Source,
    WriteKey,
    Destination,
    Sync,
    Alert,
}

/// Each kind, its name in specs and answers, and the prefix of its ids.
const NAMES: [(ObjectKind, &str, &str); 15] = [
    (ObjectKind::User, "user", "usr"),
    (ObjectKind::Group, "group", "grp"),
    (ObjectKind::Role, "role", "rol"),
    (ObjectKind::Token, "token", "tok"),
    (ObjectKind::Secret, "secret", "sec"),
    (ObjectKind::Lookup, "lookup", "lkp"),
    (ObjectKind::Function, "function", "fun"),
    (ObjectKind::Domain, "domain", "dom"),
    (ObjectKind::Component, "component", "cmp"),
    (ObjectKind::Event, "event", "evt"),
    (ObjectKind::Source, "source", "src"),
    (ObjectKind::WriteKey, "write_key", "wky"),
    (ObjectKind::Destination, "destination", "dst"),
    (ObjectKind::Sync, "sync", "syn"),
    (ObjectKind::Alert, "alert", "alr"),
];

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no kind of object; there are user, group, role, token, secret, lookup, function, domain, component, event, source, write_key, destination, sync and alert"
)]
pub struct UnknownKind(pub String);

impl ObjectKind {
    /// Every kind, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(kind, ..)| *kind)
    }

    /// `write_key`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// How ids of this kind begin: `src` of `src_7Zk…`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        NAMES[self as usize].2
    }

    /// Whether objects of this kind belong to the whole server and to no workspace of it.
    #[must_use]
    pub const fn is_of_server(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }

    pub(super) fn of_prefix(prefix: &str) -> Option<Self> {
        NAMES.iter().find(|(.., known)| *known == prefix).map(|(kind, ..)| *kind)
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.name().replace('_', " "))
    }
}

impl FromStr for ObjectKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = NAMES.iter().find(|(_, name, _)| *name == text);
        found.map(|(kind, ..)| *kind).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_names_is_in_the_order_of_the_kinds() {
        for (at, kind) in ObjectKind::all().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(ObjectKind::of_prefix(kind.prefix()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!("gadget".parse::<ObjectKind>().is_err());
    }
}
