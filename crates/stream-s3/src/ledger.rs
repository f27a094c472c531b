//! How far a sync has come, and what it is about to write.
//!
//! The ledger is one object for each sync and partition of the log. Files are announced in it before they are written, and counted
//! afterwards. What was announced and not counted is given up: it is deleted when the ledger is taken over, and again with each batch for
//! a while, since a writer that was replaced may be in the middle of a file.

use std::collections::HashSet;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use tidegate_object_store::{ObjectTag, OpenedPlace, Replacement};
use tidegate_process::clock;

use crate::encode::EncodedFile;
use crate::error::FilesError;
use crate::folder::{ENDING, LEDGERS, illegal_folder};

/// Bumped when older programs must not write to the place any more.
const FORMAT: u32 = 1;
/// How often a ledger is read again that somebody else has moved.
const TRIES_MAX: u32 = 12;
/// How long files that were given up are deleted again.
const GIVEN_UP_US: i64 = 15 * 60 * 1_000_000;
/// The longest time from announcing files to the last one that is begun. Whoever wrote later would write what nobody deletes any more.
pub(crate) const LATE_US: i64 = 5 * 60 * 1_000_000;

/// `_tidegate/SYNC-PARTITION.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesLedger {
    pub(crate) format: u32,
    /// How often it was taken over.
    pub(crate) generation: u64,
    /// Who may move it.
    pub(crate) writer: String,
    /// The server that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The log offset up to which everything is in files; `None` before the first batch.
    pub(crate) next: Option<u64>,
    /// What is about to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<AnnouncedFiles>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) given_up: Vec<GivenUpFile>,
}

/// The files of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnnouncedFiles {
    /// What `next` becomes.
    pub(crate) to: u64,
    pub(crate) files: Vec<AnnouncedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnnouncedFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// A file that may be there and does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUpFile {
    pub(crate) path: String,
    pub(crate) at_us: i64,
}

/// A ledger that this writer has taken over.
#[derive(Debug)]
pub(crate) struct TakenLedger {
    objects: OpenedPlace,
    path: String,
    ledger: FilesLedger,
    tag: ObjectTag,
}

impl TakenLedger {
    /// Takes the ledger over, so that nobody else moves it any more, and settles what was announced in it.
    pub(crate) async fn take(objects: OpenedPlace, stem: &str) -> Result<Self, FilesError> {
        let path = format!("{LEDGERS}/{stem}.json");
        for _ in 0..TRIES_MAX {
            let (bytes, tag) = objects.read(&path).await?;
            let mut ledger = match bytes {
                Some(bytes) => parse(&path, &bytes)?,
                None => FilesLedger::default(),
            };
            if let Some(commit) = ledger.commit.take() {
                if are_there(&objects, &commit.files).await? {
                    ledger.next = Some(commit.to);
                } else {
                    let at_us = clock::now_us();
                    let given_up = commit.files.into_iter().map(|file| GivenUpFile { path: file.path, at_us });
                    ledger.given_up.extend(given_up);
                }
            }
            (ledger.format, ledger.generation, ledger.writer) =
                (FORMAT, ledger.generation.saturating_add(1), clock::uuid());
            let mut taken = Self { objects: objects.clone(), path: path.clone(), ledger: ledger.clone(), tag };
            match taken.replace(ledger).await {
                Ok(()) => {
                    taken.delete_given_up().await?;
                    return Ok(taken);
                }
                Err(FilesError::Replaced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(FilesError::Contended { path })
    }

    /// Says with the next step whose it is; false where it is another's.
    pub(crate) fn own(&mut self, owner: &str) -> bool {
        self.ledger.owner.get_or_insert_with(|| owner.to_owned()).as_str() == owner
    }

    /// What it says now.
    pub(crate) async fn durable_to(&self) -> Result<Option<u64>, FilesError> {
        let (bytes, _) = self.objects.read(&self.path).await?;
        let ledger = match bytes {
            Some(bytes) => parse(&self.path, &bytes)?,
            None => FilesLedger::default(),
        };
        if ledger.writer == self.ledger.writer { Ok(ledger.next) } else { Err(self.replaced()) }
    }

    /// What the names of the files of a batch begin with: the log range, and who writes them.
    pub(crate) fn range(&self, next: u64) -> String {
        format!("{:020}-{next:020}-{}", self.ledger.next.unwrap_or(0), self.ledger.generation)
    }

    /// Says which files are written now.
    pub(crate) async fn announce(&mut self, to: u64, files: &[EncodedFile]) -> Result<(), FilesError> {
        self.delete_given_up().await?;
        let mut ledger = self.ledger.clone();
        let now_us = clock::now_us();
        ledger.given_up.retain(|file| now_us.saturating_sub(file.at_us) < GIVEN_UP_US);
        let announced = |file: &EncodedFile| AnnouncedFile { path: file.path.clone(), bytes: file.bytes.len() as u64 };
        ledger.commit = Some(AnnouncedFiles { to, files: files.iter().map(announced).collect() });
        self.replace(ledger).await
    }

    /// Says that everything below `next` is in files.
    pub(crate) async fn count(&mut self, next: u64) -> Result<(), FilesError> {
        let ledger = FilesLedger { next: Some(next), commit: None, ..self.ledger.clone() };
        self.replace(ledger).await
    }

    /// After an error: deletes what whoever took the ledger over has given up of these files, which may have come after that.
    pub(crate) async fn delete_own(&self, files: &[String]) -> Result<(), FilesError> {
        let (Some(bytes), _) = self.objects.read(&self.path).await? else { return Ok(()) };
        let ledger = parse(&self.path, &bytes)?;
        let given_up: HashSet<&str> = ledger.given_up.iter().map(|file| &*file.path).collect();
        for path in files.iter().filter(|path| given_up.contains(path.as_str())) {
            self.objects.delete_with_rest(path).await?;
        }
        Ok(())
    }

    async fn delete_given_up(&self) -> Result<(), FilesError> {
        for file in &self.ledger.given_up {
            self.objects.delete_with_rest(&file.path).await?;
        }
        Ok(())
    }

    async fn replace(&mut self, ledger: FilesLedger) -> Result<(), FilesError> {
        let text = serde_json::to_vec(&ledger);
        let text: Bytes = text.map_err(|source| FilesError::Ledger { path: self.path.clone(), source })?.into();
        self.tag = match self.objects.replace(&self.path, text.clone(), &self.tag).await? {
            Replacement::Done(tag) => tag,
            Replacement::Lost => match self.objects.read(&self.path).await? {
                // The answer was lost, not the ledger: nobody else writes this text.
                (Some(found), tag) if found == text => tag,
                _ => return Err(self.replaced()),
            },
        };
        self.ledger = ledger;
        Ok(())
    }

    fn replaced(&self) -> FilesError {
        FilesError::Replaced { path: self.path.clone() }
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<FilesLedger, FilesError> {
    // The number alone first: of a later format nothing else need be as it is here.
    #[derive(Deserialize)]
    struct Outline {
        format: u32,
    }
    let damaged = |source| FilesError::Ledger { path: path.to_owned(), source };
    let Outline { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT {
        return Err(FilesError::Format { path: path.to_owned(), format, newest: FORMAT });
    }
    let ledger: FilesLedger = serde_json::from_slice(bytes).map_err(damaged)?;
    let announced = ledger.commit.iter().flat_map(|commit| &commit.files).map(|file| &file.path);
    let given_up = ledger.given_up.iter().map(|file| &file.path);
    // They are deleted: a ledger must not name what no writer writes.
    if let Some(other) = announced.chain(given_up).find(|file| !is_of_writer(path, file)) {
        return Err(damaged(serde_json::Error::custom(format!("it names {other:?}, which is no file of this sync"))));
    }
    Ok(ledger)
}

/// Whether a file is called as those of the ledger at `path` are, and below the place.
fn is_of_writer(path: &str, file: &str) -> bool {
    let name_of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let stem = name_of(path).trim_end_matches(".json").to_owned();
    let Some((folder, name)) = file.rsplit_once('/') else { return false };
    let rest = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-'));
    illegal_folder(folder).is_none() && rest.is_some_and(|rest| rest.contains(ENDING))
}

/// Whether all of these are there, as long as they were to be. Under a generation's name nobody writes anything else.
async fn are_there(objects: &OpenedPlace, files: &[AnnouncedFile]) -> Result<bool, FilesError> {
    for file in files {
        if objects.size(&file.path).await? != Some(file.bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_a_later_build_is_told_from_one_that_is_damaged() {
        let error = parse("_tidegate/a-0.json", br#"{"format":2,"next":"elsewhere"}"#).unwrap_err();
        assert!(matches!(error, FilesError::Format { format: 2, .. }), "{error}");
        let error = parse("_tidegate/a-0.json", br#"{"format":1,"next":"#).unwrap_err();
        assert!(matches!(error, FilesError::Ledger { .. }), "{error}");
        let ledger = parse("_tidegate/a-0.json", br#"{"format":1,"generation":3,"writer":"w","next":7}"#).unwrap();
        assert_eq!((ledger.next, ledger.generation, ledger.commit), (Some(7), 3, None));
    }

    #[test]
    fn a_ledger_that_names_what_no_writer_writes_is_damaged() {
        let naming = |file: &str| {
            let text = format!(
                r#"{{"format":1,"generation":3,"writer":"w","next":7,"given_up":[{{"path":{file:?},"at_us":1}}]}}"#
            );
            parse("_tidegate/a-0.json", text.as_bytes())
        };
        assert!(naming("events/web/a-0-00000000000000000007-00000000000000000009-3.jsonl.gz").is_ok());
        for other in ["/etc/passwd", "../a-0-1.jsonl", "events/b-0-1.jsonl", "_tidegate/a-0-1.jsonl", "a-0-1.jsonl"] {
            assert!(naming(other).is_err(), "{other}");
        }
    }
}
