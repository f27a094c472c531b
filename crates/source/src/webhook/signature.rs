//! Signatures: whether somebody who knows the secret has sent a body, and not too long ago.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use hyper::header::HeaderMap;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// Signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 8;
/// A number of seconds from here on is one of milliseconds.
const SECONDS_MAX: u64 = 100_000_000_000;

/// How a provider signs, and with what.
#[derive(Debug, Clone)]
pub struct WebhookSignature {
    pub scheme: SignatureScheme,
    pub secrets: SigningSecrets,
    /// How far a signed time may be from ours.
    pub tolerance: Duration,
}

/// Secrets that are right now; while one is changed there are two.
#[derive(Clone, Default)]
pub struct SigningSecrets(Vec<Vec<u8>>);

/// They print nowhere.
impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecrets({})", self.0.len())
    }
}

/// What is signed, and where the signature stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureScheme {
    Hmac(HmacSignature),
    /// `stripe-signature: t=<seconds>,v1=<hex>`, over `<seconds>.<body>`.
    Stripe,
    /// `x-slack-signature: v0=<hex>`, over `v0:<seconds>:<body>`.
    Slack,
    /// Standard Webhooks, and Svix: `webhook-signature: v1,<base64>`, over `<id>.<seconds>.<body>`.
    Standard,
}

/// An HMAC of the body in a header; with a header for the time it is of `<time>.<body>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacSignature {
    /// In lower case.
    pub header: String,
    pub algorithm: HmacAlgorithm,
    pub encoding: SignatureEncoding,
    /// Stands before the signature.
    pub prefix: String,
    /// Holds when it was signed: seconds or milliseconds since 1970. In lower case.
    pub timestamp_header: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HmacAlgorithm {
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureEncoding {
    #[default]
    Hex,
    Base64,
}

/// Why a request is not taken for one of whoever knows the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureProblem {
    /// A header is absent.
    Missing(String),
    /// A header holds nothing of the kind.
    Malformed(String),
    /// It was signed so many seconds before or behind now.
    TooOld(u64),
    Wrong,
}

impl fmt::Display for SignatureProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(header) => {
                write!(f, "the header {header} is missing, which has the signature or belongs to it")
            }
            Self::Malformed(header) => {
                write!(f, "the header {header} is no signature or time of the kind that is expected")
            }
            Self::TooOld(seconds) => {
                write!(f, "the request was signed {seconds} seconds away from now, which is more than the tolerance")
            }
            Self::Wrong => {
                f.write_str("the signature is wrong: the secret is another one, or the body was changed on its way")
            }
        }
    }
}

impl SigningSecrets {
    /// Texts as they are.
    #[must_use]
    pub fn of(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().map(String::into_bytes).collect())
    }

    /// Texts as Standard Webhooks writes them: `whsec_` and Base64. `None` when one is no Base64, or so short that it could be guessed.
    #[must_use]
    pub fn of_standard(texts: impl IntoIterator<Item = String>) -> Option<Self> {
        const BYTES_MIN: usize = 8;
        let secret = |text: String| {
            let decoded = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(&text)).ok();
            decoded.filter(|secret| secret.len() >= BYTES_MIN)
        };
        texts.into_iter().map(secret).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl WebhookSignature {
    /// Whether the headers that it needs are there: known before the body is read.
    ///
    /// # Errors
    /// One is missing.
    pub fn is_present(&self, headers: &HeaderMap) -> Result<(), SignatureProblem> {
        let name = match &self.scheme {
            SignatureScheme::Hmac(scheme) => scheme.header.as_str(),
            SignatureScheme::Stripe => "stripe-signature",
            SignatureScheme::Slack => "x-slack-signature",
            SignatureScheme::Standard => standard(headers, "signature"),
        };
        text(headers, name).map(|_| ())
    }

    /// Looks whether one of the secrets has signed this body, within the tolerance of `now_us` (microseconds since 1970).
    ///
    /// # Errors
    /// None has, or not lately.
    pub fn check(&self, headers: &HeaderMap, body: &[u8], now_us: i64) -> Result<(), SignatureProblem> {
        match &self.scheme {
            SignatureScheme::Hmac(scheme) => self.check_hmac(scheme, headers, (body, now_us)),
            SignatureScheme::Stripe => self.check_stripe(headers, body, now_us),
            SignatureScheme::Slack => {
                let time = text(headers, "x-slack-request-timestamp")?;
                let signature = text(headers, "x-slack-signature")?;
                let tag = signature.strip_prefix("v0=").and_then(hex);
                let tag = tag.ok_or_else(|| malformed("x-slack-signature"))?;
                self.is_lately(time, "x-slack-request-timestamp", now_us)?;
                self.has_signed::<Hmac<Sha256>>(&[b"v0:", time.as_bytes(), b":", body], &[tag])
            }
            SignatureScheme::Standard => {
                let [id, time, signature] = ["id", "timestamp", "signature"].map(|name| standard(headers, name));
                let (id_text, time_text) = (text(headers, id)?, text(headers, time)?);
                let tags =
                    text(headers, signature)?.split(' ').filter_map(|one| one.strip_prefix("v1,")).filter_map(base64);
                let tags: Vec<_> = tags.take(SIGNATURES_MAX).collect();
                if tags.is_empty() {
                    return Err(malformed(signature));
                }
                self.is_lately(time_text, time, now_us)?;
                let signed: [&[u8]; 5] = [id_text.as_bytes(), b".", time_text.as_bytes(), b".", body];
                self.has_signed::<Hmac<Sha256>>(&signed, &tags)
            }
        }
    }

    fn check_stripe(&self, headers: &HeaderMap, body: &[u8], now_us: i64) -> Result<(), SignatureProblem> {
        const HEADER: &str = "stripe-signature";
        let pairs =
            || text(headers, HEADER).map(|value| value.split(',').filter_map(|pair| pair.trim().split_once('=')));
        let time = pairs()?.find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or_else(|| malformed(HEADER))?;
        let tags = pairs()?.filter(|(name, _)| *name == "v1").filter_map(|(_, tag)| hex(tag));
        let tags: Vec<_> = tags.take(SIGNATURES_MAX).collect();
        if tags.is_empty() {
            return Err(malformed(HEADER));
        }
        self.is_lately(time, HEADER, now_us)?;
        self.has_signed::<Hmac<Sha256>>(&[time.as_bytes(), b".", body], &tags)
    }

    fn check_hmac(
        &self,
        scheme: &HmacSignature,
        headers: &HeaderMap,
        (body, now_us): (&[u8], i64),
    ) -> Result<(), SignatureProblem> {
        let value = text(headers, &scheme.header)?;
        let value = value.strip_prefix(scheme.prefix.as_str()).ok_or_else(|| malformed(&scheme.header))?;
        let tag = match scheme.encoding {
            SignatureEncoding::Hex => hex(value),
            SignatureEncoding::Base64 => base64(value),
        };
        let tags = [tag.ok_or_else(|| malformed(&scheme.header))?];
        let time = match &scheme.timestamp_header {
            Some(header) => {
                let time = text(headers, header)?;
                self.is_lately(time, header, now_us)?;
                Some(time)
            }
            None => None,
        };
        let mut signed: Vec<&[u8]> = Vec::new();
        if let Some(time) = time {
            signed.push(time.as_bytes());
            signed.push(b".");
        }
        signed.push(body);
        match scheme.algorithm {
            HmacAlgorithm::Sha1 => self.has_signed::<Hmac<Sha1>>(&signed, &tags),
            HmacAlgorithm::Sha256 => self.has_signed::<Hmac<Sha256>>(&signed, &tags),
            HmacAlgorithm::Sha512 => self.has_signed::<Hmac<Sha512>>(&signed, &tags),
        }
    }

    /// Whether a signed time is within the tolerance of now.
    fn is_lately(&self, time: &str, header: &str, now_us: i64) -> Result<(), SignatureProblem> {
        let said: u64 = time.parse().map_err(|_| malformed(header))?;
        let said = if said < SECONDS_MAX { said } else { said / 1_000 };
        let now = u64::try_from(now_us / 1_000_000).unwrap_or(0);
        let away = now.abs_diff(said);
        if away > self.tolerance.as_secs() { Err(SignatureProblem::TooOld(away)) } else { Ok(()) }
    }

    /// Whether one of the secrets makes one of the signatures of these parts. How long that takes says nothing of where they differ.
    fn has_signed<M: Mac + KeyInit + Clone>(&self, parts: &[&[u8]], tags: &[Vec<u8>]) -> Result<(), SignatureProblem> {
        for secret in &self.secrets.0 {
            let Ok(mut mac) = <M as Mac>::new_from_slice(secret) else { continue };
            for part in parts {
                mac.update(part);
            }
            if tags.iter().any(|tag| mac.clone().verify_slice(tag).is_ok()) {
                return Ok(());
            }
        }
        Err(SignatureProblem::Wrong)
    }
}

fn malformed(header: &str) -> SignatureProblem {
    SignatureProblem::Malformed(header.to_owned())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, SignatureProblem> {
    let value = headers.get(name).ok_or_else(|| SignatureProblem::Missing(name.to_owned()))?;
    value.to_str().map(str::trim).map_err(|_| malformed(name))
}

/// The name of a header of Standard Webhooks, or that of Svix where it is the one that is there.
fn standard(headers: &HeaderMap, what: &str) -> &'static str {
    let (standard, svix) = match what {
        "id" => ("webhook-id", "svix-id"),
        "timestamp" => ("webhook-timestamp", "svix-timestamp"),
        _ => ("webhook-signature", "svix-signature"),
    };
    if !headers.contains_key(standard) && headers.contains_key(svix) { svix } else { standard }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
