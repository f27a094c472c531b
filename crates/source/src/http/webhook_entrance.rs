//! A webhook source at the door: how it takes its messages, and the key that stands for its signing secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::key::{KEY_BYTES_MAX, KeyHasher, KeyOrigin, WriteKey};
use crate::webhook::WebhookSettings;

/// Between two log lines about wrong signatures of one source.
const TOLD_EVERY_US: i64 = 60_000_000;
/// No key in a file can have this name.
const SIGNING_NAME: &str = "(signature)";

/// A webhook source.
#[derive(Debug)]
pub struct WebhookEntrance {
    pub(super) source: Arc<str>,
    pub(super) settings: Arc<WebhookSettings>,
    /// Of the key that stands for its signing secrets, if it has any.
    pub(super) signing_hash: Option<[u8; 32]>,
    /// When a wrong signature was told of last.
    told_at_us: AtomicI64,
}

impl WebhookEntrance {
    #[must_use]
    pub fn new(source: Arc<str>, settings: Arc<WebhookSettings>, hasher: &KeyHasher) -> Self {
        let signing_hash = settings.signature.is_some().then(|| hasher.hash(&unshowable(&source)));
        Self { source, settings, signing_hash, told_at_us: AtomicI64::new(i64::MIN) }
    }

    /// The key under which signed messages are counted. It opens nothing for whoever would show it.
    #[must_use]
    pub fn signing_key(&self, created_at_us: i64) -> Option<WriteKey> {
        Some(WriteKey {
            source: Arc::clone(&self.source),
            name: SIGNING_NAME.into(),
            origin: KeyOrigin::File,
            hash: self.signing_hash?,
            created_at_us,
            ends_at_us: None,
            uses: Arc::default(),
        })
    }

    /// Whether a wrong signature is told of now: once a minute.
    pub(super) fn may_tell(&self, now_us: i64) -> bool {
        let told = self.told_at_us.load(Ordering::Relaxed);
        let is_time = now_us.saturating_sub(told) >= TOLD_EVERY_US;
        is_time && self.told_at_us.compare_exchange(told, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A text that is longer than any key that is looked at.
fn unshowable(source: &str) -> String {
    format!("{source}{}", " ".repeat(KEY_BYTES_MAX + 1))
}
