//! Secrets of the folder's files in objects that the catalog says: they go where the file says, and nowhere else.
//!
//! Whoever manages a released object has never seen the password of its file. With another host and the same password they would be sent it. So
//! what says where an object leads may differ from its file only where every secret is given anew. Of a destination that is every field but those
//! that are known to say how much, not where: a plugin's settings may have any names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tidegate_catalog::{ObjectKind, SECRET_REFERENCE};
use tidegate_document::node::{DocumentNode, Tree};
use tidegate_document::problem::Problem;

use super::documents::{CatalogOrigin, as_written};
use super::secret_masks::SecretMasks;

/// Fields of a destination that say how much, and not where.
const NOT_WHERE: [&str; 22] = [
    "batch",
    "columns_max",
    "compression",
    "file_bytes",
    "keep",
    "limits",
    "load",
    "lock_timeout",
    "look_up",
    "merge_files_min",
    "orphan_age",
    "partition",
    "paused",
    "pending",
    "profiles",
    "retry",
    "schema",
    "statement_time_max",
    "statement_timeout",
    "tables_max",
    "timeout",
    "traffic",
];

/// Fields that name files with secrets, which objects of the catalog may name where their own file does.
const KEY_FILES: [&str; 4] = ["passfile", "private_key_file", "service_account_path", "sslkey"];

/// What an object of the catalog has of a file of its name.
pub(super) struct FileSecrets<'a> {
    pub(super) own: &'a DocumentNode,
    pub(super) origin: &'a CatalogOrigin,
    /// Variables that every object of the catalog may name.
    pub(super) open: &'a BTreeSet<String>,
}

/// An object that leads elsewhere than its file, with a secret of that.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LedElsewhere {
    /// The field that differs.
    pub(super) field: String,
    /// The field whose value the file gives.
    pub(super) secret: String,
}

impl LedElsewhere {
    /// What is wrong with the object of this file.
    pub(super) fn problem(self, file: &Path) -> Problem {
        let Self { field, secret } = self;
        Problem {
            message: format!(
                "`{field}` is not what the folder's own file of this object says, and `{secret}` is a secret of that file, which goes nowhere else"
            ),
            fix: format!(
                "give the secret anew: keep it with PUT /api/v1/secrets/NAME and write `secret:NAME` as `{secret}`; or leave `{field}` as the file has it"
            ),
            file: file.to_owned(),
            line: 0,
            place: field,
        }
    }
}

/// A value that holds no others, and the names of the fields that it stands in.
struct DocumentLeaf<'v> {
    names: Vec<&'v str>,
    value: &'v Value,
}

/// By their places: `auth.password`, `allow_hosts[0]`.
type DocumentLeaves<'v> = BTreeMap<String, DocumentLeaf<'v>>;

impl FileSecrets<'_> {
    /// The first field by which an object would take a secret of its file elsewhere; `spec` is as the catalog has it.
    pub(super) fn led_elsewhere(&self, kind: ObjectKind, spec: &Value) -> Option<LedElsewhere> {
        if !matches!(kind, ObjectKind::Destination | ObjectKind::Function | ObjectKind::Alert) {
            return None;
        }
        let own = as_written(self.own);
        let (mut leaves, mut leaves_of_own) = (DocumentLeaves::new(), DocumentLeaves::new());
        collect(spec, "", &[], &mut leaves);
        collect(&own, "", &[], &mut leaves_of_own);
        let is_held = |(place, leaf): &(&String, &DocumentLeaf<'_>)| {
            self.origin.filled.contains(*place) || self.is_own_reference(leaf)
        };
        let secret = leaves.iter().find(is_held).map(|(place, _)| place.clone())?;
        // Another program would be given the secret.
        if !self.origin.files.is_empty() {
            return Some(LedElsewhere { field: "component".to_owned(), secret });
        }
        let places: BTreeSet<&String> = leaves.keys().chain(leaves_of_own.keys()).collect();
        let differs = |place: &&&String| self.differs(kind, place, (leaves.get(**place), leaves_of_own.get(**place)));
        let field = places.iter().find(differs).map(|place| (**place).clone())?;
        Some(LedElsewhere { field, secret })
    }

    /// Whether a place leads elsewhere as it is than it does in the file.
    fn differs(
        &self,
        kind: ObjectKind,
        place: &str,
        (is, was): (Option<&DocumentLeaf<'_>>, Option<&DocumentLeaf<'_>>),
    ) -> bool {
        let Some(names) = is.or(was).map(|leaf| leaf.names.as_slice()) else { return false };
        let first = names.first().copied().unwrap_or_default();
        let says_where = match kind {
            ObjectKind::Function => first == "component",
            ObjectKind::Alert => first == "notify",
            _ => !NOT_WHERE.contains(&first),
        };
        let masks = SecretMasks { key: [0; 32], may_hold_secrets: true, also: BTreeSet::new() };
        says_where
            && match (is, was) {
                (Some(is), Some(was)) if self.origin.filled.contains(place) => !fits(is.value, was.value),
                (Some(is), Some(was)) if is.value == was.value => false,
                (Some(is), _) => !(masks.is_secret(names) && is_of_catalog(is.value)),
                (None, _) => !masks.is_secret(names),
            }
    }

    /// Whether a value names a variable or a file that this object may name because its file does.
    fn is_own_reference(&self, leaf: &DocumentLeaf<'_>) -> bool {
        let Value::String(text) = leaf.value else { return false };
        let variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let is_own = |name: &str| self.origin.own_variables.contains(name) && !self.open.contains(name);
        let is_key_file = leaf.names.last().is_some_and(|name| KEY_FILES.contains(name));
        variable.is_some_and(is_own) || (is_key_file && self.origin.own_files.contains(text))
    }
}

/// The variables that `tidegate.yaml` lets every object of the catalog name.
pub(super) fn open_variables(main: Option<&DocumentNode>) -> BTreeSet<String> {
    let Some(Tree::Map(fields)) = main.map(|main| &main.value) else { return BTreeSet::new() };
    let listed = fields.iter().find(|field| field.name == "catalog_variables").map(|field| &field.node);
    let nodes = match listed.map(|node| &node.value) {
        Some(Tree::List(items)) => items.as_slice(),
        Some(Tree::Text(_)) => listed.map_or(&[][..], std::slice::from_ref),
        _ => &[],
    };
    let text = |node: &DocumentNode| match &node.value {
        Tree::Text(text) => Some(text.clone()),
        _ => None,
    };
    nodes.iter().filter_map(text).collect()
}

/// Whether a secret is given by the catalog.
fn is_of_catalog(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(SECRET_REFERENCE))
}

/// Whether an address with fingerprints in it is this one, as far as can be seen. The value of the file is taken for it anyway.
fn fits(masked: &Value, own: &Value) -> bool {
    let (Value::String(masked), Value::String(own)) = (masked, own) else { return true };
    let (mut masked, mut own) = (masked.as_str(), own.as_str());
    while let Some((before, behind)) = masked.split_once("(secret ") {
        let found = own.find(before).map(|at| own.split_at(at).1);
        let Some(rest) = found.and_then(|found| found.strip_prefix(before)) else { return false };
        own = rest;
        masked = behind.split_once(')').map_or("", |(_, behind)| behind);
    }
    own.ends_with(masked)
}

fn collect<'v>(value: &'v Value, place: &str, names: &[&'v str], leaves: &mut DocumentLeaves<'v>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                collect(value, &place, &[names, &[name.as_str()]].concat(), leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                collect(item, &format!("{place}[{at}]"), names, leaves);
            }
        }
        value => {
            leaves.insert(place.to_owned(), DocumentLeaf { names: names.to_vec(), value });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn led(own: &Value, spec: &Value, filled: &[&str], variables: &[&str]) -> Option<(String, String)> {
        let origin = CatalogOrigin {
            filled: filled.iter().map(|place| (*place).to_owned()).collect(),
            own_variables: variables.iter().map(|name| (*name).to_owned()).collect(),
            ..CatalogOrigin::default()
        };
        let (own, open) = (DocumentNode::from_json(own), BTreeSet::from(["OPEN".to_owned()]));
        let secrets = FileSecrets { own: &own, origin: &origin, open: &open };
        secrets.led_elsewhere(ObjectKind::Destination, spec).map(|led| (led.field, led.secret))
    }

    #[test]
    fn a_secret_of_a_file_goes_where_the_file_says() {
        let own = json!({"kind": "postgres", "host": "a", "password": "hunter2", "columns_max": 100});
        let masked = |host: &str| json!({"kind": "postgres", "host": host, "password": "(secret 0123abcd)"});
        assert_eq!(led(&own, &masked("a"), &["password"], &[]), None, "how much is not where");
        let elsewhere = Some(("host".to_owned(), "password".to_owned()));
        assert_eq!(led(&own, &masked("b"), &["password"], &[]), elsewhere);
        let anew = json!({"kind": "postgres", "host": "b", "password": "secret:mine"});
        assert_eq!(led(&own, &anew, &[], &[]), None, "it is given anew");
        let mut more = masked("a");
        more["port"] = json!(5433);
        assert_eq!(led(&own, &more, &["password"], &[]).unwrap().0, "port");
        let without = json!({"kind": "postgres", "password": "(secret 0123abcd)"});
        assert_eq!(led(&own, &without, &["password"], &[]).unwrap().0, "host");
    }

    #[test]
    fn a_variable_that_the_file_alone_may_name_goes_where_the_file_says() {
        let named = |host: &str, variable: &str| json!({"host": host, "password": format!("${{{variable}}}")});
        let own = named("a", "CRM");
        assert_eq!(led(&own, &own, &[], &["CRM"]), None);
        assert_eq!(led(&own, &named("b", "CRM"), &[], &["CRM"]).unwrap().0, "host");
        assert_eq!(led(&own, &named("b", "OPEN"), &[], &["CRM", "OPEN"]), None, "everybody may name it");
        let moved = json!({"host": "a", "password": "secret:mine", "settings": {"note": "${CRM}"}});
        assert_eq!(led(&own, &moved, &[], &["CRM"]).unwrap().0, "settings.note");
    }

    #[test]
    fn an_address_with_a_fingerprint_is_that_of_the_file() {
        let own = json!({"url": "postgres://ann:hunter2@db.example/shop?sslmode=require"});
        let masked =
            |host: &str| json!({"url": format!("postgres://ann:(secret 0123abcd)@{host}/shop?(secret 4567cdef)")});
        assert_eq!(led(&own, &masked("db.example"), &["url"], &[]), None);
        assert_eq!(led(&own, &masked("evil.example"), &["url"], &[]).unwrap().0, "url");
    }
}
