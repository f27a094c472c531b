//! As whom Google is asked: what a file of credentials says. This room asks nobody.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::Value;
use tidegate_document::file;
use tidegate_stream::StreamError;
use zeroize::Zeroizing;

/// A token that a key signs lives so long; Google takes no more than an hour.
pub(crate) const SIGNED_LIFE_SECONDS: i64 = 3_600;
/// For whom a token is that a key signs.
const AUDIENCE: &str = "https://pubsub.googleapis.com/";
const USER_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const STS_TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";

/// Where the credentials are.
#[derive(Clone)]
pub enum CredentialsPlace {
    /// A file: the key of a service account, a workload identity (an external account), or what `gcloud auth application-default login` wrote.
    File(PathBuf),
    /// The key of a service account itself. Nothing else is taken so: other kinds name files and servers.
    Key(Zeroizing<String>),
    /// The service account of the machine, from its metadata server.
    Machine,
}

/// As whom Google is asked.
pub(crate) enum GoogleCredentials {
    Key(Box<ServiceAccountKey>),
    External(Box<ExternalAccount>),
    User(Box<UserAccount>),
    Machine,
}

/// The key of a service account, which signs tokens by itself.
pub(crate) struct ServiceAccountKey {
    email: String,
    key_id: String,
    key: RsaKeyPair,
}

/// A workload identity: a token of somebody else's is exchanged for one of Google's.
pub(crate) struct ExternalAccount {
    pub(crate) audience: String,
    pub(crate) subject_token_type: String,
    pub(crate) token_url: String,
    /// The service account that is impersonated with that, if there is one.
    pub(crate) impersonation_url: Option<String>,
    subject_file: PathBuf,
    /// The field of a file that is JSON.
    subject_field: Option<String>,
}

/// A person who logged in.
pub(crate) struct UserAccount {
    pub(crate) client_id: String,
    pub(crate) client_secret: Zeroizing<String>,
    pub(crate) refresh_token: Zeroizing<String>,
    pub(crate) token_url: String,
}

#[derive(Deserialize)]
struct CredentialsText {
    #[serde(rename = "type")]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    credential_source: Option<SubjectSource>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct SubjectSource {
    file: Option<PathBuf>,
    format: Option<SubjectFormat>,
}

#[derive(Deserialize)]
struct SubjectFormat {
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_token_field_name: Option<String>,
}

impl CredentialsPlace {
    /// Reads them.
    ///
    /// # Errors
    /// There are none there that can be used.
    pub(crate) fn read(&self) -> Result<GoogleCredentials, StreamError> {
        match self {
            Self::Machine => Ok(GoogleCredentials::Machine),
            Self::Key(text) => match parse(text) {
                Ok(credentials @ GoogleCredentials::Key(_)) => Ok(credentials),
                Ok(_) => Err(stop("`credentials_json`: it is not the key of a service account")),
                Err(why) => Err(stop(&format!("`credentials_json`: {why}"))),
            },
            Self::File(path) => {
                let named = |why: &str| stop(&format!("the credentials {}: {why}", path.display()));
                let text = file::read_text(path, file::SECRET_BYTES_MAX).map(Zeroizing::new);
                parse(&text.map_err(|error| named(&error.to_string()))?).map_err(|why| named(&why))
            }
        }
    }
}

fn stop(reason: &str) -> StreamError {
    let advice = "name the JSON key file of a service account, or the file of a workload identity federation, with `credentials`; \
                  on a machine of Google's leave it out";
    StreamError::Stop { reason: reason.to_owned(), advice: advice.to_owned() }
}

/// What a text says; the error never has a piece of it but the kind.
pub(crate) fn parse(text: &str) -> Result<GoogleCredentials, String> {
    // An error of the parser may quote the text.
    let text: CredentialsText = serde_json::from_str(text)
        .map_err(|error| format!("it is not JSON of credentials (line {}, column {})", error.line(), error.column()))?;
    let lacks = |name: &str| format!("it has no `{name}`");
    match text.kind.as_str() {
        "service_account" => {
            let email = text.client_email.ok_or_else(|| lacks("client_email"))?;
            let pem = Zeroizing::new(text.private_key.ok_or_else(|| lacks("private_key"))?);
            let key = rsa_key(&pem)?;
            let key_id = text.private_key_id.unwrap_or_default();
            Ok(GoogleCredentials::Key(Box::new(ServiceAccountKey { email, key_id, key })))
        }
        "external_account" => {
            let source = text.credential_source.ok_or_else(|| lacks("credential_source"))?;
            let subject_file = source.file.ok_or(
                "its `credential_source` names no `file`; other sources (a URL, AWS, a program) are not supported here",
            )?;
            let subject_field = match source.format {
                Some(SubjectFormat { kind: Some(kind), subject_token_field_name: field }) if kind == "json" => {
                    Some(field.ok_or_else(|| lacks("credential_source.format.subject_token_field_name"))?)
                }
                _ => None,
            };
            Ok(GoogleCredentials::External(Box::new(ExternalAccount {
                audience: text.audience.ok_or_else(|| lacks("audience"))?,
                subject_token_type: text.subject_token_type.ok_or_else(|| lacks("subject_token_type"))?,
                token_url: text.token_url.unwrap_or_else(|| STS_TOKEN_URL.to_owned()),
                impersonation_url: text.service_account_impersonation_url,
                subject_file,
                subject_field,
            })))
        }
        "authorized_user" => Ok(GoogleCredentials::User(Box::new(UserAccount {
            client_id: text.client_id.ok_or_else(|| lacks("client_id"))?,
            client_secret: Zeroizing::new(text.client_secret.ok_or_else(|| lacks("client_secret"))?),
            refresh_token: Zeroizing::new(text.refresh_token.ok_or_else(|| lacks("refresh_token"))?),
            token_url: USER_TOKEN_URL.to_owned(),
        }))),
        kind => {
            let kind: String = kind.chars().filter(|c| !c.is_control()).take(40).collect();
            Err(format!("credentials of type {kind:?} are not supported here"))
        }
    }
}

fn rsa_key(pem: &str) -> Result<RsaKeyPair, String> {
    let body = pem
        .split_once("-----BEGIN PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
        .ok_or("its `private_key` is no PEM that begins with -----BEGIN PRIVATE KEY-----")?
        .0;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let der = STANDARD.decode(body.as_bytes()).map(Zeroizing::new);
    let der = der.map_err(|_| "the PEM of its `private_key` holds no base64")?;
    RsaKeyPair::from_pkcs8(&der)
        .map_err(|error| format!("its `private_key` is no RSA key of 2,048 to 4,096 bits ({error})"))
}

impl ServiceAccountKey {
    /// A token for Pub/Sub that is good from now on, for [`SIGNED_LIFE_SECONDS`]; the time is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub(crate) fn sign(&self, now: i64) -> Result<Zeroizing<String>, StreamError> {
        let head = match self.key_id.as_str() {
            "" => serde_json::json!({"alg": "RS256", "typ": "JWT"}),
            key_id => serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": key_id}),
        };
        let claims = serde_json::json!({
            "iss": self.email,
            "sub": self.email,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now.saturating_add(SIGNED_LIFE_SECONDS),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&head), encode(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| StreamError::Retry("a token could not be signed".to_owned()))?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature))))
    }
}

impl ExternalAccount {
    /// The token of somebody else's that is exchanged, which is written anew from time to time.
    ///
    /// # Errors
    /// The file cannot be read, or has no token.
    pub(crate) fn subject_token(&self) -> Result<Zeroizing<String>, StreamError> {
        let path: &Path = &self.subject_file;
        // Whoever writes it may be about to.
        let wrong = |why: &str| StreamError::Retry(format!("the subject token {}: {why}", path.display()));
        let text = file::read_text(path, file::SECRET_BYTES_MAX).map(Zeroizing::new);
        let text = text.map_err(|error| wrong(&error.to_string()))?;
        let Some(field) = &self.subject_field else { return Ok(Zeroizing::new(text.trim().to_owned())) };
        let value: Value = serde_json::from_str(&text).map_err(|_| wrong("it is not JSON"))?;
        let token = value.get(field).and_then(Value::as_str).ok_or_else(|| wrong("it has no such field"))?;
        Ok(Zeroizing::new(token.to_owned()))
    }
}

impl fmt::Debug for CredentialsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Key(_) => f.write_str("Key(a secret)"),
            Self::Machine => f.write_str("Machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// Made for these tests with `openssl genpkey -algorithm RSA`; opens nothing.
    const PEM: &str = include_str!("testdata/key.p8");

    fn service_account() -> String {
        let key = serde_json::json!({
            "type": "service_account", "client_email": "reader@shop.iam.gserviceaccount.com",
            "private_key_id": "k1", "private_key": PEM, "token_uri": "https://oauth2.googleapis.com/token",
        });
        key.to_string()
    }

    #[test]
    fn a_token_of_a_service_account_is_for_pubsub_and_signed_with_its_key() {
        let Ok(GoogleCredentials::Key(key)) = parse(&service_account()) else { panic!("it is no key") };
        let token = key.sign(1_700_000_000).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let part =
            |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap() };
        assert_eq!((&part(0)["alg"], &part(0)["kid"]), (&"RS256".into(), &"k1".into()));
        let claims = part(1);
        assert_eq!(claims["iss"], "reader@shop.iam.gserviceaccount.com");
        assert_eq!(claims["sub"], claims["iss"]);
        assert_eq!(claims["aud"], "https://pubsub.googleapis.com/");
        assert_eq!((&claims["iat"], &claims["exp"]), (&1_700_000_000.into(), &1_700_003_600.into()));
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.key.public_key().as_ref());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_credentials_is_told_and_nothing_of_them_shown() {
        let broken = service_account().replace("MII", "s3cr3t");
        let secret_json = r#"{"type": "service_account", "private_key": s3cr3t"#;
        let aws = r#"{"type": "external_account", "audience": "a", "subject_token_type": "t", "credential_source": {"environment_id": "aws1"}}"#;
        for (text, words) in [
            (secret_json, "not JSON"),
            (r#"{"type": "service_account"}"#, "no `client_email`"),
            (r#"{"type": "service_account", "client_email": "a", "private_key": "s3cr3t"}"#, "no PEM"),
            (&*broken, "`private_key`"),
            (r#"{"type": "gdch_service_account"}"#, "gdch_service_account"),
            (aws, "names no `file`"),
        ] {
            let Err(why) = parse(text) else { panic!("{text} was taken") };
            assert!(why.contains(words) && !why.contains("s3cr3t"), "{why}");
        }
    }

    #[test]
    fn the_token_of_a_workload_is_read_from_its_file_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let account = |format: Value| {
            let text = serde_json::json!({
                "type": "external_account", "audience": "//iam", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "credential_source": {"file": path, "format": format},
            });
            let Ok(GoogleCredentials::External(account)) = parse(&text.to_string()) else { panic!("it is another") };
            account
        };
        let plain = account(serde_json::json!({"type": "text"}));
        assert!(matches!(plain.subject_token(), Err(StreamError::Retry(_))), "it is not there yet");
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(*plain.subject_token().unwrap(), token);
        }
        std::fs::write(&path, r#"{"access_token": "three"}"#).unwrap();
        let json = account(serde_json::json!({"type": "json", "subject_token_field_name": "access_token"}));
        assert_eq!(*json.subject_token().unwrap(), "three");
        assert_eq!(json.token_url, "https://sts.googleapis.com/v1/token");
    }

    #[test]
    fn a_key_that_is_no_file_is_taken_of_service_accounts_alone() {
        let user =
            r#"{"type": "authorized_user", "client_id": "a", "client_secret": "s3cr3t", "refresh_token": "s3cr3t"}"#;
        assert!(CredentialsPlace::Key(Zeroizing::new(user.to_owned())).read().is_err());
        let key = CredentialsPlace::Key(Zeroizing::new(service_account()));
        assert!(key.read().is_ok() && format!("{key:?}") == "Key(a secret)");
    }
}
