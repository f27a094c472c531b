//! Where a registry is, and how it lets us in.

use std::fmt;

use tidegate_net::WebSettings;
use url::Url;

/// What an operator says of a schema registry.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaRegistrySettings {
    /// What is before `/schemas` and `/subjects`; without user and password.
    pub url: Url,
    pub login: RegistryLogin,
    pub web: WebSettings,
}

/// How a registry lets us in.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum RegistryLogin {
    #[default]
    Open,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
}

impl SchemaRegistrySettings {
    /// The address of a registry; none where it is something else, or has a user in it.
    #[must_use]
    pub fn address(text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        is_plain.then_some(url)
    }
}

impl fmt::Debug for SchemaRegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistrySettings").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets never print.
        f.write_str(match self {
            Self::Open => "Open",
            Self::Basic { .. } => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}
