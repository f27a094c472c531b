//! The catalog itself: a store, the keys, and where randomness comes from. What it can do stands in files of their own.

use std::sync::Arc;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::error::CatalogError;
use crate::keys::{CatalogKeys, InstanceKeys, SealPlace, SealedValue};
use crate::object::SERVER_WORKSPACE;
use crate::store::{CatalogStore, CatalogTransaction, StoreAccess, migrate};

/// Where the catalog's own key is sealed.
pub(crate) const OWN_KEY: SealPlace<'static> =
    SealPlace { workspace: SERVER_WORKSPACE, name: "the catalog's own key", version: 1 };

const HASHING_MAX: usize = 2;
/// Passwords that wait for their turn; one more is told to come again.
const HASHING_WAITING_MAX: usize = 16;

/// An open catalog.
pub struct Catalog {
    store: Arc<dyn CatalogStore>,
    keys: CatalogKeys,
    entropy: Arc<dyn Entropy>,
    /// Passwords that are hashed at once: each takes 19 MiB and a core for some time.
    hashing: Arc<Semaphore>,
    /// Passwords that are hashed, and those that wait for it.
    hashing_places: Arc<Semaphore>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("store", &self.store.place()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Brings the store up to this build and unseals the catalog's own key, making both where they are new. `at_us` is the time
    /// now.
    ///
    /// # Errors
    /// The store cannot be used, is of another build, or was made under another instance key.
    pub async fn open(
        store: Arc<dyn CatalogStore>,
        instance: InstanceKeys,
        entropy: Arc<dyn Entropy>,
        at_us: i64,
    ) -> Result<Self, CatalogError> {
        migrate(store.as_ref(), at_us).await?;
        let mut transaction = store.begin(StoreAccess::Write).await?;
        let own = match read_own_key(transaction.as_mut()).await? {
            Some(sealed) => sealed.open(&instance, &OWN_KEY)?,
            None => {
                let own = CatalogKeys::fresh(entropy.as_ref());
                let sealed = SealedValue::seal(&instance, &OWN_KEY, &own, entropy.as_ref())?;
                write_own_key(transaction.as_mut(), sealed).await?;
                own
            }
        };
        transaction.commit().await?;
        let keys = CatalogKeys::new(instance, &own);
        let hashing = Arc::new(Semaphore::new(HASHING_MAX));
        let hashing_places = Arc::new(Semaphore::new(HASHING_MAX + HASHING_WAITING_MAX));
        Ok(Self { store, keys, entropy, hashing, hashing_places })
    }

    /// The revision of the last change; 0 before the first one.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn revision(&self) -> Result<u64, CatalogError> {
        revision(self.begin(StoreAccess::Read).await?.as_mut()).await
    }

    pub(crate) async fn begin(&self, access: StoreAccess) -> Result<Box<dyn CatalogTransaction>, CatalogError> {
        Ok(self.store.begin(access).await?)
    }

    pub(crate) const fn keys(&self) -> &CatalogKeys {
        &self.keys
    }

    /// The turns at hashing passwords, and the places of those that hash or wait.
    pub(crate) const fn hashing(&self) -> (&Arc<Semaphore>, &Arc<Semaphore>) {
        (&self.hashing, &self.hashing_places)
    }

    /// A key for something beside the catalog, derived from the instance key.
    #[must_use]
    pub fn derived_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.keys.instance.current.derived_for(purpose)
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.entropy.as_ref()
    }
}

/// The revision that a transaction sees.
pub(crate) async fn revision(transaction: &mut dyn CatalogTransaction) -> Result<u64, CatalogError> {
    let found = transaction.run("SELECT revision FROM head WHERE id = 1", Vec::new()).await?;
    let head = found.first().ok_or_else(|| CatalogError::Unreadable("there is no head".to_owned()))?;
    Ok(head.unsigned(0)?)
}

pub(crate) async fn read_own_key(
    transaction: &mut dyn CatalogTransaction,
) -> Result<Option<SealedValue>, CatalogError> {
    let found = transaction.run("SELECT key_id, sealed_key FROM head WHERE id = 1", Vec::new()).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let (Some(key_id), Some(bytes)) = (row.text_or_null(0)?, row.bytes_or_null(1)?) else { return Ok(None) };
    Ok(Some(SealedValue { key_id, bytes }))
}

pub(crate) async fn write_own_key(
    transaction: &mut dyn CatalogTransaction,
    sealed: SealedValue,
) -> Result<(), CatalogError> {
    let set = "UPDATE head SET key_id = $1, sealed_key = $2 WHERE id = 1";
    transaction.run(set, vec![sealed.key_id.into(), sealed.bytes.into()]).await?;
    Ok(())
}
