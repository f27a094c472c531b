//! The objects of a lake, and its root.
//!
//! Data files and manifests are written once under names that nobody else uses. Only the root is replaced.

use bytes::Bytes;
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace, ObjectTag, OpenedPlace, Replacement};

use super::error::LakeError;
use super::manifest::{FORMAT, ROOT, Root};

/// The objects of a lake. Cloned freely.
#[derive(Debug, Clone)]
pub(super) struct LakeStore(OpenedPlace);

impl LakeStore {
    /// Makes the client; asks nothing of the far side.
    pub(super) fn open(place: &ObjectPlace, options: &ObjectOptions, web: &WebSettings) -> Result<Self, LakeError> {
        Ok(Self(OpenedPlace::open(place, options, web)?))
    }

    /// The root as it is, and what replaces it.
    pub(super) async fn root(&self) -> Result<(Root, ObjectTag), LakeError> {
        let (bytes, tag) = self.0.read(ROOT).await?;
        let root = match bytes {
            Some(bytes) => parse_root(&bytes)?,
            None => Root::default(),
        };
        Ok((root, tag))
    }

    /// Replaces the root that `tag` stands for.
    pub(super) async fn put_root(&self, root: &Root, tag: &ObjectTag) -> Result<Replacement, LakeError> {
        let text = serde_json::to_vec(root).map_err(|source| LakeError::Manifest { path: ROOT.to_owned(), source })?;
        Ok(self.0.replace(ROOT, text.into(), tag).await?)
    }

    /// A whole object.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, LakeError> {
        Ok(self.0.get(path).await?)
    }

    /// The last `bytes` bytes of an object of `size` bytes.
    pub(super) async fn get_end(&self, path: &str, size: u64, bytes: u64) -> Result<Bytes, LakeError> {
        Ok(self.0.get_end(path, size, bytes).await?)
    }

    /// Writes an object under a name that nobody else uses.
    pub(super) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        Ok(self.0.put(path, bytes).await?)
    }

    /// Deletes an object; one that is gone already is no error.
    pub(super) async fn delete(&self, path: &str) -> Result<(), LakeError> {
        Ok(self.0.delete(path).await?)
    }

    /// Gives every object below `path` to `each`: its path within the lake, and when it was written.
    pub(super) async fn list(&self, path: &str, each: impl FnMut(String, i64)) -> Result<(), LakeError> {
        Ok(self.0.list(path, each).await?)
    }
}

fn parse_root(bytes: &[u8]) -> Result<Root, LakeError> {
    // The number alone first: of a later format nothing else need be as it is here.
    #[derive(serde::Deserialize)]
    struct Outline {
        format: u32,
    }
    let damaged = |source| LakeError::Manifest { path: ROOT.to_owned(), source };
    let Outline { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT { Err(LakeError::Format { format }) } else { serde_json::from_slice(bytes).map_err(damaged) }
}
