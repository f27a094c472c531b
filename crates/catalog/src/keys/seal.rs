//! Values sealed at rest: AES-256-GCM under a data key for each, bound to the place where it is kept.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{InstanceKey, InstanceKeys, SecretValue, derived};
use crate::entropy::{Entropy, random};

/// Why a sealed value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "{name:?} is sealed under the instance key {key_id}, which was not given; give the key that the catalog was made with, or the earlier one beside the new one"
    )]
    UnknownKey { name: String, key_id: String },
    #[error("{name:?} cannot be unsealed: its row was changed, or is another secret's; set its value anew")]
    Changed { name: String },
    #[error("{name:?} is too large to be sealed")]
    TooLarge { name: String },
}

/// Where a value belongs. A row that is moved elsewhere does not open.
pub(crate) struct SealPlace<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: u64,
}

impl SealPlace<'_> {
    fn bound(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.workspace, self.name] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes.extend(self.version.to_be_bytes());
        bytes
    }

    fn data_key(&self, key: &InstanceKey) -> Option<LessSafeKey> {
        let data_key = derived(&*key.bytes, &[b"secret", self.name.as_bytes(), &self.version.to_be_bytes()]);
        UnboundKey::new(&AES_256_GCM, &*data_key).ok().map(LessSafeKey::new)
    }
}

/// What is kept: the id of the instance key, and nonce, ciphertext and tag behind one another.
#[derive(Clone)]
pub(crate) struct SealedValue {
    pub(crate) key_id: String,
    pub(crate) bytes: Vec<u8>,
}

impl SealedValue {
    pub(crate) fn seal(
        keys: &InstanceKeys,
        place: &SealPlace<'_>,
        value: &SecretValue,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        let nonce: [u8; NONCE_LEN] = random(entropy);
        let mut sealed = value.expose().to_vec();
        let bound = Aad::from(place.bound());
        let key = place.data_key(&keys.current);
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let done = key.and_then(|key| key.seal_in_place_append_tag(nonce_used, bound, &mut sealed).ok());
        done.ok_or_else(|| SealError::TooLarge { name: place.name.to_owned() })?;
        Ok(Self { key_id: keys.current.id().to_owned(), bytes: [&nonce[..], &sealed].concat() })
    }

    pub(crate) fn open(&self, keys: &InstanceKeys, place: &SealPlace<'_>) -> Result<SecretValue, SealError> {
        let name = || place.name.to_owned();
        let key = keys.with_id(&self.key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey { name: name(), key_id: self.key_id.clone() })?;
        let changed = || SealError::Changed { name: name() };
        let (nonce, sealed) = self.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(changed)?;
        let data_key = place.data_key(key).ok_or_else(changed)?;
        let mut value = sealed.to_vec();
        let bound = Aad::from(place.bound());
        let opened = data_key.open_in_place(Nonce::assume_unique_for_key(*nonce), bound, &mut value);
        let length = opened.map_err(|_| changed())?.len();
        value.truncate(length);
        Ok(SecretValue::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(9);
        }
    }

    const PLACE: SealPlace<'static> = SealPlace { workspace: "production", name: "db", version: 3 };

    #[test]
    fn a_value_opens_in_its_place_alone() {
        let keys = InstanceKeys::from(InstanceKey::new([1; 32]));
        let value = SecretValue::from("hunter2".to_owned());
        let sealed = SealedValue::seal(&keys, &PLACE, &value, &Fixed).unwrap();
        assert_eq!(sealed.open(&keys, &PLACE), Ok(value));
        assert!(!sealed.bytes.windows(7).any(|window| window == b"hunter2"));
        for elsewhere in [
            SealPlace { workspace: "staging", ..PLACE },
            SealPlace { name: "db2", ..PLACE },
            SealPlace { version: 2, ..PLACE },
        ] {
            assert_eq!(sealed.open(&keys, &elsewhere), Err(SealError::Changed { name: elsewhere.name.into() }));
        }
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert!(changed.open(&keys, &PLACE).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_earlier_key_still_opens_and_an_unknown_one_is_named() {
        let (old, new) = (InstanceKey::new([1; 32]), InstanceKey::new([2; 32]));
        let sealed = SealedValue::seal(&old.clone().into(), &PLACE, &SecretValue::new(vec![5]), &Fixed).unwrap();
        let both = InstanceKeys { current: new.clone(), earlier: vec![old] };
        assert_eq!(sealed.open(&both, &PLACE), Ok(SecretValue::new(vec![5])));
        assert!(matches!(sealed.open(&new.into(), &PLACE), Err(SealError::UnknownKey { .. })));
    }
}
