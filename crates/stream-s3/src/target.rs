//! Where files go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectError, ObjectOptions, ObjectPlace, OpenedPlace, sentence};
use tidegate_stream::{StreamError, StreamFlush, StreamReply, StreamTarget, StreamWriter};
use tokio::sync::RwLock;

use crate::encode::FileCompression;
use crate::error::FilesError;
use crate::folder::{LEDGERS, stem};
use crate::ledger::TakenLedger;
use crate::writer::FilesWriter;

/// A bucket or a folder that files go to.
pub struct S3Target {
    place: ObjectPlace,
    options: ObjectOptions,
    web: WebSettings,
    compression: FileCompression,
    /// By ledger: locked for reading while files are written.
    under_way: Mutex<BTreeMap<String, Arc<RwLock<()>>>>,
}

impl fmt::Debug for S3Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Target")
            .field("place", &self.place)
            .field("options", &self.options)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl S3Target {
    /// Asks nothing of the far side.
    #[must_use]
    pub fn new(place: ObjectPlace, options: ObjectOptions, web: WebSettings, compression: FileCompression) -> Self {
        Self { place, options, web, compression, under_way: Mutex::default() }
    }

    fn opened(&self) -> Result<OpenedPlace, ObjectError> {
        // Whatever a builder refuses is in the settings.
        OpenedPlace::open(&self.place, &self.options, &self.web)
            .map_err(|error| ObjectError::Settings { problem: sentence(&error) })
    }

    fn under_way(&self, ledger: &str) -> Arc<RwLock<()>> {
        Arc::clone(self.under_way.lock().entry(ledger.to_owned()).or_default())
    }

    async fn writer(&self, ledger: String) -> Result<Box<dyn StreamWriter>, FilesError> {
        let under_way = self.under_way(&ledger);
        // Files that a writer of before is still writing, for which nobody waits any more.
        drop(under_way.write().await);
        let (objects, stem) = (self.opened()?, stem(&ledger));
        let ledger = TakenLedger::take(objects.clone(), &stem).await?;
        let place = self.place.to_string();
        Ok(Box::new(FilesWriter {
            objects,
            place,
            compression: self.compression,
            stem,
            ledger,
            is_of_another: false,
            under_way,
        }))
    }

    async fn look(&self) -> Result<Vec<String>, FilesError> {
        let objects = self.opened()?;
        if !objects.is_there().await? {
            let is_folder = matches!(self.place, ObjectPlace::Folder(_));
            return if is_folder {
                Ok(vec!["the folder is made when the first file is written".to_owned()])
            } else {
                Err(FilesError::NoBucket)
            };
        }
        let mut ledgers = 0_u64;
        let count = |path: String, _: i64| ledgers += u64::from(path.ends_with(".json"));
        objects.list(LEDGERS, count).await?;
        Ok(vec![match ledgers {
            0 => "it answers, and no sync has written to it yet".to_owned(),
            1 => "it answers, and has 1 ledger".to_owned(),
            more => format!("it answers, and has {more} ledgers"),
        }])
    }

    fn failed(&self, error: &FilesError) -> StreamError {
        error.of_stream(&self.place.to_string())
    }
}

impl StreamTarget for S3Target {
    fn kind(&self) -> &'static str {
        "s3"
    }

    fn place(&self) -> String {
        format!("files in {}", self.place)
    }

    fn keeps_ledger(&self) -> bool {
        true
    }

    /// Few files and large ones, for engines that read whole folders.
    fn flush(&self) -> StreamFlush {
        StreamFlush { events: 50_000, bytes: 64 << 20, age: Duration::from_secs(60) }
    }

    fn open(&self, ledger: &str) -> StreamReply<'_, Box<dyn StreamWriter>> {
        let ledger = ledger.to_owned();
        Box::pin(async move { self.writer(ledger).await.map_err(|error| self.failed(&error)) })
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(async move { self.look().await.map_err(|error| self.failed(&error)) })
    }
}
