//! The environment, as files of a workspace may ask for it: `${NAME}` as a whole text.

use std::path::{Path, PathBuf};

use tidegate_document::fields::{Fields, SecretText};
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::Problem;

/// A variable of the environment, if it is set to something that is text.
#[expect(clippy::disallowed_methods, reason = "the configuration is the one reader of the environment")]
pub(crate) fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The home directory of whoever runs the program.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir()
}

/// The fields of a file of the workspace.
pub(super) fn fields<'a>(file: &'a Path, node: &'a DocumentNode, problems: &'a mut Vec<Problem>) -> Fields<'a> {
    Fields::new(file, node, problems).with_variables(&environment).with_secrets(&not_at_hand)
}

/// Secrets are a server's.
fn not_at_hand(_: &str) -> SecretText {
    SecretText::NotAtHand
}
