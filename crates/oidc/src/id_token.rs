//! ID tokens: whether they are the issuer's, for us, for now, and for this sign-in. Only then their claims are handed on.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::algorithm::{JsonWebKey, SigningAlgorithm};
use crate::error::TokenProblem;

/// Clocks may differ by a minute.
const SKEW_S: i64 = 60;
const TOKEN_BYTES_MAX: usize = 64 << 10;
const SECOND_US: i64 = 1_000_000;
/// Of what a token says of itself and a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// What a token is held against.
pub(crate) struct ExpectedToken<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    /// None in the device flow, which has no browser to bind it to.
    pub(crate) nonce: Option<&'a str>,
    /// Microseconds since the Unix epoch, UTC.
    pub(crate) now_us: i64,
}

#[derive(Deserialize)]
struct TokenHead {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// The claims of a token that is to be believed.
pub(crate) fn verified(
    token: &str,
    keys: &[JsonWebKey],
    expected: &ExpectedToken<'_>,
) -> Result<Map<String, Value>, TokenProblem> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenProblem::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenProblem::Malformed)?;
    let (head, claims) = signed.split_once('.').ok_or(TokenProblem::Malformed)?;
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenProblem::Malformed);
    let head: TokenHead = serde_json::from_slice(&decoded(head)?).map_err(|_| TokenProblem::Malformed)?;
    let shown = || head.alg.chars().take(SHOWN_CHARS_MAX).collect();
    let algorithm = SigningAlgorithm::named(&head.alg).ok_or_else(|| TokenProblem::Algorithm(shown()))?;
    if head.crit.is_some() {
        return Err(TokenProblem::Critical);
    }
    let (claims, signature) = (decoded(claims)?, decoded(signature)?);
    let kid = head.kid.as_deref();
    let mut candidates = keys.iter().filter(|key| key.may_have_signed(kid, algorithm)).peekable();
    if candidates.peek().is_none() {
        return Err(TokenProblem::NoKey);
    }
    if !candidates.any(|key| key.verifies(algorithm, signed.as_bytes(), &signature)) {
        return Err(TokenProblem::Signature);
    }
    let claims: Map<String, Value> = serde_json::from_slice(&claims).map_err(|_| TokenProblem::Malformed)?;
    check(&claims, expected)?;
    Ok(claims)
}

fn check(claims: &Map<String, Value>, expected: &ExpectedToken<'_>) -> Result<(), TokenProblem> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenProblem::Issuer);
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client_id) {
        return Err(TokenProblem::Audience);
    }
    let is_by_us = |party: &str| party == expected.client_id;
    let is_asked_by_us = match claims.get("azp") {
        Some(party) => party.as_str().is_some_and(is_by_us),
        None => audience.len() == 1,
    };
    if !is_asked_by_us {
        return Err(TokenProblem::AuthorizedParty);
    }
    let now_s = expected.now_us.div_euclid(SECOND_US);
    if seconds(claims, "exp")?.ok_or(TokenProblem::NoTime("exp"))? + SKEW_S <= now_s {
        return Err(TokenProblem::Expired);
    }
    let issued_s = seconds(claims, "iat")?.ok_or(TokenProblem::NoTime("iat"))?;
    let begins_s = seconds(claims, "nbf")?.unwrap_or(issued_s);
    if issued_s.max(begins_s) > now_s + SKEW_S {
        return Err(TokenProblem::Future);
    }
    if expected.nonce.is_some_and(|nonce| text("nonce") != Some(nonce)) {
        return Err(TokenProblem::Nonce);
    }
    if text("sub").is_none_or(|subject| subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX) {
        return Err(TokenProblem::Subject);
    }
    Ok(())
}

/// OpenID Connect allows 255; some providers write more.
const SUBJECT_BYTES_MAX: usize = 1_000;
/// The year 9999: no sum with it runs over.
const SECONDS_MAX: i64 = 253_402_300_799;

/// A time of the claims in seconds since the Unix epoch; none when it is not there.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenProblem> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|float| (0.0..9e15).contains(float))?;
        format!("{:.0}", float.floor()).parse().ok()
    });
    whole.filter(|whole| (0..=SECONDS_MAX).contains(whole)).map(Some).ok_or(TokenProblem::NoTime(name))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    struct Signer {
        ed25519: Ed25519KeyPair,
        p256: EcdsaKeyPair,
        random: SystemRandom,
    }

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            Self {
                ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
                p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
                random,
            }
        }

        fn keys(&self) -> Vec<JsonWebKey> {
            let encoded = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
            let (x, y) = self.p256.public_key().as_ref()[1..].split_at(32);
            let set = json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encoded(self.ed25519.public_key().as_ref()) },
                { "kty": "EC", "crv": "P-256", "kid": "b", "use": "sig", "x": encoded(x), "y": encoded(y) },
                { "kty": "oct", "kid": "c", "k": "AAAA" },
                "no key",
            ]});
            JsonWebKey::of_set(&set).unwrap()
        }

        fn token(&self, head: &Value, claims: &Value) -> String {
            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(head), part(claims));
            let signature = if head["kid"] == "b" {
                self.p256.sign(&self.random, signed.as_bytes()).unwrap().as_ref().to_vec()
            } else {
                self.ed25519.sign(signed.as_bytes()).as_ref().to_vec()
            };
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
        }
    }

    fn claims() -> Value {
        json!({ "iss": "https://a.example", "aud": "tidegate", "sub": "ann", "exp": NOW_S + 300, "iat": NOW_S, "nonce": "n" })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn judged(keys: &[JsonWebKey], token: &str) -> Result<Map<String, Value>, TokenProblem> {
        let expected = ExpectedToken {
            issuer: "https://a.example",
            client_id: "tidegate",
            nonce: Some("n"),
            now_us: NOW_S * SECOND_US,
        };
        verified(token, keys, &expected)
    }

    #[test]
    fn a_token_is_believed_that_the_issuer_signed_for_this_sign_in_and_no_other() {
        let signer = Signer::new();
        let keys = signer.keys();
        assert_eq!(keys.len(), 3);
        let head = json!({ "alg": "EdDSA", "kid": "a" });
        let good = signer.token(&head, &claims());
        assert_eq!(judged(&keys, &good).unwrap()["sub"], "ann");
        let elliptic = signer.token(&json!({ "alg": "ES256", "kid": "b", "typ": "JWT" }), &claims());
        assert_eq!(judged(&keys, &elliptic).unwrap()["sub"], "ann");
        for (name, value, problem) in [
            ("iss", json!("https://a.example/"), TokenProblem::Issuer),
            ("aud", json!("other"), TokenProblem::Audience),
            ("aud", json!([]), TokenProblem::Audience),
            ("aud", json!(["tidegate", "other"]), TokenProblem::AuthorizedParty),
            ("azp", json!("other"), TokenProblem::AuthorizedParty),
            ("exp", json!(NOW_S - 60), TokenProblem::Expired),
            ("exp", json!("soon"), TokenProblem::NoTime("exp")),
            ("exp", json!(1e300), TokenProblem::NoTime("exp")),
            ("iat", json!(NOW_S + 61), TokenProblem::Future),
            ("iat", Value::Null, TokenProblem::NoTime("iat")),
            ("nbf", json!(NOW_S + 61), TokenProblem::Future),
            ("nonce", json!("m"), TokenProblem::Nonce),
            ("sub", json!(""), TokenProblem::Subject),
        ] {
            let found = judged(&keys, &signer.token(&head, &with(name, value.clone())));
            assert_eq!(found, Err(problem), "{name} {value}");
        }
        for (name, value) in [
            ("aud", json!(["tidegate"])),
            ("azp", json!("tidegate")),
            ("exp", json!(NOW_S - 59)),
            ("iat", json!(NOW_S + 60)),
            ("exp", json!(1_800_000_300.5)),
        ] {
            judged(&keys, &signer.token(&head, &with(name, value.clone())))
                .unwrap_or_else(|error| panic!("{name} {value}: {error}"));
        }
    }

    #[test]
    fn a_forged_token_is_not_believed() {
        let (signer, another) = (Signer::new(), Signer::new());
        let keys = signer.keys();
        let head = json!({ "alg": "EdDSA", "kid": "a" });
        assert_eq!(judged(&keys, &another.token(&head, &claims())), Err(TokenProblem::Signature));
        for alg in ["none", "None", "HS256", "RS512", ""] {
            let token = signer.token(&json!({ "alg": alg, "kid": "a" }), &claims());
            assert_eq!(judged(&keys, &token), Err(TokenProblem::Algorithm(alg.to_owned())));
        }
        for (head, problem) in [
            (json!({ "alg": "EdDSA", "kid": "z" }), TokenProblem::NoKey),
            // The key of another algorithm is no key.
            (json!({ "alg": "RS256", "kid": "a" }), TokenProblem::NoKey),
            (json!({ "alg": "ES256", "kid": "a" }), TokenProblem::NoKey),
            (json!({ "alg": "EdDSA", "kid": "a", "crit": ["exp"] }), TokenProblem::Critical),
        ] {
            assert_eq!(judged(&keys, &signer.token(&head, &claims())), Err(problem), "{head}");
        }
        let good = signer.token(&head, &claims());
        let (signed, _) = good.rsplit_once('.').unwrap();
        let shortened: String = good.chars().take(good.len() - 4).collect();
        for token in ["", ".", "..", "a.b.c", &format!("{signed}."), &shortened, &format!("{good}.x"), signed] {
            assert!(judged(&keys, token).is_err(), "{token}");
        }
        let other = signer.token(&head, &with("sub", json!("admin")));
        let (swapped, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = good.rsplit_once('.').unwrap();
        assert_eq!(judged(&keys, &format!("{swapped}.{signature}")), Err(TokenProblem::Signature));
    }
}
