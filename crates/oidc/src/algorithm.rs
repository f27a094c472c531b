//! Keys of a provider, and the signatures that they make.

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// Keys of a provider that are looked at.
const KEYS_MAX: usize = 100;

/// How an ID token may be signed. `none`, and what has one key for both sides, is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SigningAlgorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl SigningAlgorithm {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key as a provider shows it (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl JsonWebKey {
    /// The keys of a set; those that cannot be read are left out.
    pub(crate) fn of_set(set: &Value) -> Option<Vec<Self>> {
        let keys = set.get("keys")?.as_array()?;
        Some(keys.iter().take(KEYS_MAX).filter_map(|key| Self::deserialize(key).ok()).collect())
    }

    /// Whether a token that names its key so, or not at all, may be signed with this one.
    pub(crate) fn may_have_signed(&self, kid: Option<&str>, algorithm: SigningAlgorithm) -> bool {
        let is_named = kid.is_none_or(|kid| self.kid.as_deref() == Some(kid));
        let is_for_signing = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let is_for_algorithm = self.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        let has_type = match algorithm {
            SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => self.kty == "RSA",
            SigningAlgorithm::Es256 => self.kty == "EC" && self.crv.as_deref() == Some("P-256"),
            SigningAlgorithm::EdDsa => self.kty == "OKP" && self.crv.as_deref() == Some("Ed25519"),
        };
        is_named && is_for_signing && is_for_algorithm && has_type
    }

    /// Whether the signature of `signed` is by this key.
    pub(crate) fn verifies(&self, algorithm: SigningAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match algorithm {
            SigningAlgorithm::Rs256 => self.rsa(&RSA_PKCS1_2048_8192_SHA256, signed, signature),
            SigningAlgorithm::Ps256 => self.rsa(&RSA_PSS_2048_8192_SHA256, signed, signature),
            SigningAlgorithm::Es256 => self.p256(signed, signature),
            SigningAlgorithm::EdDsa => {
                number(self.x.as_deref(), 32).map(|x| is_signed(&ED25519, &x, (signed, signature)))
            }
        };
        verified.unwrap_or(false)
    }

    fn rsa(&self, parameters: &RsaParameters, signed: &[u8], signature: &[u8]) -> Option<bool> {
        let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
        let key = RsaPublicKeyComponents { n: without_zeros(&n), e: without_zeros(&e) };
        Some(key.verify(parameters, signed, signature).is_ok())
    }

    fn p256(&self, signed: &[u8], signature: &[u8]) -> Option<bool> {
        let (x, y) = (number(self.x.as_deref(), 32)?, number(self.y.as_deref(), 32)?);
        // 4 stands for a point with both of its coordinates.
        let point = [&[4][..], &x, &y].concat();
        Some(is_signed(&ECDSA_P256_SHA256_FIXED, &point, (signed, signature)))
    }
}

fn is_signed(by: &'static dyn VerificationAlgorithm, key: &[u8], (signed, signature): (&[u8], &[u8])) -> bool {
    UnparsedPublicKey::new(by, key).verify(signed, signature).is_ok()
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text?.as_bytes()).ok()
}

/// Bytes that must be so many.
fn number(text: Option<&str>, count: usize) -> Option<Vec<u8>> {
    bytes(text).filter(|bytes| bytes.len() == count)
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.split_at(zeros).1
}
