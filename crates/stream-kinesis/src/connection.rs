//! How a stream is reached.

use std::sync::Arc;

use tidegate_aws::{AwsIdentity, AwsKeyChain};
use tidegate_net::WebSettings;
use tidegate_stream::StreamError;
use url::Url;

use crate::client::KinesisClient;
use crate::error::of_keys;

const NAME_CHARS_MAX: usize = 128;

/// A region or an endpoint, and who we are there.
#[derive(Debug, Clone)]
pub struct KinesisConnection {
    pub region: String,
    /// That of the region when `None`.
    pub endpoint: Option<Url>,
    pub identity: AwsIdentity,
    pub web: WebSettings,
}

impl KinesisConnection {
    /// How messages about it begin.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.endpoint {
            None => format!("kinesis in {}", self.region),
            Some(url) => format!("kinesis at {}", address(url)),
        }
    }

    /// By what servers know that they read the same stream, and share its leases. No stream can be called so.
    pub(crate) fn lease_key(&self, stream: &str) -> String {
        let region = &self.region;
        match &self.endpoint {
            None => format!("{stream}@{region}"),
            Some(url) => format!("{stream}@{region}@{}", address(url)),
        }
    }

    /// A client; nothing is asked yet.
    pub(crate) fn connect(&self) -> Result<Arc<KinesisClient>, StreamError> {
        let place = self.place();
        let chain = AwsKeyChain::open(self.identity.clone(), &self.region, &self.web);
        let chain = chain.map_err(|error| of_keys(&place, &error))?;
        let wrong = |reason: String| StreamError::Stop {
            reason: format!("{place}: {reason}"),
            advice: "see to `region`, `endpoint`, `ca_file` and `proxy`".to_owned(),
        };
        let url = match &self.endpoint {
            Some(url) => url.clone(),
            None => {
                let end = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                let text = format!("https://kinesis.{}.{end}/", self.region);
                Url::parse(&text).map_err(|error| wrong(format!("{text} is no address: {error}")))?
            }
        };
        let builder = self.web.client().map_err(|error| wrong(error.to_string()))?;
        KinesisClient::new(builder, chain, (&url, self.region.as_str()), place.clone()).map(Arc::new).map_err(wrong)
    }
}

fn address(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// Whether a stream can be called so.
#[must_use]
pub fn is_stream_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}
