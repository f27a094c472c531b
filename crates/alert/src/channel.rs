//! Who is told, and how.

use std::fmt;
use std::path::PathBuf;

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte on, usually port 465.
    Implicit,
    /// TLS before anything is said, usually port 587.
    StartTls,
    /// None at all.
    None,
}

/// E-mail over SMTP.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertEmail {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// Name and password.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: Vec<String>,
}

impl fmt::Debug for AlertEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertEmail").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What a channel is.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// An incoming webhook of Slack; whoever knows its address may post there.
    Slack {
        url: String,
    },
    /// Events API v2.
    PagerDuty {
        url: String,
        routing_key: String,
    },
    /// JSON in the shape of Alertmanager's webhooks, signed where there is a secret.
    Webhook {
        url: String,
        headers: Vec<(String, String)>,
        signing_secret: Option<String>,
    },
    /// Alertmanager itself: where its API is.
    Alertmanager {
        url: String,
        headers: Vec<(String, String)>,
    },
    Email(AlertEmail),
}

impl ChannelKind {
    /// The word of files.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Email(_) => "email",
        }
    }
}

impl fmt::Debug for ChannelKind {
    /// Addresses and headers may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.word()).finish_non_exhaustive()
    }
}

/// One channel of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChannel {
    pub name: String,
    pub kind: ChannelKind,
    /// Hosts of private networks that it may lead to.
    pub private_hosts: Vec<String>,
    /// Authorities to trust besides the machine's, a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// Shorter texts cannot be told from others.
const HIDDEN_CHARS_MIN: usize = 4;

impl AlertChannel {
    /// What nobody may read.
    fn secrets(&self) -> Vec<&str> {
        match &self.kind {
            ChannelKind::Slack { url } => vec![url.as_str(), behind_host(url)],
            ChannelKind::PagerDuty { routing_key, .. } => vec![routing_key.as_str()],
            ChannelKind::Webhook { url, headers, signing_secret } => {
                let address = [url.as_str(), behind_host(url)];
                of_headers(headers).chain(signing_secret.as_deref()).chain(address).collect()
            }
            ChannelKind::Alertmanager { url, headers } => of_headers(headers).chain([url.as_str()]).collect(),
            ChannelKind::Email(email) => email.login.iter().map(|(_, password)| password.as_str()).collect(),
        }
    }

    /// A text without the secrets of the channel.
    #[must_use]
    pub fn without_secrets(&self, text: &str) -> String {
        let mut secrets = self.secrets();
        secrets.retain(|secret| secret.len() >= HIDDEN_CHARS_MIN);
        // The longer one first: it may hold the shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
    }
}

/// The values of headers, and what stands in each behind its first word: of `Bearer TOKEN` it is the token that a far side repeats.
fn of_headers(headers: &[(String, String)]) -> impl Iterator<Item = &str> {
    headers.iter().flat_map(|(_, value)| {
        let behind = value.split_once(' ').map(|(_, behind)| behind.trim());
        behind.into_iter().chain([value.as_str()])
    })
}

/// The path and the query of an address.
fn behind_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_never_prints_what_it_is_sent_with() {
        let channel = |kind| AlertChannel { name: "one".to_owned(), kind, private_hosts: Vec::new(), ca_file: None };
        let slack = channel(ChannelKind::Slack { url: "https://hooks.example/services/T0/B0/s3cr3t".to_owned() });
        assert!(!format!("{slack:?}").contains("s3cr3t"));
        let said = slack
            .without_secrets("could not reach https://hooks.example/services/T0/B0/s3cr3t: no /services/T0/B0/s3cr3t");
        assert_eq!(said, "could not reach (secret): no /(secret)");
        let headers = vec![("authorization".to_owned(), "Bearer s3cr3t-token".to_owned())];
        let hook = channel(ChannelKind::Alertmanager { url: "http://far.example".to_owned(), headers });
        assert_eq!(hook.without_secrets("401: no such token s3cr3t-token"), "401: no such token (secret)");
        let email = AlertEmail {
            host: "mail.example".to_owned(),
            port: 587,
            tls: SmtpTls::StartTls,
            login: Some(("ann".to_owned(), "s3cr3t-word".to_owned())),
            from: "a@example.com".to_owned(),
            to: vec!["b@example.com".to_owned()],
        };
        let email = channel(ChannelKind::Email(email));
        assert!(!format!("{email:?}").contains("s3cr3t"));
        assert_eq!(email.without_secrets("no s3cr3t-word"), "no (secret)");
    }
}
