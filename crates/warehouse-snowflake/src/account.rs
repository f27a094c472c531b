//! Where to log in, and how.

use std::sync::Arc;

use super::http::Http;
use super::jwt::JwtSigner;
use super::settings::CheckedSnowflake;

/// The account of a warehouse, as one sync uses it.
pub(super) struct Account {
    pub(super) checked: Arc<CheckedSnowflake>,
    pub(super) http: Http,
    /// Where a key pair is the way in.
    pub(super) signer: Option<JwtSigner>,
}
