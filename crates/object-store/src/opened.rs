//! The objects of a place: files in a folder, or objects in a bucket.
//!
//! Most objects are written once under names that nobody else uses. A record is replaced, by who knows what it replaces: object stores
//! compare its tag, on a local disk a lock is held while it is compared and renamed.

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

use crate::error::{ObjectError, disk, doing};
use crate::place::{ObjectOptions, ObjectPlace};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole file goes in one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
const RETRIES_MAX: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Files that are looked for which a process left behind that died while it wrote one file.
const LEFT_BEHIND_MAX: u32 = 100;

/// Which record was read, so that it is replaced and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectTag {
    /// There was none.
    Absent,
    Version(UpdateVersion),
    /// On a local disk: what was in it.
    Content(Bytes),
}

/// What became of a record that was to be replaced.
#[derive(Debug)]
pub enum Replacement {
    Done(ObjectTag),
    /// Somebody else has replaced it.
    Lost,
}

/// A place for objects that can be used. Cloned freely.
#[derive(Clone)]
pub struct OpenedPlace {
    objects: Arc<dyn ObjectStore>,
    /// Of the bucket; for a folder, its path.
    prefix: String,
    folder: Option<PathBuf>,
}

impl fmt::Debug for OpenedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedPlace")
            .field("prefix", &self.prefix)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl OpenedPlace {
    /// Makes the client; asks nothing of the far side.
    ///
    /// # Errors
    /// A setting is refused.
    pub fn open(place: &ObjectPlace, options: &ObjectOptions, web: &WebSettings) -> Result<Self, ObjectError> {
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
            ObjectPlace::Folder(folder) => {
                // Not `new_with_prefix`, which wants the folder to be there.
                let absolute = std::path::absolute(folder).map_err(disk("finding the folder"))?;
                let prefix = absolute.to_str().map(|text| text.trim_matches('/').to_owned());
                let problem = || ObjectError::Settings { problem: "the folder's path is not text".to_owned() };
                Self {
                    objects: Arc::new(LocalFileSystem::new().with_fsync(true)),
                    prefix: prefix.ok_or_else(problem)?,
                    folder: Some(absolute),
                }
            }
            ObjectPlace::S3 { bucket: name, prefix } => {
                let mut builder = AmazonS3Builder::new().with_bucket_name(name);
                for (key, value) in options.iter() {
                    builder = builder.with_config(AmazonS3ConfigKey::from_str(key).map_err(&opening)?, value);
                }
                let builder = builder.with_client_options(client).with_retry(retry).with_http_connector(connector);
                bucket(Arc::new(builder.build().map_err(opening)?), prefix)
            }
            ObjectPlace::Gcs { bucket: name, prefix } => {
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
            ObjectPlace::Azure { container, prefix } => {
                let mut builder = MicrosoftAzureBuilder::new().with_container_name(container);
                for (key, value) in options.iter() {
                    builder = builder.with_config(AzureConfigKey::from_str(key).map_err(&opening)?, value);
                }
                let builder = builder.with_client_options(client).with_retry(retry).with_http_connector(connector);
                bucket(Arc::new(builder.build().map_err(opening)?), prefix)
            }
        })
    }

    /// The folder, where the objects are files.
    pub(crate) fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    pub(crate) fn objects(&self) -> &dyn ObjectStore {
        &*self.objects
    }

    pub(crate) fn path(&self, path: &str) -> Result<Path, ObjectError> {
        let whole = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(whole).map_err(|source| doing("naming an object")(source.into()))
    }

    /// A record, if there is one, and what replaces it.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(&self, path: &str) -> Result<(Option<Bytes>, ObjectTag), ObjectError> {
        let found = match self.objects.get(&self.path(path)?).await {
            // A bucket that is not there shows at the first write.
            Err(object_store::Error::NotFound { .. }) => return Ok((None, ObjectTag::Absent)),
            other => other.map_err(doing("reading a record"))?,
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(doing("reading a record"))?;
        let tag = match self.folder {
            Some(_) => ObjectTag::Content(bytes.clone()),
            None => ObjectTag::Version(version),
        };
        Ok((Some(bytes), tag))
    }

    /// Replaces the record that `tag` stands for.
    ///
    /// # Errors
    /// It cannot be written; it may be there for all that, when the answer was lost.
    pub async fn replace(&self, path: &str, bytes: Bytes, tag: &ObjectTag) -> Result<Replacement, ObjectError> {
        if let Some(folder) = &self.folder {
            let (folder, path, tag, text) = (folder.clone(), path.to_owned(), tag.clone(), bytes.clone());
            let replaced = tokio::task::spawn_blocking(move || replace(&folder, &path, &text, &tag)).await;
            let replaced = replaced.map_err(|_| ObjectError::Gone)?.map_err(disk("committing"))?;
            return Ok(if replaced { Replacement::Done(ObjectTag::Content(bytes)) } else { Replacement::Lost });
        }
        let mode = match tag {
            ObjectTag::Version(version) => PutMode::Update(version.clone()),
            ObjectTag::Absent | ObjectTag::Content(_) => PutMode::Create,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.objects.put_opts(&self.path(path)?, bytes.into(), options).await {
            Ok(put) => {
                let version = UpdateVersion { e_tag: put.e_tag, version: put.version };
                Ok(Replacement::Done(ObjectTag::Version(version)))
            }
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
                Ok(Replacement::Lost)
            }
            Err(source) => Err(doing("committing")(source)),
        }
    }

    /// Whether the bucket is there, or the folder, which is made when it is first written to. Writes nothing.
    ///
    /// # Errors
    /// It does not answer, or may not be listed.
    pub async fn is_there(&self) -> Result<bool, ObjectError> {
        if let Some(folder) = self.folder.clone() {
            let found = tokio::task::spawn_blocking(move || std::fs::read_dir(folder).map(drop)).await;
            return match found.map_err(|_| ObjectError::Gone)? {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(disk("looking at the folder")(error)),
            };
        }
        let mut objects = self.objects.list(Some(&self.path("")?));
        let first: Result<Option<ObjectMeta>, _> = objects.try_next().await;
        match first {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) if names_no_bucket(&source) => Ok(false),
            Err(source) => Err(doing("listing files")(source)),
        }
    }

    /// How many bytes an object has; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, ObjectError> {
        match self.objects.head(&self.path(path)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(doing("looking at a file")(source)),
        }
    }

    /// A whole object.
    ///
    /// # Errors
    /// It cannot be read, or is gone.
    pub async fn get(&self, path: &str) -> Result<Bytes, ObjectError> {
        self.get_part(path, None).await
    }

    /// The last `bytes` bytes of an object of `size` bytes; not every store can count from the end.
    ///
    /// # Errors
    /// It cannot be read, or is gone.
    pub async fn get_end(&self, path: &str, size: u64, bytes: u64) -> Result<Bytes, ObjectError> {
        self.get_part(path, Some(GetRange::Bounded(size.saturating_sub(bytes)..size))).await
    }

    pub(crate) async fn get_part(&self, path: &str, range: Option<GetRange>) -> Result<Bytes, ObjectError> {
        let error = |source| match source {
            object_store::Error::NotFound { .. } => ObjectError::Vanished { path: path.to_owned() },
            source => doing("reading a file")(source),
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.objects.get_opts(&self.path(path)?, options).await.map_err(error)?;
        found.bytes().await.map_err(error)
    }

    /// Writes an object under a name that nobody else uses.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.objects.put(&self.path(path)?, bytes.into()).await.map_err(doing("writing a file"))?;
        Ok(())
    }

    /// Deletes an object; one that is gone already is no error.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub async fn delete(&self, path: &str) -> Result<(), ObjectError> {
        if let Some(folder) = &self.folder {
            let file = folder.join(path);
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(file)).await;
            return match removed.map_err(|_| ObjectError::Gone)? {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk("deleting a file")(error)),
                _ => Ok(()),
            };
        }
        match self.objects.delete(&self.path(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(doing("deleting a file")(source)),
        }
    }

    /// Deletes an object, and what a process left behind that died while it wrote it.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub async fn delete_with_rest(&self, path: &str) -> Result<(), ObjectError> {
        self.delete(path).await?;
        let Some(folder) = &self.folder else { return Ok(()) };
        let (folder, path) = (folder.clone(), path.to_owned());
        let deleted = tokio::task::spawn_blocking(move || delete_left_behind(&folder, &path)).await;
        deleted.map_err(|_| ObjectError::Gone)?.map_err(disk("deleting a file"))
    }

    /// Gives every object below `path` to `each`: its path within the place, and when it was written.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn list(&self, path: &str, mut each: impl FnMut(String, i64)) -> Result<(), ObjectError> {
        if let Some(folder) = self.folder.clone() {
            let path = path.to_owned();
            let found = tokio::task::spawn_blocking(move || walk(&folder, &path)).await;
            let found = found.map_err(|_| ObjectError::Gone)?.map_err(disk("listing files"))?;
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

/// Replaces a record in `folder` if it is still the one of `tag`; whether it was. The system releases the lock of a process
/// that dies.
fn replace(folder: &FilePath, path: &str, text: &[u8], tag: &ObjectTag) -> std::io::Result<bool> {
    use std::io::Write as _;

    let record = folder.join(path);
    let home = record.parent().unwrap_or(folder);
    std::fs::create_dir_all(home)?;
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(home.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let current = match std::fs::read(&record) {
        Ok(bytes) => ObjectTag::Content(bytes.into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => ObjectTag::Absent,
        Err(error) => return Err(error),
    };
    if current != *tag {
        return Ok(false);
    }
    let staged = record.with_extension("json.new");
    let mut file = std::fs::File::create(&staged)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&staged, &record)?;
    std::fs::File::open(home)?.sync_all()?;
    if current == ObjectTag::Absent {
        // The folder of the record may be new as well.
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(true)
}

/// A file is written beside itself, under its name with `#` and a number, of which the first that is free is taken.
fn delete_left_behind(folder: &FilePath, path: &str) -> std::io::Result<()> {
    for number in 1..=LEFT_BEHIND_MAX {
        match std::fs::remove_file(folder.join(format!("{path}#{number}"))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            other => other?,
        }
    }
    Ok(())
}

/// Whether a list failed since there is no bucket, which is told from other errors by what the store answers.
fn names_no_bucket(error: &object_store::Error) -> bool {
    let said = error.to_string();
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| said.contains(code))
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
            let place = ObjectPlace::parse(url).unwrap();
            for key in place.options().iter().copied().chain(more.split(' ')).chain(["endpoint"]) {
                let known = match place {
                    ObjectPlace::S3 { .. } => AmazonS3ConfigKey::from_str(key).is_ok(),
                    // The endpoint has a door of its own.
                    ObjectPlace::Gcs { .. } => key == "endpoint" || GoogleConfigKey::from_str(key).is_ok(),
                    _ => AzureConfigKey::from_str(key).is_ok(),
                };
                assert!(known, "{url} {key}");
            }
        }
    }

    #[test]
    fn a_record_on_a_disk_is_replaced_by_who_has_read_it_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = "records/one.json";
        let tag = |text: &'static str| ObjectTag::Content(Bytes::from_static(text.as_bytes()));
        assert!(replace(folder.path(), path, b"1", &ObjectTag::Absent).unwrap());
        assert!(!replace(folder.path(), path, b"2", &ObjectTag::Absent).unwrap());
        assert!(replace(folder.path(), path, b"2", &tag("1")).unwrap());
        assert!(!replace(folder.path(), path, b"3", &tag("1")).unwrap());
        assert_eq!(std::fs::read(folder.path().join(path)).unwrap(), b"2");
    }

    #[test]
    fn what_a_process_left_behind_that_died_over_a_file_is_deleted_and_its_neighbours_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a#1", "a#2", "a", "b#1"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        delete_left_behind(folder.path(), "a").unwrap();
        let left = ["a#1", "a#2", "a", "b#1"].map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, true, true]);
    }
}
