//! The token that a key pair signs: who logs in is proven by it, and no password travels.
//!
//! Snowflake wants RS256, an issuer that names the account, the user and the fingerprint of the public key, and a life of
//! at most an hour. This room does no I/O; the time is an argument.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::alg_id::RSA_ENCRYPTION;
use rustls::sign::public_key_to_spki;
use sha2::{Digest, Sha256};

use super::error::SnowflakeError;

/// A token lives so long; it is made anew for each login.
const LIFE_SECONDS: i64 = 3_540;

/// A private key and whom it stands for.
pub(super) struct JwtSigner {
    key: RsaKeyPair,
    /// `ACCOUNT.USER`.
    subject: String,
}

impl JwtSigner {
    /// Reads an unencrypted PKCS#8 PEM.
    ///
    /// # Errors
    /// Text that is no such key, with what to do about it; never the text itself.
    pub(super) fn new(account: &str, user: &str, pem: &str) -> Result<Self, SnowflakeError> {
        let wrong = |problem: &str| SnowflakeError::Key { problem: problem.to_owned() };
        if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(wrong(
                "the private key is encrypted; decrypt it with `openssl pkcs8 -in key.p8 -out plain.p8`, keep the new file \
                 readable by this process alone, and name it",
            ));
        }
        if pem.contains("BEGIN RSA PRIVATE KEY") {
            return Err(wrong(
                "the private key is PKCS#1; convert it with `openssl pkcs8 -topk8 -nocrypt -in key.pem -out key.p8`",
            ));
        }
        let body = pem
            .split_once("-----BEGIN PRIVATE KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
            .ok_or_else(|| wrong("the private key is no PEM that begins with -----BEGIN PRIVATE KEY-----"))?
            .0;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| wrong("the private key's PEM holds no base64"))?;
        let key = RsaKeyPair::from_pkcs8(&der)
            .map_err(|error| wrong(&format!("the private key is no RSA key of 2,048 to 4,096 bits ({error})")))?;
        Ok(Self { key, subject: format!("{}.{}", account_of(account), user.to_uppercase()) })
    }

    /// `SHA256:` and the digest of the public key, as `DESC USER` shows it.
    pub(super) fn fingerprint(&self) -> String {
        let info = public_key_to_spki(&RSA_ENCRYPTION, self.key.public_key());
        format!("SHA256:{}", STANDARD.encode(Sha256::digest(&info)))
    }

    /// A token that is good from now on.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub(super) fn token(&self, now_us: i64) -> Result<String, SnowflakeError> {
        let now = now_us / 1_000_000;
        let claims = serde_json::json!({
            "iss": format!("{}.{}", self.subject, self.fingerprint()),
            "sub": self.subject,
            "iat": now,
            "exp": now + LIFE_SECONDS,
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| SnowflakeError::Key { problem: "the private key cannot sign".to_owned() })?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The account as a token names it: in upper case, without the region of an account locator.
fn account_of(account: &str) -> String {
    let name = account.split('.').next().unwrap_or(account);
    // `name-external.global` is an account with an external id.
    let name = if account.contains(".global") { name.split('-').next().unwrap_or(name) } else { name };
    name.to_uppercase()
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    // Made for this test with `openssl genpkey -algorithm RSA`; opens nothing.
    const PEM: &str = include_str!("testdata/key.p8");
    // `openssl pkey -in key.p8 -pubout -outform DER | openssl dgst -sha256 -binary | base64`
    const FINGERPRINT: &str = include_str!("testdata/fingerprint");

    #[test]
    fn a_token_names_the_account_the_user_and_the_key_and_is_signed() {
        let signer = JwtSigner::new("xy12345.eu-central-1", "loader", PEM).unwrap();
        assert_eq!(signer.fingerprint(), format!("SHA256:{}", FINGERPRINT.trim()));
        let token = signer.token(1_700_000_000_000_000).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims["sub"], "XY12345.LOADER");
        assert_eq!(claims["iss"], format!("XY12345.LOADER.SHA256:{}", FINGERPRINT.trim()));
        assert_eq!((&claims["iat"], &claims["exp"]), (&1_700_000_000.into(), &1_700_003_540.into()));
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, signer.key.public_key().as_ref());
        let signed = format!("{}.{}", parts[0], parts[1]);
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn accounts_are_named_as_tokens_want_them() {
        for (account, expected) in [
            ("myorg-account_1", "MYORG-ACCOUNT_1"),
            ("xy12345.us-east-1.aws", "XY12345"),
            ("acme-ext123.global", "ACME"),
        ] {
            assert_eq!(account_of(account), expected);
        }
    }

    #[test]
    fn a_key_of_another_kind_is_told_apart_and_never_shown() {
        for (pem, hint) in [
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n", "openssl pkcs8 -in"),
            ("-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n", "-topk8"),
            ("c2VjcmV0", "BEGIN PRIVATE KEY"),
            ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", "no RSA key"),
        ] {
            let error = JwtSigner::new("a", "u", pem).err().unwrap().to_string();
            assert!(error.contains(hint) && !error.contains("c2VjcmV0"), "{error}");
        }
    }
}
