//! Objects of a lake: files in a folder, or in a bucket.
//!
//! Data files and manifests are written once under names that nobody else uses. Only the root is replaced, and only by
//! who knows what it replaces: object stores compare its tag, on a local disk a lock is held while it is compared and
//! renamed. Every request has a time limit, and few are tried again here: the sync does that.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    RetryConfig, UpdateVersion,
};
use rustix::fs::{FlockOperation, flock};
use tidegate_net::WebSettings;

use super::error::{LakeError, disk, doing};
use super::manifest::{FORMAT, ROOT, Root};
use super::place::{LakePlace, Options};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole file goes in one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
const RETRIES_MAX: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Which root was read, so that it is replaced and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// There was none.
    Absent,
    Version(UpdateVersion),
    /// On a local disk: the commit that wrote it.
    Commit(String),
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Put {
    Done(Tag),
    /// Somebody else has replaced the root.
    Lost,
}

/// A place for objects. Cloned freely.
#[derive(Clone)]
pub(super) struct LakeStore {
    objects: Arc<dyn ObjectStore>,
    /// Of the bucket; nothing for a folder.
    prefix: String,
    folder: Option<PathBuf>,
}

impl fmt::Debug for LakeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl LakeStore {
    /// Makes the client; asks nothing of the far side.
    pub(super) fn open(place: &LakePlace, options: &Options, web: &WebSettings) -> Result<Self, LakeError> {
        let connector = Connector(web.clone());
        let opening = doing("opening the store");
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT)
            .with_allow_http(options.get("endpoint").is_some_and(|url| url.starts_with("http://")));
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let bucket =
            |objects: Arc<dyn ObjectStore>, prefix: &str| Self { objects, prefix: prefix.to_owned(), folder: None };
        Ok(match place {
            LakePlace::Folder(folder) => {
                // Not `new_with_prefix`, which wants the folder to be there.
                let absolute = std::path::absolute(folder).map_err(disk("finding the folder"))?;
                let prefix = absolute.to_str().map(|text| text.trim_matches('/').to_owned());
                let problem = || LakeError::Settings { problem: "the folder's path is not text".to_owned() };
                Self {
                    objects: Arc::new(LocalFileSystem::new().with_fsync(true)),
                    prefix: prefix.ok_or_else(problem)?,
                    folder: Some(absolute),
                }
            }
            LakePlace::S3 { bucket: name, prefix } => {
                let mut builder = AmazonS3Builder::new().with_bucket_name(name);
                for (key, value) in options.iter() {
                    builder = builder.with_config(AmazonS3ConfigKey::from_str(key).map_err(&opening)?, value);
                }
                let builder = builder.with_client_options(client).with_retry(retry).with_http_connector(connector);
                bucket(Arc::new(builder.build().map_err(opening)?), prefix)
            }
            LakePlace::Gcs { bucket: name, prefix } => {
                let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(name);
                for (key, value) in options.iter() {
                    if key == "endpoint" {
                        builder = builder.with_base_url(value);
                        continue;
                    }
                    builder = builder.with_config(GoogleConfigKey::from_str(key).map_err(&opening)?, value);
                }
                let builder = builder.with_client_options(client).with_retry(retry).with_http_connector(connector);
                bucket(Arc::new(builder.build().map_err(opening)?), prefix)
            }
            LakePlace::Azure { container, prefix } => {
                let mut builder = MicrosoftAzureBuilder::new().with_container_name(container);
                for (key, value) in options.iter() {
                    builder = builder.with_config(AzureConfigKey::from_str(key).map_err(&opening)?, value);
                }
                let builder = builder.with_client_options(client).with_retry(retry).with_http_connector(connector);
                bucket(Arc::new(builder.build().map_err(opening)?), prefix)
            }
        })
    }

    fn path(&self, path: &str) -> Result<Path, LakeError> {
        let whole = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(whole).map_err(|source| doing("naming an object")(source.into()))
    }

    /// The root as it is, and what replaces it.
    pub(super) async fn root(&self) -> Result<(Root, Tag), LakeError> {
        let found = match self.objects.get(&self.path(ROOT)?).await {
            // A bucket that is not there shows at the first write.
            Err(object_store::Error::NotFound { .. }) => return Ok((Root::default(), Tag::Absent)),
            other => other.map_err(doing("reading the root"))?,
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(doing("reading the root"))?;
        let root = parse_root(&bytes)?;
        let tag = match self.folder {
            Some(_) => Tag::Commit(root.commit.clone()),
            None => Tag::Version(version),
        };
        Ok((root, tag))
    }

    /// Replaces the root that `tag` stands for.
    pub(super) async fn put_root(&self, root: &Root, tag: &Tag) -> Result<Put, LakeError> {
        let text = serde_json::to_vec(root).map_err(|source| LakeError::Manifest { path: ROOT.to_owned(), source })?;
        if let Some(folder) = &self.folder {
            let (folder, tag, commit) = (folder.clone(), tag.clone(), root.commit.clone());
            let replaced = tokio::task::spawn_blocking(move || replace(&folder, &text, &tag)).await;
            let replaced = replaced.map_err(|_| LakeError::Gone)?.map_err(disk("committing"))?;
            return Ok(if replaced { Put::Done(Tag::Commit(commit)) } else { Put::Lost });
        }
        let mode = match tag {
            Tag::Version(version) => PutMode::Update(version.clone()),
            Tag::Absent | Tag::Commit(_) => PutMode::Create,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.objects.put_opts(&self.path(ROOT)?, text.into(), options).await {
            Ok(put) => Ok(Put::Done(Tag::Version(UpdateVersion { e_tag: put.e_tag, version: put.version }))),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => Ok(Put::Lost),
            Err(source) => Err(doing("committing")(source)),
        }
    }

    /// A whole object.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, LakeError> {
        self.get_part(path, None).await
    }

    /// The last `bytes` bytes of an object of `size` bytes; not every store can count from the end.
    pub(super) async fn get_end(&self, path: &str, size: u64, bytes: u64) -> Result<Bytes, LakeError> {
        self.get_part(path, Some(GetRange::Bounded(size.saturating_sub(bytes)..size))).await
    }

    async fn get_part(&self, path: &str, range: Option<GetRange>) -> Result<Bytes, LakeError> {
        let error = |source| match source {
            object_store::Error::NotFound { .. } => LakeError::Vanished { path: path.to_owned() },
            source => doing("reading a file")(source),
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.objects.get_opts(&self.path(path)?, options).await.map_err(error)?;
        found.bytes().await.map_err(error)
    }

    /// Writes an object under a name that nobody else uses.
    pub(super) async fn put(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        self.objects.put(&self.path(path)?, bytes.into()).await.map_err(doing("writing a file"))?;
        Ok(())
    }

    /// Deletes an object; one that is gone already is no error.
    pub(super) async fn delete(&self, path: &str) -> Result<(), LakeError> {
        if let Some(folder) = &self.folder {
            let file = folder.join(path);
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(file)).await;
            return match removed.map_err(|_| LakeError::Gone)? {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk("deleting a file")(error)),
                _ => Ok(()),
            };
        }
        match self.objects.delete(&self.path(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(doing("deleting a file")(source)),
        }
    }

    /// Gives every object below `path` to `each`: its path within the lake, and when it was written.
    pub(super) async fn list(&self, path: &str, mut each: impl FnMut(String, i64)) -> Result<(), LakeError> {
        if let Some(folder) = self.folder.clone() {
            let path = path.to_owned();
            let found = tokio::task::spawn_blocking(move || walk(&folder, &path)).await;
            let found = found.map_err(|_| LakeError::Gone)?.map_err(disk("listing files"))?;
            found.into_iter().for_each(|(path, written_us)| each(path, written_us));
            return Ok(());
        }
        let listing = doing("listing files");
        let mut objects = self.objects.list(Some(&self.path(path)?));
        loop {
            let next: Result<Option<ObjectMeta>, _> = objects.try_next().await;
            match next {
                Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(()),
                Ok(Some(object)) => {
                    let path = object.location.as_ref().strip_prefix(&self.prefix).unwrap_or_default();
                    each(path.trim_start_matches('/').to_owned(), object.last_modified.timestamp_micros());
                }
                Err(source) => return Err(listing(source)),
            }
        }
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

/// Replaces the root in `folder` if it is still the one of `tag`; whether it was. The system releases the lock of a
/// process that dies.
fn replace(folder: &FilePath, text: &[u8], tag: &Tag) -> std::io::Result<bool> {
    use std::io::Write as _;

    let root = folder.join(ROOT);
    let home = root.parent().unwrap_or(folder);
    std::fs::create_dir_all(home)?;
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(home.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let current = match std::fs::read(&root) {
        Ok(bytes) => match serde_json::from_slice::<Root>(&bytes) {
            Ok(root) => Tag::Commit(root.commit),
            Err(error) => return Err(std::io::Error::other(error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Tag::Absent,
        Err(error) => return Err(error),
    };
    if current != *tag {
        return Ok(false);
    }
    let staged = home.join("latest.json.new");
    let mut file = std::fs::File::create(&staged)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&staged, &root)?;
    std::fs::File::open(home)?.sync_all()?;
    if current == Tag::Absent {
        // The folder of the root is new as well.
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(true)
}

/// Every file below `path` in `folder`, and when it was written. Files that a process died over are among them, which the
/// store's own list leaves out.
fn walk(folder: &FilePath, path: &str) -> std::io::Result<Vec<(String, i64)>> {
    let mut files = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let entries = match std::fs::read_dir(folder.join(&path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (kind, inner) = (entry.file_type()?, format!("{path}/{name}"));
            if kind.is_dir() {
                left.push(inner);
            } else if kind.is_file() {
                let metadata = match entry.metadata() {
                    // Somebody else deletes as well, or has finished writing it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                let written = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                files.push((inner, i64::try_from(written.as_micros()).unwrap_or(i64::MAX)));
            }
        }
    }
    Ok(files)
}

/// Makes HTTP clients as the settings say.
#[derive(Debug)]
struct Connector(WebSettings);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "HTTP", source };
        let builder = self.0.client().map_err(|error| failed(error.into()))?;
        let allow_http = options
            .get_config_value(&object_store::ClientConfigKey::AllowHttp)
            .is_some_and(|allowed| allowed == "true");
        let client = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .https_only(!allow_http)
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_place_is_one_that_its_store_knows() {
        let more = [
            (
                "s3://b",
                "web_identity_token_file role_arn container_credentials_relative_uri container_credentials_full_uri container_authorization_token_file",
            ),
            ("gs://b", "google_application_credentials"),
            ("az://b", "federated_token_file"),
        ];
        for (url, more) in more {
            let place = LakePlace::parse(url).unwrap();
            for key in place.options().iter().copied().chain(more.split(' ')).chain(["endpoint"]) {
                let known = match place {
                    LakePlace::S3 { .. } => AmazonS3ConfigKey::from_str(key).is_ok(),
                    // The endpoint has a door of its own.
                    LakePlace::Gcs { .. } => key == "endpoint" || GoogleConfigKey::from_str(key).is_ok(),
                    _ => AzureConfigKey::from_str(key).is_ok(),
                };
                assert!(known, "{url} {key}");
            }
        }
    }
}
