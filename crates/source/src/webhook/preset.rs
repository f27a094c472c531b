//! How providers sign, name and deliver: what a source says beside its preset counts before it.

use tidegate_message::{EventMapping, MappedField, MessageMapping, MessagePlace};

use super::WebhookSettings;
use super::signature::{HmacAlgorithm, HmacSignature, SignatureEncoding, SignatureScheme};

/// A provider whose webhooks are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookPreset {
    GitHub,
    Stripe,
    Shopify,
    Slack,
    /// Everybody who follows Standard Webhooks, with Svix or without.
    Standard,
}

impl WebhookPreset {
    /// The words of settings.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("github", Self::GitHub),
        ("stripe", Self::Stripe),
        ("shopify", Self::Shopify),
        ("slack", Self::Slack),
        ("standard", Self::Standard),
    ];

    /// How it signs.
    #[must_use]
    pub fn scheme(self) -> SignatureScheme {
        let hmac = |header: &str, encoding, prefix: &str| {
            SignatureScheme::Hmac(HmacSignature {
                header: header.to_owned(),
                algorithm: HmacAlgorithm::Sha256,
                encoding,
                prefix: prefix.to_owned(),
                timestamp_header: None,
            })
        };
        match self {
            Self::GitHub => hmac("x-hub-signature-256", SignatureEncoding::Hex, "sha256="),
            Self::Shopify => hmac("x-shopify-hmac-sha256", SignatureEncoding::Base64, ""),
            Self::Stripe => SignatureScheme::Stripe,
            Self::Slack => SignatureScheme::Slack,
            Self::Standard => SignatureScheme::Standard,
        }
    }

    /// What a source has of it, but the secrets.
    #[must_use]
    pub fn settings(self) -> WebhookSettings {
        let base = EventMapping::of(self.fields());
        let mapping = MessageMapping {
            base,
            base_takes_rest: true,
            delivery_id: self.delivery_id(),
            ..MessageMapping::default()
        };
        WebhookSettings {
            kept_headers: self.kept_headers().iter().map(|name| (*name).to_owned()).collect(),
            answers_url_verification: self == Self::Slack,
            mapping,
            ..WebhookSettings::default()
        }
    }

    fn fields(self) -> Vec<(MappedField, Vec<MessagePlace>)> {
        match self {
            Self::GitHub => {
                let places = vec![header("x-github-event"), pointer(&["action"])];
                let event = MessagePlace::Joined { places, between: ".".to_owned() };
                vec![(MappedField::Event, vec![event]), (MappedField::UserId, vec![pointer(&["sender", "id"])])]
            }
            Self::Stripe => vec![
                (MappedField::Event, vec![pointer(&["type"])]),
                (MappedField::Timestamp, vec![pointer(&["created"])]),
                (MappedField::UserId, vec![pointer(&["data", "object", "customer"])]),
            ],
            Self::Shopify => vec![
                (MappedField::Event, vec![header("x-shopify-topic")]),
                (MappedField::Timestamp, vec![header("x-shopify-triggered-at")]),
                (MappedField::UserId, vec![pointer(&["customer", "id"])]),
            ],
            Self::Slack => vec![
                (MappedField::Event, vec![pointer(&["event", "type"]), pointer(&["command"]), pointer(&["type"])]),
                (MappedField::Timestamp, vec![pointer(&["event_time"])]),
                (
                    MappedField::UserId,
                    vec![pointer(&["event", "user"]), pointer(&["user", "id"]), pointer(&["user_id"])],
                ),
            ],
            Self::Standard => vec![
                (MappedField::Event, vec![pointer(&["type"])]),
                (MappedField::Timestamp, vec![pointer(&["timestamp"])]),
            ],
        }
    }

    fn delivery_id(self) -> Vec<MessagePlace> {
        match self {
            Self::GitHub => vec![header("x-github-delivery")],
            Self::Stripe => vec![pointer(&["id"])],
            Self::Shopify => vec![header("x-shopify-webhook-id")],
            Self::Slack => vec![pointer(&["event_id"])],
            Self::Standard => vec![header("webhook-id"), header("svix-id")],
        }
    }

    const fn kept_headers(self) -> &'static [&'static str] {
        match self {
            Self::GitHub => &["x-github-event", "x-github-hook-id", "x-github-hook-installation-target-id"],
            Self::Shopify => {
                &["x-shopify-topic", "x-shopify-shop-domain", "x-shopify-api-version", "x-shopify-event-id"]
            }
            Self::Stripe | Self::Standard => &[],
            Self::Slack => &["x-slack-retry-num", "x-slack-retry-reason"],
        }
    }
}

fn header(name: &str) -> MessagePlace {
    MessagePlace::Header(name.to_owned())
}

fn pointer(steps: &[&str]) -> MessagePlace {
    MessagePlace::Pointer(steps.iter().map(|step| (*step).to_owned()).collect())
}

/// What a source without a preset and without a mapping makes of its messages.
#[must_use]
pub fn plain() -> WebhookSettings {
    let fields = [
        (MappedField::Event, vec![pointer(&["type"]), pointer(&["event"])]),
        (MappedField::Timestamp, vec![pointer(&["time"]), pointer(&["timestamp"])]),
    ];
    let mapping = MessageMapping { base: EventMapping::of(fields), ..MessageMapping::default() };
    WebhookSettings { mapping, ..WebhookSettings::default() }
}
