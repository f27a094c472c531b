//! All partitions of a log, and which records go where.

use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use siphasher::sip::SipHasher13;

use crate::{AppendError, Frames, Log};

/// The partitions of a log; clones share them.
#[derive(Clone)]
pub struct LogPartitions {
    logs: Arc<[Arc<dyn Log>]>,
}

impl LogPartitions {
    /// At least one.
    #[must_use]
    pub fn new(logs: Vec<Arc<dyn Log>>) -> Self {
        assert!(!logs.is_empty() && logs.len() <= usize::from(u16::MAX), "a log has one to 65535 partitions");
        Self { logs: logs.into() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.logs.len()).unwrap_or(u16::MAX)
    }

    /// Each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Arc<dyn Log>)> {
        (0..).zip(&*self.logs)
    }

    /// Which records go where.
    #[must_use]
    pub fn partitioner(&self) -> Partitioner {
        Partitioner { count: self.count() }
    }

    /// Whether an append of these parts may ever be taken.
    #[must_use]
    pub fn can_ever_take(&self, parts: &[(u16, Frames)]) -> bool {
        parts.iter().all(|(partition, frames)| self.log(*partition).can_ever_take(frames.bytes()))
    }

    /// Appends to several partitions and waits until all of it is durable.
    ///
    /// # Errors
    /// Not all of it was accepted; of several parts some may be. Sent again, those are duplicates.
    pub async fn append(&self, lane: u32, parts: Vec<(u16, Frames)>) -> Result<(), AppendError> {
        if let [_] = parts[..] {
            for (partition, frames) in parts {
                self.log(partition).append(lane, frames).await?;
            }
            return Ok(());
        }
        // Who is refused should be refused whole.
        if parts.iter().any(|(partition, frames)| !self.log(*partition).has_room(lane, frames.bytes())) {
            return Err(AppendError::Overloaded);
        }
        let appending = parts.into_iter().map(|(partition, frames)| self.log(partition).append(lane, frames));
        join_all(appending).await.into_iter().try_for_each(|appended| appended.map(drop))
    }

    /// Whether one of them has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.logs.iter().any(|log| log.is_poisoned())
    }

    /// They take no further appends.
    pub fn close(&self) {
        self.logs.iter().for_each(|log| log.close());
    }

    fn log(&self, partition: u16) -> &Arc<dyn Log> {
        &self.logs[usize::from(partition)]
    }
}

/// Chooses partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitioner {
    count: u16,
}

impl Partitioner {
    /// Of a log with one partition, where there is nothing to choose.
    pub const ONE: Self = Self { count: 1 };

    /// Whether there is nothing to choose.
    #[must_use]
    pub const fn is_one(self) -> bool {
        self.count <= 1
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// The partition where records of `source` with this key go: always the same for the same number of partitions. The key
    /// is the user of an event; what is nobody's has a key that is its own.
    #[must_use]
    pub fn choose(self, source: &str, key: &[u8]) -> u16 {
        let mut hasher = SipHasher13::new();
        hasher.write(source.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(key);
        u16::try_from(hasher.finish() % u64::from(self.count)).unwrap_or(0)
    }
}

/// The directory of a partition of the log in `dir`: the first lies in `dir` itself.
#[must_use]
pub fn partition_dir(dir: &Path, partition: u16) -> PathBuf {
    match partition {
        0 => dir.to_owned(),
        partition => dir.join(format!("partition-{partition}")),
    }
}

/// How many partitions lie in `dir`, also when one of them is missing; 0 when there is no log.
#[must_use]
pub fn partitions_in(dir: &Path) -> u16 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("partition-")?.parse::<u16>().ok();
    let highest = entries.flatten().filter_map(number).max();
    highest.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogSettings, SegmentLog};

    /// Which user goes where is part of the format: another answer would lose the order of what waits.
    #[test]
    fn a_user_stays_in_a_partition_and_users_are_spread() {
        let dir = tempfile::tempdir().unwrap();
        let open = |partition| -> Arc<dyn Log> {
            Arc::new(SegmentLog::open(&partition_dir(dir.path(), partition), LogSettings::default(), 0, 1).unwrap().0)
        };
        let logs = LogPartitions::new((0..4).map(open).collect());
        assert_eq!(partitions_in(dir.path()), 4);
        let mut found = [0; 4];
        for n in 0..4_000 {
            found[usize::from(logs.partitioner().choose("web", format!("user-{n}").as_bytes()))] += 1;
        }
        assert!(found.iter().all(|found| (900..1_100).contains(found)), "{found:?}");
        let users = ["", "a", "user-1", "Zoë"].map(|user| logs.partitioner().choose("web", user.as_bytes()));
        assert_eq!(users, [1, 0, 1, 0], "as in every build");
        assert_eq!(partitions_in(&dir.path().join("nothing")), 0);
        std::fs::remove_dir_all(partition_dir(dir.path(), 2)).unwrap();
        assert_eq!(partitions_in(dir.path()), 4, "a gap is no end");
    }
}
