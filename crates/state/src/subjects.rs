//! Who is left out: subjects by keyed hashes, never in clear, and which records were left out because of them.
//!
//! Whoever has the file cannot tell whom the list names, nor try names out without its key, which is in the same file: the list keeps
//! ids out of listings, logs and answers, and is worth as much as the file is guarded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};
use tidegate_event::decode;
use tidegate_event::record::LoggedRecord;
use tidegate_event::subject::{SubjectKind, any_named_text, any_subject, any_text, normalised};
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{Position, json};
use tidegate_process::clock;

use super::{RefineStage, State, StateError, position, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS suppressed (log_offset INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS suppressed_subjects (
        hash BLOB PRIMARY KEY, kind TEXT NOT NULL, trait TEXT NOT NULL, at_us INTEGER NOT NULL, asked_by TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS suppress_key (
        one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL, generation INTEGER NOT NULL
    );
";

/// Before the hexadecimal digits of a trait that its sender has hashed.
const HASHED: &str = "sha256:";
const HASH_BYTES: usize = 32;

/// A keyed hash of an id.
pub type SubjectHash = [u8; HASH_BYTES];

/// Somebody, in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearSubject {
    pub kind: SubjectKind,
    /// Of a trait; empty otherwise.
    pub trait_name: String,
    /// The id; of a trait its value, or `sha256:` and the digest of it: in small letters, without white space around it.
    pub value: String,
}

impl ClearSubject {
    /// What is hashed: of a trait the digest of its value.
    fn hashed_value(&self) -> Cow<'_, str> {
        match self.kind {
            SubjectKind::Trait => match digest_of(&self.value) {
                Some(digest) => Cow::Owned(digest),
                None => Cow::Owned(trait_digest(&self.value)),
            },
            SubjectKind::User | SubjectKind::Anonymous | SubjectKind::Group => Cow::Borrowed(self.value.as_str()),
        }
    }

    /// Whether only the digest of its value is known.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        self.kind == SubjectKind::Trait && digest_of(&self.value).is_some()
    }
}

/// The digest that a text says.
fn digest_of(text: &str) -> Option<String> {
    let digest = text.trim().strip_prefix(HASHED)?.to_ascii_lowercase();
    (digest.len() == 2 * HASH_BYTES && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digest)
}

fn trait_digest(value: &str) -> String {
    format!("{:x}", Sha256::digest(normalised(value)))
}

/// Somebody, by hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashedSubject {
    pub kind: SubjectKind,
    /// Of a trait; empty otherwise.
    pub trait_name: String,
    pub hash: SubjectHash,
}

impl HashedSubject {
    /// The first digits of its hash, by which people tell one from another.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.hash).chars().take(16).collect()
    }
}

/// A subject that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressedSubject {
    pub subject: HashedSubject,
    /// Since when, microseconds since the epoch.
    pub at_us: i64,
    pub asked_by: String,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<SubjectHash> {
    let digits = text.as_bytes();
    let mut hash = [0; HASH_BYTES];
    if digits.len() != 2 * HASH_BYTES || !digits.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// Subjects that events are held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectSet {
    key: SubjectHash,
    hashes: HashSet<SubjectHash>,
    /// The names of the traits that any of them is known by.
    traits: Vec<String>,
}

impl SubjectSet {
    fn new(key: SubjectHash, subjects: &[HashedSubject]) -> Self {
        let hashes = subjects.iter().map(|subject| subject.hash).collect();
        let of_traits = subjects.iter().filter(|subject| subject.kind == SubjectKind::Trait);
        let mut traits: Vec<String> = of_traits.map(|subject| subject.trait_name.clone()).collect();
        traits.sort_unstable();
        traits.dedup();
        Self { key, hashes, traits }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    fn has(&self, kind: SubjectKind, trait_name: &str, value: &str) -> bool {
        let hash = match kind {
            SubjectKind::Trait => hash(&self.key, kind, (trait_name, trait_digest(value).as_str())),
            SubjectKind::User | SubjectKind::Anonymous | SubjectKind::Group => hash(&self.key, kind, ("", value)),
        };
        self.hashes.contains(&hash)
    }

    /// Whether an event is about any of them.
    #[must_use]
    pub fn holds(&self, body: &JsonObject) -> bool {
        !self.is_empty() && any_subject(body, &self.traits, &mut |kind, name, value| self.has(kind, name, value))
    }

    /// Whether any of them is a user, or a visitor without a name, with this id.
    #[must_use]
    pub fn has_user(&self, id: &str) -> bool {
        [SubjectKind::User, SubjectKind::Anonymous].into_iter().any(|kind| self.has(kind, "", id))
    }

    /// Whether a text is an id of any of them, of whatever kind.
    fn has_any(&self, text: &str) -> bool {
        const IDS: [SubjectKind; 3] = [SubjectKind::User, SubjectKind::Anonymous, SubjectKind::Group];
        IDS.into_iter().any(|kind| self.has(kind, "", text))
            || self.traits.iter().any(|name| self.has(SubjectKind::Trait, name, text))
    }

    /// Whether any of them stands in a text that may say anything. Somebody whose id is a usual word or number stands in many: it is for what
    /// may go with nobody's event.
    #[must_use]
    pub fn stands_in(&self, bytes: &[u8]) -> bool {
        !self.is_empty() && any_text(bytes, &mut |text| self.has_any(text))
    }

    /// Whether any of them is named in bytes that were to be an event: behind the name of an id, or by a text that stands nowhere by chance.
    pub(super) fn are_named_in(&self, bytes: &[u8]) -> bool {
        !self.is_empty()
            && (any_named_text(bytes, &self.traits, &mut |kind, name, value| self.has(kind, name, value))
                || any_text(bytes, &mut |text| is_no_word(text) && self.has_any(text)))
    }

    /// Whether JSON text is an event about any of them; of other bytes, whether any of them is named in it.
    #[must_use]
    pub fn holds_text(&self, text: &[u8]) -> bool {
        match json::parse(text, decode::DEPTH_MAX) {
            Ok(Value::Object(body)) => self.holds(&body),
            _ => self.are_named_in(text),
        }
    }

    /// Whether a record of the log is about any of them.
    #[must_use]
    pub fn holds_record(&self, shared: &[u8], own: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let Ok(read) = LoggedRecord::read(shared, own) else { return self.are_named_in(own) };
        let record = read.record();
        match decode::decode(&record, record.source.into(), Position::default()) {
            Ok(event) => self.holds(&event.body),
            Err(_) => self.holds_text(record.event) || self.are_named_in(record.context),
        }
    }
}

/// Whether a text is neither a word nor a number: an address, or letters with digits.
fn is_no_word(text: &str) -> bool {
    const BYTES_MIN: usize = 6;
    let has_mark = text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@');
    text.len() >= BYTES_MIN && has_mark && text.chars().any(char::is_alphabetic)
}

pub(super) fn hash(key: &SubjectHash, kind: SubjectKind, (trait_name, value): (&str, &str)) -> SubjectHash {
    let digest = Sha256::new().chain_update(key).chain_update([kind as u8]);
    // No name has a zero in it.
    digest.chain_update(trait_name).chain_update([0]).chain_update(value).finalize().into()
}

/// Who is left out now, as a refiner keeps it.
#[derive(Debug, Clone, Default)]
pub struct SuppressList {
    generation: u64,
    pub subjects: SubjectSet,
}

/// The key and how often the list has changed; a file in which nobody was ever named has none.
pub(super) fn key(connection: &Connection) -> rusqlite::Result<Option<(SubjectHash, u64)>> {
    let sql = "SELECT key, generation FROM suppress_key WHERE one = 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, unsigned(sum::number(row, 1)?)));
    connection.prepare_cached(sql)?.query_row([], read).optional()
}

pub(super) fn made_key(connection: &Connection) -> rusqlite::Result<SubjectHash> {
    if let Some((key, _)) = key(connection)? {
        return Ok(key);
    }
    let key: SubjectHash = clock::random();
    connection.execute("INSERT INTO suppress_key (one, key, generation) VALUES (1, ?1, 1)", [key])?;
    Ok(key)
}

/// A row of a subject.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<SuppressedSubject> {
    let subject = HashedSubject {
        kind: SubjectKind::parse(&sum::text(row, 1)?).unwrap_or(SubjectKind::User),
        trait_name: sum::text(row, 2)?,
        hash: row.get(0)?,
    };
    Ok(SuppressedSubject { subject, at_us: sum::number(row, 3)?, asked_by: sum::text(row, 4)? })
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<SuppressedSubject>> {
    let sql = "SELECT hash, kind, trait, at_us, asked_by FROM suppressed_subjects ORDER BY at_us, hash";
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// Brings what is known of who is left out to what it is now.
fn follow(connection: &Connection, known: &mut SuppressList) -> rusqlite::Result<()> {
    let Some((key, generation)) = key(connection)? else { return Ok(()) };
    if generation != known.generation {
        let subjects: Vec<HashedSubject> = all(connection)?.into_iter().map(|suppressed| suppressed.subject).collect();
        *known = SuppressList { generation, subjects: SubjectSet::new(key, &subjects) };
    }
    Ok(())
}

/// Carries the list of a damaged file over. What it named is named from then on, whatever else was lost.
pub(super) fn salvage(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let Ok(Some((key, generation))) = key(old) else { return Ok(()) };
    let Ok(subjects) = all(old) else { return Ok(()) };
    let sql = "INSERT OR REPLACE INTO suppress_key (one, key, generation) VALUES (1, ?1, ?2)";
    new.execute(sql, params![key, signed(generation)])?;
    subjects.iter().try_for_each(|subject| put(new, subject).map(drop))
}

fn put(connection: &Connection, suppressed: &SuppressedSubject) -> rusqlite::Result<bool> {
    let SuppressedSubject { subject, at_us, asked_by } = suppressed;
    let sql =
        "INSERT OR IGNORE INTO suppressed_subjects (hash, kind, trait, at_us, asked_by) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![subject.hash, subject.kind.as_str(), subject.trait_name, at_us, asked_by];
    Ok(connection.prepare_cached(sql)?.execute(values)? > 0)
}

fn changed(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE suppress_key SET generation = generation + 1", []).map(drop)
}

impl State {
    /// The hashes of these subjects, under the key of this file, which is made at the first need.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn hashed(&mut self, subjects: &[ClearSubject]) -> Result<Vec<HashedSubject>, StateError> {
        let mut key = SubjectHash::default();
        self.in_transaction(true, |connection| {
            key = made_key(connection)?;
            Ok(())
        })?;
        let hashed = |subject: &ClearSubject| HashedSubject {
            kind: subject.kind,
            trait_name: subject.trait_name.clone(),
            hash: hash(&key, subject.kind, (subject.trait_name.as_str(), &*subject.hashed_value())),
        };
        let mut hashed: Vec<HashedSubject> = subjects.iter().map(hashed).collect();
        hashed.sort_unstable();
        hashed.dedup();
        Ok(hashed)
    }

    /// These subjects, for events to be held against.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn subject_set(&self, subjects: &[HashedSubject]) -> Result<SubjectSet, StateError> {
        let key = key(&self.connection).map_err(self.err("could not read who is suppressed"))?;
        Ok(SubjectSet::new(key.map(|(key, _)| key).unwrap_or_default(), subjects))
    }

    /// Leaves subjects out from now on: what is refined once this has returned is held against them. Answers how many were not named
    /// before.
    ///
    /// # Errors
    /// Nobody is left out who was not before.
    pub fn suppress(&mut self, subjects: &[HashedSubject], asked_by: &str, now_us: i64) -> Result<u64, StateError> {
        let mut added = 0;
        self.in_transaction(true, |connection| {
            for subject in subjects {
                let (subject, asked_by) = (subject.clone(), asked_by.to_owned());
                added += u64::from(put(connection, &SuppressedSubject { subject, at_us: now_us, asked_by })?);
            }
            changed(connection)
        })?;
        Ok(added)
    }

    /// Lets events about these subjects pass again; answers how many of them were named.
    ///
    /// # Errors
    /// They are left out as before.
    pub fn unsuppress(&mut self, subjects: &[HashedSubject]) -> Result<u64, StateError> {
        let mut removed = 0;
        self.in_transaction(true, |connection| {
            let mut remove = connection.prepare_cached("DELETE FROM suppressed_subjects WHERE hash = ?1")?;
            for subject in subjects {
                removed += remove.execute([subject.hash])? as u64;
            }
            changed(connection)
        })?;
        Ok(removed)
    }

    /// Who is left out, in the order in which they were named.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn suppressed_subjects(&self) -> Result<Vec<SuppressedSubject>, StateError> {
        all(&self.connection).map_err(self.err("could not read who is suppressed"))
    }

    /// Brings what is known of who is left out to what it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn follow_suppress_list(&self, known: &mut SuppressList) -> Result<(), StateError> {
        follow(&self.connection, known).map_err(self.err("could not read who is suppressed"))
    }

    /// Offsets in `range` whose events were left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn suppressed_in(&self, range: &Range<u64>) -> Result<Vec<u64>, StateError> {
        let sql = "SELECT log_offset FROM suppressed WHERE log_offset >= ?1 AND log_offset < ?2 ORDER BY log_offset";
        let found = self.connection.prepare_cached(sql).and_then(|mut find| {
            let offset = |row: &rusqlite::Row<'_>| row.get(0).map(|column| position(column).offset);
            find.query_map([self.column(range.start), self.column(range.end)], offset)?.collect()
        });
        found.map_err(self.err("could not read which events were suppressed"))
    }
}

impl RefineStage<'_> {
    /// Brings what is known of who is left out to what it is in this transaction.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn follow_suppressed(&self, known: &mut SuppressList) -> Result<(), StateError> {
        follow(&self.transaction, known).map_err(StateError::at("could not read who is suppressed", self.path))
    }

    /// Remembers that the event at `offset` was left out.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn suppress(&mut self, offset: u64) -> Result<(), StateError> {
        self.suppressed.push(offset);
        let column = self.column(offset);
        self.run("INSERT OR IGNORE INTO suppressed (log_offset) VALUES (?1)", params![column])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: SubjectKind, trait_name: &str, value: &str) -> ClearSubject {
        ClearSubject { kind, trait_name: trait_name.to_owned(), value: value.to_owned() }
    }

    fn event(text: &str) -> JsonObject {
        text.parse().unwrap()
    }

    #[test]
    fn a_subject_is_known_by_its_hash_and_a_trait_however_it_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let email = format!("sha256:{}", trait_digest("ann@example.com"));
        let named = [
            subject(SubjectKind::User, "", "ann"),
            subject(SubjectKind::Trait, "email", &email),
            subject(SubjectKind::Trait, "email", " Ann@Example.com"),
        ];
        let hashed = state.hashed(&named).unwrap();
        assert_eq!(hashed.len(), 2, "the address and its digest are one subject");
        assert_eq!(state.suppress(&hashed, "somebody", 5).unwrap(), 2);
        assert_eq!(state.suppress(&hashed, "somebody", 6).unwrap(), 0);
        let mut list = SuppressList::default();
        state.stage().unwrap().follow_suppressed(&mut list).unwrap();
        for (text, is_held) in [
            (r#"{"userId":"ann"}"#, true),
            (r#"{"userId":"Ann"}"#, false),
            (r#"{"anonymousId":"ann"}"#, false),
            (r#"{"traits":{"email":"ANN@example.com "}}"#, true),
            (r#"{"context":{"traits":{"email":"ann@example.com"}}}"#, true),
            (r#"{"properties":{"friend":"ann"}}"#, false),
        ] {
            assert_eq!(list.subjects.holds(&event(text)), is_held, "{text}");
        }
        assert!(list.subjects.holds_text(br#"{"userId":"ann","#));
        assert_eq!(state.unsuppress(&hashed[..1]).unwrap(), 1);
        state.stage().unwrap().follow_suppressed(&mut list).unwrap();
        assert_eq!(state.suppressed_subjects().unwrap().len(), 1);
        let all = [r#"{"userId":"ann"}"#, r#"{"traits":{"email":"ann@example.com"}}"#];
        assert_eq!(all.iter().filter(|text| list.subjects.holds(&event(text))).count(), 1);
        drop(state);
        let bytes = std::fs::read(dir.path().join("state.db")).unwrap();
        assert!(!bytes.windows(15).any(|part| part == b"ann@example.com"), "nothing is kept in clear");
    }

    #[test]
    fn somebody_whose_id_is_a_usual_word_takes_nobody_along() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let named = [
            subject(SubjectKind::User, "", "1"),
            subject(SubjectKind::User, "", "Bought"),
            subject(SubjectKind::User, "", "ann-1f2e"),
            subject(SubjectKind::Trait, "email", "ann@example.com"),
        ];
        let hashed = state.hashed(&named).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        for (bytes, is_held) in [
            (r#"{"userId":"bob","event":"Bought","properties":{"n":1}"#, false),
            (r#"{"userId":"bob 1","n":1"#, false),
            (r#"{"userId":1,"n":2"#, true),
            (r#"{"userId":"Bought","n":2"#, true),
            (r#"{"groupId":"1""#, false),
            ("bob,1,Bought", false),
            ("bob,ann-1f2e,Bought", true),
            ("to: ANN@example.com", true),
            // One that is an event is held against its fields alone.
            (r#"{"userId":"bob","friend":"ann-1f2e"}"#, false),
        ] {
            assert_eq!(subjects.holds_text(bytes.as_bytes()), is_held, "{bytes}");
        }
        assert!(subjects.has_user("1") && !subjects.has_user("bob 1") && !subjects.has_user("O'1"));
        assert!(subjects.stands_in(b"event 1 was refused"));
    }

    #[test]
    fn which_records_were_left_out_is_covered_by_the_checksum_of_their_range() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let mut stage = state.stage().unwrap();
        stage.suppress(3).unwrap();
        stage.duplicate(4).unwrap();
        stage.commit(&(0..10), 1).unwrap();
        assert_eq!(state.suppressed_in(&(0..10)).unwrap(), [3]);
        assert_eq!(state.log_range_at(5).unwrap(), Some((0..10, 1)));
        state.connection.execute("DELETE FROM suppressed", []).unwrap();
        assert!(state.log_range_at(5).is_err());
    }
}
