//! The keys of the first source that has any, kept until they are to be renewed.

use std::fmt;
use std::sync::Arc;

use reqwest::Client;
use tidegate_net::WebSettings;
use tidegate_process::clock;
use tokio::sync::Mutex;

use crate::error::AwsError;
use crate::exchange::CONNECT_TIME_MAX;
use crate::identity::{AwsIdentity, AwsKeySource, WebIdentityKeys};
use crate::keys::{AwsKeys, FoundKeys};
use crate::profile::{self, ProfileSays};
use crate::{container, instance, web_identity};

const MINUTE_US: i64 = 60_000_000;
/// So long before they end are keys renewed, or a quarter of their life before.
const EARLY_US: i64 = 5 * MINUTE_US;
/// A file may have other keys after this time.
const REREAD_US: i64 = 5 * MINUTE_US;
/// Between two tries to renew keys that are still right.
const RETRY_US: i64 = MINUTE_US / 2;

/// Gives keys to whoever signs.
pub struct AwsKeyChain {
    client: Client,
    identity: AwsIdentity,
    region: String,
    held: Mutex<Option<HeldKeys>>,
}

struct HeldKeys {
    keys: Arc<AwsKeys>,
    renew_at_us: i64,
    /// Afterwards nobody takes them.
    ends_at_us: i64,
}

impl AwsKeyChain {
    /// A chain whose keys are for services of `region`. Nothing is asked yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn open(identity: AwsIdentity, region: &str, web: &WebSettings) -> Result<Self, AwsError> {
        let failed = |reason: String| AwsError::no_keys(reason, "see to `ca_file` and `proxy`");
        let builder = web.client().map_err(|error| failed(error.to_string()))?;
        let client = builder.connect_timeout(CONNECT_TIME_MAX).build().map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, identity, region: region.to_owned(), held: Mutex::default() })
    }

    /// The keys. Whoever comes while they are fetched waits for the same answer.
    ///
    /// # Errors
    /// No source has any.
    pub async fn keys(&self) -> Result<Arc<AwsKeys>, AwsError> {
        let mut held = self.held.lock().await;
        let now_us = clock::now_us();
        if let Some(known) = held.as_ref().filter(|known| now_us < known.renew_at_us) {
            return Ok(Arc::clone(&known.keys));
        }
        match self.find().await {
            Ok(found) => {
                found.keys.check()?;
                let known = HeldKeys::new(found, now_us);
                let keys = Arc::clone(&known.keys);
                *held = Some(known);
                Ok(keys)
            }
            Err(error) => match held.as_mut().filter(|known| now_us < known.ends_at_us) {
                Some(known) => {
                    tracing::warn!(error = %error, "keys of AWS could not be renewed; the old ones are used while they last");
                    known.renew_at_us = (now_us + RETRY_US).min(known.ends_at_us);
                    Ok(Arc::clone(&known.keys))
                }
                None => Err(error),
            },
        }
    }

    /// Forgets keys that a service did not take, unless newer ones have taken their place.
    pub async fn forget(&self, refused: &Arc<AwsKeys>) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|known| Arc::ptr_eq(&known.keys, refused)) {
            *held = None;
        }
    }

    async fn find(&self) -> Result<FoundKeys, AwsError> {
        for source in &self.identity.sources {
            if let Some(found) = self.ask(source).await? {
                return Ok(found);
            }
        }
        let reason = "nothing gives keys of AWS: no settings, no variables, no profile, and no role of this machine";
        let advice = "write `access_key_id` and `secret_access_key`, name a `profile`, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                      give the machine, the task or the pod a role";
        Err(AwsError::no_keys(reason, advice))
    }

    async fn ask(&self, source: &AwsKeySource) -> Result<Option<FoundKeys>, AwsError> {
        match source {
            AwsKeySource::Keys(keys) => Ok(Some(FoundKeys { keys: keys.clone(), ends_at_us: None })),
            AwsKeySource::Profile(named) => match profile::read(named)? {
                None => Ok(None),
                Some(ProfileSays::Keys(keys)) => Ok(Some(FoundKeys { keys, ends_at_us: None })),
                Some(ProfileSays::WebIdentity(role)) => self.role(&role).await.map(Some),
            },
            AwsKeySource::WebIdentity(role) => self.role(role).await.map(Some),
            AwsKeySource::Container(container) => container::keys(&self.client, container).await.map(Some),
            AwsKeySource::Instance(endpoint) => instance::keys(&self.client, endpoint).await,
        }
    }

    async fn role(&self, role: &WebIdentityKeys) -> Result<FoundKeys, AwsError> {
        let sts = self.identity.sts_endpoint.clone().or_else(|| web_identity::sts_of(&self.region));
        let no_region = || AwsError::no_keys("the region is none", "write `region: eu-west-1`");
        web_identity::keys(&self.client, &sts.ok_or_else(no_region)?, role).await
    }
}

impl HeldKeys {
    fn new(found: FoundKeys, now_us: i64) -> Self {
        let ends_at_us = found.ends_at_us.unwrap_or(clock::LATEST_US);
        let life_us = ends_at_us.saturating_sub(now_us).max(0);
        let renew_at_us = match found.ends_at_us {
            None => now_us + REREAD_US,
            Some(_) => ends_at_us.saturating_sub(EARLY_US.min(life_us / 4)),
        };
        Self { keys: Arc::new(found.keys), renew_at_us, ends_at_us }
    }
}

impl fmt::Debug for AwsKeyChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKeyChain").field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ends_at_us: Option<i64>) -> FoundKeys {
        FoundKeys { keys: AwsKeys::new("a".to_owned(), "b".to_owned(), None), ends_at_us }
    }

    #[test]
    fn keys_are_renewed_before_they_end() {
        let hour = HeldKeys::new(found(Some(60 * MINUTE_US)), 0);
        assert_eq!(hour.renew_at_us, 55 * MINUTE_US);
        let short = HeldKeys::new(found(Some(8 * MINUTE_US)), 0);
        assert_eq!(short.renew_at_us, 6 * MINUTE_US);
        let over = HeldKeys::new(found(Some(0)), MINUTE_US);
        assert_eq!(over.renew_at_us, 0, "what has ended is not used twice");
        let kept = HeldKeys::new(found(None), 0);
        assert_eq!((kept.renew_at_us, kept.ends_at_us), (REREAD_US, clock::LATEST_US));
    }
}
