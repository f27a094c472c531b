//! What an operator may say of a lake, and the lake as a destination.
//!
//! Three doors: [`LakeSettings::check`] and [`CheckedLake::open`] do no I/O, for a store that is away is found out at the first
//! batch; the tasks of a batch are spawned by it and end with it. What is left over after a batch (merging small files,
//! deleting old ones) is one task in the background, which ends with the destination.

use std::sync::Arc;

use tidegate_event::destination::Failure;
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::schema_cache::FoundSchema;

use super::load::LakeLoader;
use super::settings::CheckedLake;
use super::tidy::{self, Tidied};

impl CheckedLake {
    /// The second door; nothing need be reachable.
    #[must_use]
    pub fn open(self) -> Lake {
        Driver::new(LakeLoader::new(Arc::new(self)))
    }

    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn find(self) -> Result<FoundSchema, Failure> {
        let name = self.name.clone();
        super::load::find(&self).await.map_err(|error| error.failure(&name))
    }

    /// Merges small files and deletes what nobody needs, as the background does after batches.
    ///
    /// # Errors
    /// The lake cannot be read or written.
    pub async fn tidy(self) -> Result<Tidied, Failure> {
        let name = self.name.clone();
        tidy::run(&self, true).await.map_err(|error| error.failure(&name))
    }
}

/// A lake as a destination.
pub type Lake = Driver<LakeLoader>;
