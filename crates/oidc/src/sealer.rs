//! Texts that go out and come back: nobody else can read or make them.

use data_encoding::BASE64URL_NOPAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Seals what a browser or a command keeps between two requests.
pub struct Sealer {
    key: Option<LessSafeKey>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// No text that is opened is longer.
const TEXT_BYTES_MAX: usize = 16 << 10;

impl Sealer {
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // 32 bytes are what this algorithm takes.
        Self { key: UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new) }
    }

    /// Seals a text for a purpose; for another purpose it does not open. The nonce is drawn for this text alone. None when it is too
    /// long.
    #[must_use]
    pub fn seal(&self, purpose: &str, text: &[u8], nonce: [u8; NONCE_LEN]) -> Option<String> {
        let mut sealed = text.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let key = self.key.as_ref()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let sealed = BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat());
        (sealed.len() <= TEXT_BYTES_MAX).then_some(sealed)
    }

    /// The text, if it was sealed here for this purpose.
    #[must_use]
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        if sealed.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_altered_or_sealed_for_something_else_does_not_open() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("one", b"text", [1; NONCE_LEN]).unwrap();
        assert_eq!(sealer.open("one", &sealed).unwrap(), b"text");
        assert_eq!(sealer.open("two", &sealed), None);
        assert_eq!(Sealer::new(&[8; 32]).open("one", &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open("one", std::str::from_utf8(&altered).unwrap()), None, "{at}");
        }
        for text in ["", "A", "?", &"A".repeat(TEXT_BYTES_MAX + 1)] {
            assert_eq!(sealer.open("one", text), None);
        }
        assert_eq!(sealer.seal("one", &[0; TEXT_BYTES_MAX], [1; NONCE_LEN]), None);
    }
}
