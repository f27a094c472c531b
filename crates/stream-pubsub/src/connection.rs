//! Where Pub/Sub is, and as whom it is asked.
//!
//! [`PubsubConnection`] is settings: nothing is asked or read before [`PubsubConnection::connect`]. What reads and what writes build on the
//! same connection.

use std::time::Duration;

use tidegate_net::WebSettings;
use tidegate_stream::StreamError;

use crate::credentials::CredentialsPlace;
use crate::grpc::GrpcClient;
use crate::token::TokenSource;

const GOOGLE: &str = "pubsub.googleapis.com";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection on which nobody answers for so long is given up, also while a call waits for messages.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(10);
/// An answer is read into room of this size before anybody asks for it.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Where Pub/Sub is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct PubsubConnection {
    pub project: String,
    pub endpoint: PubsubEndpoint,
    pub web: WebSettings,
}

/// Where Pub/Sub is.
#[derive(Debug, Clone)]
pub enum PubsubEndpoint {
    /// Google's, over TLS. `host` is one of its places in a region.
    Google { host: Option<String>, credentials: CredentialsPlace },
    /// An emulator, without TLS and credentials: `host:port`.
    Emulator(String),
}

impl PubsubConnection {
    /// How messages about it begin.
    #[must_use]
    pub fn place(&self) -> String {
        format!("pubsub at {}", self.host())
    }

    fn host(&self) -> &str {
        match &self.endpoint {
            PubsubEndpoint::Google { host, .. } => host.as_deref().unwrap_or(GOOGLE),
            PubsubEndpoint::Emulator(host) => host,
        }
    }

    /// The whole name of a subscription of the project, or of another one when it is whole already.
    pub(crate) fn subscription_name(&self, name: &str) -> String {
        if name.starts_with("projects/") {
            return name.to_owned();
        }
        format!("projects/{}/subscriptions/{name}", self.project)
    }

    /// The same of a topic.
    pub(crate) fn topic_name(&self, name: &str) -> String {
        if name.starts_with("projects/") { name.to_owned() } else { format!("projects/{}/topics/{name}", self.project) }
    }

    /// Reads the credentials and makes a client, which connects with its first call.
    ///
    /// # Errors
    /// The credentials or the authorities cannot be read.
    pub(crate) fn connect(&self) -> Result<GrpcClient, StreamError> {
        let setup = |problem: String| StreamError::Stop {
            reason: format!("{}: {problem}", self.place()),
            advice: "correct `ca_file`, or the list of authorities of the machine".to_owned(),
        };
        // An emulator is near, and a proxy between does not speak HTTP/2 without TLS.
        let direct = WebSettings::default();
        let web = if matches!(self.endpoint, PubsubEndpoint::Emulator(_)) { &direct } else { &self.web };
        let builder = web.http2_client().map_err(|error| setup(error.to_string()))?;
        let client = builder
            .user_agent(concat!("Tidegate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX)
            .http2_keep_alive_interval(SIGN_OF_LIFE)
            .http2_keep_alive_timeout(SIGN_OF_LIFE_MAX)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .build()
            .map_err(|error| setup(error.to_string()))?;
        let (base, tokens) = match &self.endpoint {
            PubsubEndpoint::Emulator(host) => (format!("http://{host}"), None),
            PubsubEndpoint::Google { credentials, .. } => {
                let tokens = TokenSource::new(credentials.read()?, &self.web)?;
                (format!("https://{}", self.host()), Some(tokens))
            }
        };
        Ok(GrpcClient::new(client, base, tokens))
    }
}
