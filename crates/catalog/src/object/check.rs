//! What names, labels and specs may be.

use serde_json::Value;

use super::{ObjectContent, ObjectKind, SERVER_WORKSPACE};

const NAME_CHARS_MAX: usize = 200;
const LABELS_MAX: usize = 64;
const LABEL_CHARS_MAX: usize = 100;
/// Of a spec as JSON text.
const SPEC_BYTES_MAX: usize = 1 << 20;

/// What an object may not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblem {
    #[error(
        "the name {0:?} cannot be used; a name has 1 to 200 characters, begins and ends with none that is white, and has no control characters"
    )]
    Name(String),
    #[error(
        "the label {0:?} cannot be used; keys and values have 1 to 100 characters, letters, digits and any of `.`, `_`, `-`, `/`, and an object has at most 64 labels"
    )]
    Label(String),
    #[error(
        "the spec has {bytes} bytes as JSON, and {SPEC_BYTES_MAX} are the most; put what is large into a file of its own"
    )]
    SpecSize { bytes: usize },
    #[error("the spec is no JSON object")]
    SpecShape,
    #[error("{0:?} is no name of a workspace; it has 1 to 63 small letters, digits and `-`, and begins with a letter")]
    Workspace(String),
    #[error(
        "a {kind} cannot be in the workspace {found:?}: users and groups are in {SERVER_WORKSPACE:?}, roles and tokens in any, and all else in one of the other workspaces"
    )]
    OfServer { kind: ObjectKind, found: String },
    #[error("{field}: {problem}")]
    Spec { field: String, problem: String },
}

/// Holds a workspace's name against the rule: `development`, `_server`.
///
/// # Errors
/// It has other characters.
pub fn check_workspace(name: &str) -> Result<(), ContentProblem> {
    let is_plain = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_plain || name == SERVER_WORKSPACE { Ok(()) } else { Err(ContentProblem::Workspace(shortened(name))) }
}

impl ObjectContent {
    /// Holds name, labels and spec against their bounds, and the kind against the workspace.
    ///
    /// # Errors
    /// The first thing that cannot be kept.
    pub fn check(&self, workspace: &str) -> Result<(), ContentProblem> {
        check_workspace(workspace)?;
        let is_of_any = matches!(self.kind, ObjectKind::Role | ObjectKind::Token);
        if !is_of_any && self.kind.is_of_server() != (workspace == SERVER_WORKSPACE) {
            return Err(ContentProblem::OfServer { kind: self.kind, found: workspace.to_owned() });
        }
        if !is_name(&self.name) {
            return Err(ContentProblem::Name(shortened(&self.name)));
        }
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        if let Some(label) = labels.into_iter().find(|part| !is_label(part)) {
            return Err(ContentProblem::Label(shortened(label)));
        }
        if self.labels.len() > LABELS_MAX {
            return Err(ContentProblem::Label(format!("{} labels", self.labels.len())));
        }
        if !matches!(self.spec, Value::Object(_)) {
            return Err(ContentProblem::SpecShape);
        }
        let bytes = self.spec.to_string().len();
        if bytes > SPEC_BYTES_MAX { Err(ContentProblem::SpecSize { bytes }) } else { Ok(()) }
    }
}

fn is_name(name: &str) -> bool {
    let chars = name.chars().count();
    (1..=NAME_CHARS_MAX).contains(&chars)
        && name.trim() == name
        && !name.contains(|c: char| c.is_control() || c == '\u{10FFFF}')
}

fn is_label(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    (1..=LABEL_CHARS_MAX).contains(&part.len()) && part.bytes().all(is_plain)
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str) -> ObjectContent {
        let spec = serde_json::json!({});
        ObjectContent { kind: ObjectKind::Source, name: name.into(), labels: Default::default(), owner: None, spec }
    }

    #[test]
    fn names_of_events_have_spaces_and_no_name_has_control_characters() {
        assert_eq!(content("Order Completed – é").check("production"), Ok(()));
        for name in ["", " a", "a ", "a\nb", "a\0b", &"x".repeat(201)] {
            assert!(matches!(content(name).check("production"), Err(ContentProblem::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn labels_workspaces_and_specs_are_bounded() {
        let mut labelled = content("a");
        labelled.labels.insert("team".into(), "web\"".into());
        assert!(matches!(labelled.check("production"), Err(ContentProblem::Label(_))));
        assert!(matches!(content("a").check("Production"), Err(ContentProblem::Workspace(_))));
        assert!(matches!(content("a").check("_server"), Err(ContentProblem::OfServer { .. })));
        let large = ObjectContent { spec: serde_json::json!({ "a": "x".repeat(SPEC_BYTES_MAX) }), ..content("a") };
        assert!(matches!(large.check("production"), Err(ContentProblem::SpecSize { .. })));
        let flat = ObjectContent { spec: Value::from(1), ..content("a") };
        assert_eq!(flat.check("production"), Err(ContentProblem::SpecShape));
    }
}
