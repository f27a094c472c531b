//! Webhooks: messages that other people's servers send over HTTP, each signed with a secret that both know.
//!
//! Nouns: a **signature** (an HMAC over the body, in a header), a **preset** (how one provider signs, names and delivers), a
//! **challenge** (a question by which a provider looks whether somebody is there). This room checks and reads; it knows no connection and appends
//! nothing. Secrets never print, and are compared in the same time whatever they are.

mod challenge;
mod preset;
mod signature;

use sha2::{Digest as _, Sha256};
use tidegate_event::json;
use tidegate_event::value::{JsonObject, Value};
use tidegate_message::{MessageMapping, UpstreamMessage};

pub use challenge::{ChallengeAnswer, WebhookChallenge};
pub use preset::{WebhookPreset, plain};
pub use signature::{
    HmacAlgorithm, HmacSignature, SignatureEncoding, SignatureProblem, SignatureScheme, SigningSecrets,
    WebhookSignature,
};

/// How a webhook source takes its messages.
#[derive(Debug, Clone, Default)]
pub struct WebhookSettings {
    /// Without one, a write key must be shown.
    pub signature: Option<WebhookSignature>,
    /// A header that may hold a write key; its name in lower case.
    pub key_header: Option<String>,
    /// Headers that are kept with each event; their names in lower case.
    pub kept_headers: Vec<String>,
    /// The SHA-256 of the body tells a delivery from others, where nothing else does.
    pub is_told_by_body: bool,
    /// What is answered to GET.
    pub challenge: Option<WebhookChallenge>,
    /// A signed message of the type `url_verification` is answered and not kept (Slack).
    pub answers_url_verification: bool,
    pub mapping: MessageMapping,
}

/// The kind of a message, and the field of `context` that says where an event is from.
pub const WEBHOOK_KIND: &str = "webhook";

/// An answer to a challenge is no longer.
pub(crate) const CHALLENGE_BYTES_MAX: usize = 1 << 10;

impl WebhookSettings {
    /// By what a delivery is told from others, where its parts say nothing of it; empty when nothing does.
    #[must_use]
    pub fn position(&self, body: &[u8]) -> String {
        if self.is_told_by_body { data_encoding::HEXLOWER.encode(&Sha256::digest(body)) } else { String::new() }
    }

    /// The text that the provider waits for, when the body is such a question.
    #[must_use]
    pub fn url_verification(&self, body: &[u8]) -> Option<String> {
        const BODY_BYTES_MAX: usize = 4 * CHALLENGE_BYTES_MAX;
        if !self.answers_url_verification || body.len() > BODY_BYTES_MAX {
            return None;
        }
        let question = json::parse(body, 8).ok()?;
        if question.get("type").and_then(Value::as_str) != Some("url_verification") {
            return None;
        }
        let challenge = question.get("challenge")?.as_str()?;
        (challenge.len() <= CHALLENGE_BYTES_MAX).then(|| challenge.to_owned())
    }

    /// What an event keeps of its message in `context.webhook`: the delivery, who sent it, and the headers that are kept.
    #[must_use]
    pub fn kept(&self, message: &UpstreamMessage<'_>, delivery_id: &str) -> JsonObject {
        let mut kept = message.meta.clone();
        if !delivery_id.is_empty() {
            kept.insert("deliveryId", delivery_id.into());
        }
        let is_kept = |name: &str| self.kept_headers.iter().any(|kept| kept == name) || name.starts_with("ce-");
        let mut headers = JsonObject::new();
        for (name, value) in message.headers.iter().filter(|(name, _)| is_kept(name)) {
            headers.entry(name.as_str()).or_insert_with(|| value.into());
        }
        if !headers.is_empty() {
            kept.insert("headers", headers.into());
        }
        kept
    }
}

#[cfg(test)]
mod tests;
