//! What an operator may say of a lake, and whether it can be used.

use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::Failure;
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::table::Limits;

use super::error::LakeError;
use super::store::LakeStore;

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
    pub place: ObjectPlace,
    pub options: ObjectOptions,
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
    pub fn new(place: ObjectPlace) -> Self {
        Self {
            place,
            options: ObjectOptions::default(),
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
        let store = LakeStore::open(&self.place, &self.options, &self.web).map_err(|error| {
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
    fn secrets_do_not_print() {
        let mut settings = LakeSettings::new(ObjectPlace::parse("s3://lake").unwrap());
        settings.options.set("access_key_id", "key");
        settings.options.set("secret_access_key", "hush");
        assert!(!format!("{settings:?}").contains("hush"));
        assert!(format!("{settings:?}").contains("secret_access_key"));
        let part = SyncPart { sync: "sync".to_owned(), ..SyncPart::default() };
        assert!(!format!("{:?}", settings.check(&part).unwrap()).contains("hush"));
    }
}
