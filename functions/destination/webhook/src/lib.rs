//! Sends events to a URL of yours. The path, headers and body are templates; the host signs the body.

pub mod template;
pub mod webhook;

tidegate_sdk::destination!(forgetting crate::webhook::Webhook, "../../../wit");
