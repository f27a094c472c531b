//! What stands for a secret until a request is sent.

pub(super) const OPEN: &str = "{{secret.";
pub(super) const CLOSE: &str = "}}";

/// What a guest sees in place of the secret `name`.
#[must_use]
pub fn placeholder(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Whether `text` asks for any secret.
#[must_use]
pub fn has_placeholder(text: &str) -> bool {
    text.contains(OPEN)
}
