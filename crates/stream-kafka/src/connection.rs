//! How to reach a cluster: brokers, TLS, SASL.
//!
//! [`KafkaConnection`] is settings: nothing is asked or read before [`KafkaConnection::connect`]. What reads and what writes build on the
//! same connection. Secrets never print.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::{Kafka, KafkaBuilder};
use tidegate_document::file;
use tidegate_net::trust;
use tidegate_stream::StreamError;
use zeroize::Zeroizing;

use crate::error::stream_error;
use crate::token::TokenEndpoint;

/// How long a connection to one broker may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// How old what is known of topics and leaders may be: a new topic of a pattern is seen that late.
const METADATA_AGE_MAX: Duration = Duration::from_secs(60);
/// A larger answer of a broker ends the connection. What is asked for is smaller; a single message may be as large as this.
const ANSWER_BYTES_MAX: usize = 100 << 20;

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct KafkaConnection {
    /// `host:port`, at least one. The others of the cluster are learned from those.
    pub brokers: Vec<String>,
    pub tls: Option<KafkaTls>,
    pub sasl: Option<KafkaSasl>,
}

/// TLS to the brokers. Whom the machine trusts is trusted, as with every connection.
#[derive(Debug, Clone, Default)]
pub struct KafkaTls {
    /// Authorities to trust as well, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// What the client shows of itself.
    pub identity: Option<KafkaIdentity>,
}

/// A client's certificate and its key, PEM files.
#[derive(Debug, Clone)]
pub struct KafkaIdentity {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
}

/// How the client proves who it is.
#[derive(Clone)]
pub enum KafkaSasl {
    Password {
        mechanism: PasswordMechanism,
        user: String,
        password: Zeroizing<String>,
    },
    /// OAUTHBEARER with a token that stays.
    Token(Zeroizing<String>),
    /// OAUTHBEARER with tokens from an endpoint of OAuth.
    TokenEndpoint(Arc<TokenEndpoint>),
}

/// Mechanisms that take a user and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl KafkaConnection {
    /// How messages about it begin.
    #[must_use]
    pub fn place(&self) -> String {
        format!("kafka at {}", self.brokers.join(", "))
    }

    /// Whether a password or a token would travel where anybody on the way can read it.
    #[must_use]
    pub fn shows_secrets(&self) -> bool {
        let is_plain = match &self.sasl {
            Some(KafkaSasl::Password { mechanism, .. }) => *mechanism == PasswordMechanism::Plain,
            Some(KafkaSasl::Token(_) | KafkaSasl::TokenEndpoint(_)) => true,
            None => false,
        };
        is_plain && self.tls.is_none()
    }

    /// Connects; the client tells the brokers that it is called `client`.
    ///
    /// # Errors
    /// A file cannot be read, no broker answers, or they do not let the client in.
    pub async fn connect(&self, client: &str) -> Result<Kafka, StreamError> {
        let builder = self.client_config(client)?;
        builder.connect().await.map_err(|error| stream_error(&self.place(), &error))
    }

    /// The settings of a client, with the files read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn client_config(&self, client: &str) -> Result<KafkaBuilder, StreamError> {
        let builder = Kafka::builder(self.brokers.join(","))
            .client_id(client)
            .connect_timeout(CONNECT_TIME_MAX)
            .request_timeout(REQUEST_TIME_MAX)
            .metadata_max_age(METADATA_AGE_MAX)
            .max_response_size(ANSWER_BYTES_MAX);
        Ok(match self.security()? {
            Some(security) => builder.security(security),
            None => builder,
        })
    }

    fn security(&self) -> Result<Option<AuthConfig>, StreamError> {
        let sasl = self.sasl.as_ref().map(KafkaSasl::auth);
        let Some(tls) = &self.tls else { return Ok(sasl) };
        let tls = tls.client_config()?;
        Ok(Some(sasl.unwrap_or_else(AuthConfig::plaintext).with_tls(tls)))
    }
}

impl KafkaTls {
    fn client_config(&self) -> Result<TlsConfig, StreamError> {
        let authorities = trust::authorities(self.ca_file.as_deref()).map_err(|error| StreamError::Stop {
            reason: error.to_string(),
            advice: "correct the file or the setting and start the source again".to_owned(),
        })?;
        let mut config = TlsConfig::new();
        // Without a list of its own the client takes Mozilla's, like every connection on a machine that has none.
        if let Some(pem) = authorities {
            config = config.with_ca_cert_pem(pem);
        }
        if let Some(KafkaIdentity { certificate_file, key_file }) = &self.identity {
            let certificate = read(certificate_file, "tls.certificate")?;
            config = config.with_client_cert_pem(certificate, Zeroizing::new(read(key_file, "tls.key")?));
        }
        Ok(config)
    }
}

fn read(path: &std::path::Path, setting: &str) -> Result<Vec<u8>, StreamError> {
    file::read(path, file::SECRET_BYTES_MAX).map_err(|error| StreamError::Stop {
        reason: format!("`{setting}`, {}: {error}", path.display()),
        advice: format!("name a PEM file that can be read with `{setting}`"),
    })
}

impl KafkaSasl {
    fn auth(&self) -> AuthConfig {
        match self {
            Self::Password { mechanism, user, password } => {
                let (user, password) = (user.as_str(), password.as_str());
                match mechanism {
                    PasswordMechanism::Plain => AuthConfig::sasl_plain(user, password),
                    PasswordMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
                    PasswordMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
                }
            }
            Self::Token(token) => AuthConfig::sasl_oauthbearer(token.as_str()),
            Self::TokenEndpoint(endpoint) => {
                let endpoint = Arc::clone(endpoint);
                AuthConfig::sasl_oauthbearer_provider(move || {
                    let endpoint = Arc::clone(&endpoint);
                    async move { endpoint.token().await }
                })
            }
        }
    }
}

impl fmt::Debug for KafkaSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { mechanism, user, .. } => {
                f.debug_struct("Password").field("mechanism", mechanism).field("user", user).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(a secret)"),
            Self::TokenEndpoint(endpoint) => endpoint.fmt(f),
        }
    }
}
