//! Ids: never used twice, safe in a URL, and telling the kind.

use serde::{Deserialize, Serialize};

use super::kind::ObjectKind;
use crate::entropy::{Entropy, base62};

/// Digits of base 62 behind the prefix: 119 bits.
const DIGITS: usize = 20;

/// `src_` and 20 digits of base 62. It stays when the object gets another name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId(String);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no id; an id is a prefix like \"src\", an underscore and 20 letters or digits")]
pub struct NotAnObjectId(pub String);

impl ObjectId {
    /// A new id.
    #[must_use]
    pub fn new(kind: ObjectKind, entropy: &dyn Entropy) -> Self {
        Self(format!("{}_{}", kind.prefix(), base62(entropy, DIGITS)))
    }

    /// Reads an id.
    ///
    /// # Errors
    /// It has another shape.
    pub fn parse(text: &str) -> Result<Self, NotAnObjectId> {
        let parts = text.split_once('_');
        let known = parts.is_some_and(|(prefix, digits)| {
            ObjectKind::of_prefix(prefix).is_some()
                && digits.len() == DIGITS
                && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if known { Ok(Self(text.to_owned())) } else { Err(NotAnObjectId(text.chars().take(80).collect())) }
    }

    /// The kind that its prefix tells.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        let prefix = self.0.split('_').next().unwrap_or_default();
        ObjectKind::of_prefix(prefix).unwrap_or(ObjectKind::Alert)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ObjectId {
    type Error = NotAnObjectId;

    fn try_from(text: String) -> Result<Self, NotAnObjectId> {
        Self::parse(&text)
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn an_id_tells_its_kind_and_is_read_back() {
        for kind in ObjectKind::all() {
            let id = ObjectId::new(kind, &Zeros);
            assert_eq!(id.kind(), kind);
            assert_eq!(ObjectId::parse(id.as_str()), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "src",
            "src_",
            "src_123",
            "xyz_00000000000000000000",
            "src_0000000000000000000/",
            "src_é0000000000000000000",
        ] {
            assert!(ObjectId::parse(text).is_err(), "{text}");
        }
    }
}
