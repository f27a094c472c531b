//! Where objects are, and what their store is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectPlace {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
    Gcs { bucket: String, prefix: String },
    Azure { container: String, prefix: String },
}

impl ObjectPlace {
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
impl fmt::Display for ObjectPlace {
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

/// Endpoint, region and credentials, by the names of [`ObjectPlace::options`]. Values never print.
#[derive(Clone, Default)]
pub struct ObjectOptions(BTreeMap<String, String>);

impl ObjectOptions {
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

impl fmt::Debug for ObjectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_spelled_back() {
        for url in ["s3://lake", "s3://lake/a/b", "gs://lake/x", "az://container/y"] {
            assert_eq!(ObjectPlace::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(ObjectPlace::parse("file:///data/lake"), Ok(ObjectPlace::Folder("/data/lake".into())));
        for wrong in ["lake", "file://lake", "s3://", "s3://key:secret@lake", "https://x/y", "s3://lake/*.parquet"] {
            assert!(ObjectPlace::parse(wrong).is_err(), "{wrong}");
        }
    }
}
