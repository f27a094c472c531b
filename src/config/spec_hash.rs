//! Whether an object is still the same: a hash over all that what runs for it depends on, which is more than its file. It is compared
//! within one process, never printed and never kept: of a weak secret it could be guessed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_api_types::workspace::ObjectRef;

/// The SHA-256 of some content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Of what is not there, or cannot be read.
    pub const ABSENT: Self = Self([0; 32]);

    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// What tells it from others under this salt, and nothing else.
    #[must_use]
    pub fn salted(&self, salt: &[u8]) -> String {
        HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(self.0).finalize())
    }

    /// Of all that `content` has to give, a piece at a time.
    pub(super) fn of_reader(mut content: impl Read) -> io::Result<Self> {
        let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            match content.read(&mut piece) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(bytes) => hasher.update(piece.get(..bytes).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be that of a secret.
        f.write_str(if *self == Self::ABSENT { "absent" } else { "ContentHash(..)" })
    }
}

/// Something beside its document that an object depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecInput {
    /// By its path from the workspace's folder, or as it is.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A setting of `tidegate.yaml`.
    Setting(&'static str),
    /// The version that is live in the store, with its settings.
    LiveVersion,
    /// A secret of the catalog.
    Secret(String),
    /// A file that was sent with the document, by its path there.
    Sent(String),
}

impl fmt::Display for SpecInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Setting(name) => write!(f, "`{name}` of tidegate.yaml"),
            Self::LiveVersion => f.write_str("the version that is live"),
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Sent(path) => write!(f, "file {path}, which was sent"),
        }
    }
}

/// Equal as long as nothing has changed that what runs for an object depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpecHash([u8; 32]);

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpecHash(..)")
    }
}

/// What an object is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    pub hash: SpecHash,
    /// What it depends on beside its document.
    pub inputs: BTreeMap<SpecInput, ContentHash>,
}

impl ObjectSpec {
    /// Of a document and what was read for it.
    pub(super) fn new(document: &Value, inputs: BTreeMap<SpecInput, ContentHash>) -> Self {
        let mut hasher = Sha256::new();
        let mut part = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        // The names of a map are in order, so this is the same whatever the order of the file.
        part(&document.to_string());
        for (input, hash) in &inputs {
            part(&input.to_string());
            part(&HEXLOWER.encode(&hash.0));
        }
        Self { hash: SpecHash(hasher.finalize().into()), inputs }
    }
}

/// Tells all these objects from others under a key, and nothing else: it may be kept where the key is.
#[must_use]
pub fn fingerprint<'a>(specs: impl IntoIterator<Item = (&'a ObjectRef, &'a ObjectSpec)>, key: &str) -> String {
    let mut hasher = Sha256::new().chain_update((key.len() as u64).to_le_bytes()).chain_update(key);
    for (object, spec) in specs {
        let name = object.to_string();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(spec.hash.0);
    }
    HEXLOWER.encode(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_is_of_the_document_and_of_everything_that_was_read_for_it() {
        let spec = |document: &Value, inputs: &[(SpecInput, &[u8])]| {
            let inputs = inputs.iter().map(|(input, content)| (input.clone(), ContentHash::of(content)));
            ObjectSpec::new(document, inputs.collect())
        };
        let (document, file) = (json!({"a": "${A}", "b": 1}), SpecInput::File("ca.pem".into()));
        let before = spec(&document, &[(file.clone(), b"one")]);
        assert_eq!(before, spec(&json!({"b": 1, "a": "${A}"}), &[(file.clone(), b"one")]));
        for other in [
            spec(&document, &[(file.clone(), b"two")]),
            spec(&document, &[]),
            spec(&document, &[(SpecInput::Variable("ca.pem".to_owned()), b"one")]),
            spec(&json!({"a": "${A}", "b": 2}), &[(file, b"one")]),
        ] {
            assert_ne!(before.hash, other.hash);
        }
        assert_eq!(format!("{:?}", before.hash), "SpecHash(..)");
    }

    #[test]
    fn a_fingerprint_is_of_every_object_and_of_its_key() {
        use tidegate_api_types::workspace::ObjectRefKind;

        let object = |key: &str| ObjectRef::new(ObjectRefKind::Sync, key);
        let spec = |n: u32| ObjectSpec::new(&json!({ "n": n }), BTreeMap::new());
        let of = |key: &str, objects: &[(&str, u32)]| {
            let objects: BTreeMap<_, _> = objects.iter().map(|(name, n)| (object(name), spec(*n))).collect();
            fingerprint(&objects, key)
        };
        let before = of("key", &[("a", 1), ("b", 2)]);
        assert_eq!(before, of("key", &[("b", 2), ("a", 1)]));
        for other in [of("other", &[("a", 1), ("b", 2)]), of("key", &[("a", 1)]), of("key", &[("a", 1), ("b", 3)])] {
            assert_ne!(before, other);
        }
    }

    #[test]
    fn content_has_one_hash_however_it_is_read() {
        let content = vec![7; 200_000];
        assert_eq!(ContentHash::of_reader(&content[..]).unwrap(), ContentHash::of(&content));
    }
}
