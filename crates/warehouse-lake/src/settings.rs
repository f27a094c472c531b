//! What an operator may say of a lake, and whether it can be used.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::Failure;
use tidegate_net::WebSettings;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::table::Limits;

use super::error::LakeError;
use super::store::LakeStore;

/// Where a lake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LakePlace {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
    Gcs { bucket: String, prefix: String },
    Azure { container: String, prefix: String },
}

impl LakePlace {
    /// Reads `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("{url:?} does not begin with file://, s3://, gs:// or az://"));
        };
        if scheme == "file" {
            return if rest.starts_with('/') {
                Ok(Self::Folder(rest.into()))
            } else {
                Err(format!("{url:?} names no absolute folder: write file:///folder"))
            };
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
        if bucket.is_empty() || bucket.contains(['@', ':', '?']) || prefix.contains(['?', '#', '\\', '*', '[']) {
            return Err(format!("{url:?} is not of the form {scheme}://bucket/prefix"));
        }
        match scheme {
            "s3" => Ok(Self::S3 { bucket, prefix }),
            "gs" => Ok(Self::Gcs { bucket, prefix }),
            "az" => Ok(Self::Azure { container: bucket, prefix }),
            _ => Err(format!("{scheme}:// is no kind of place: write file://, s3://, gs:// or az://")),
        }
    }

    /// Options that the store of this place may be given, besides `endpoint`.
    #[must_use]
    pub const fn options(&self) -> &'static [&'static str] {
        match self {
            Self::Folder(_) => &[],
            Self::S3 { .. } => {
                &["region", "access_key_id", "secret_access_key", "session_token", "virtual_hosted_style_request"]
            }
            Self::Gcs { .. } => &["service_account_key", "service_account_path"],
            Self::Azure { .. } => {
                &["account_name", "account_key", "sas_token", "client_id", "client_secret", "tenant_id"]
            }
        }
    }

    /// Whether the option `key` says something to the store of this place.
    #[must_use]
    pub fn takes(&self, key: &str) -> bool {
        self.options().contains(&key) || (key == "endpoint" && !matches!(self, Self::Folder(_)))
    }
}

/// As readers spell it.
impl fmt::Display for LakePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket, prefix) = match self {
            Self::Folder(folder) => return write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } => ("s3", bucket, prefix),
            Self::Gcs { bucket, prefix } => ("gs", bucket, prefix),
            Self::Azure { container, prefix } => ("az", container, prefix),
        };
        write!(f, "{scheme}://{bucket}")?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

/// Endpoint, region and credentials, by the names of [`LakePlace::options`]. Values never print.
#[derive(Clone, Default)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How the files of a table lie apart, by when the server took the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partition {
    None,
    #[default]
    Day,
    Hour,
}

impl Partition {
    /// Reads `none`, `day` or `hour`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "day" => Some(Self::Day),
            "hour" => Some(Self::Hour),
            _ => None,
        }
    }
}

/// What an operator may say of a lake.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    pub place: LakePlace,
    pub options: Options,
    pub web: WebSettings,
    pub limits: Limits,
    /// Folder of the tables of syncs that name no schema.
    pub schema: String,
    pub partition: Partition,
    /// How large small files are merged to.
    pub file_bytes: u64,
    /// How many small files of one partition are merged at once; 0 merges none.
    pub merge_files_min: usize,
    /// How long files that are no longer part of the lake stay for readers that still use them.
    pub keep: Duration,
    /// How old a file must be that never became part of the lake before it is deleted.
    pub orphan_age: Duration,
}

impl LakeSettings {
    #[must_use]
    pub fn new(place: LakePlace) -> Self {
        Self {
            place,
            options: Options::default(),
            web: WebSettings::default(),
            limits: Limits::default(),
            schema: "events".to_owned(),
            partition: Partition::Day,
            file_bytes: 64 << 20,
            merge_files_min: 8,
            keep: Duration::from_secs(3_600),
            orphan_age: Duration::from_secs(24 * 3_600),
        }
    }

    /// The first door: whether these settings can be used at all.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(self, part: &SyncPart) -> Result<CheckedLake, Failure> {
        let name = self.place.to_string();
        let schema = part.schema.clone().unwrap_or_else(|| self.schema.clone());
        let problem = if part.sync.is_empty() {
            Some("the sync has no name")
        } else if !is_schema(&schema) {
            Some("a schema is lower-case letters, digits and single underscores, and begins with a letter")
        } else if !(32..=10_000).contains(&self.limits.columns_max) {
            Some("columns_max is not between 32 and 10,000")
        } else if !(1..=10_000).contains(&self.limits.tables_max) {
            Some("tables_max is not between 1 and 10,000")
        } else if !(1 << 20..=512 << 20).contains(&self.file_bytes) {
            Some("file_bytes is not between 1 MiB and 512 MiB")
        } else if self.merge_files_min == 1 {
            Some("merge_files_min is 1: write 0 to merge nothing, or 2 or more")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(LakeError::Settings { problem: problem.to_owned() }.failure(&name));
        }
        let store = LakeStore::open(&self).map_err(|error| {
            // Whatever a builder refuses is in the settings.
            let problem = error.to_string();
            LakeError::Settings { problem }.failure(&name)
        })?;
        let declared = Arc::clone(&part.declared);
        Ok(CheckedLake { store, name, sync: part.sync.clone(), schema, declared, settings: self })
    }
}

fn is_schema(schema: &str) -> bool {
    schema.starts_with(|c: char| c.is_ascii_lowercase())
        && schema.len() <= NAME_BYTES_MAX
        && schema.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !schema.contains("__")
}

/// Settings that can be used, for one sync.
#[derive(Debug, Clone)]
pub struct CheckedLake {
    pub(super) store: LakeStore,
    /// As people and engines spell the place.
    pub(super) name: String,
    pub(super) sync: String,
    pub(super) schema: String,
    pub(super) declared: Arc<Declared>,
    pub(super) settings: LakeSettings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_spelled_back() {
        for url in ["s3://lake", "s3://lake/a/b", "gs://lake/x", "az://container/y"] {
            assert_eq!(LakePlace::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(LakePlace::parse("file:///data/lake"), Ok(LakePlace::Folder("/data/lake".into())));
        for wrong in ["lake", "file://lake", "s3://", "s3://key:secret@lake", "https://x/y", "s3://lake/*.parquet"] {
            assert!(LakePlace::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let mut settings = LakeSettings::new(LakePlace::parse("s3://lake").unwrap());
        settings.options.set("access_key_id", "key");
        settings.options.set("secret_access_key", "hush");
        assert!(!format!("{settings:?}").contains("hush"));
        assert!(format!("{settings:?}").contains("secret_access_key"));
        let part = SyncPart { sync: "sync".to_owned(), ..SyncPart::default() };
        assert!(!format!("{:?}", settings.check(&part).unwrap()).contains("hush"));
    }
}
