//! What people have consented to, as far as it is known: what an operator says of them, and what their own events have said.
//!
//! People are known by keyed hashes of their ids, as those who are left out. Of events nothing is kept until somebody denies something. What an
//! operator denies stands until an operator says otherwise: a client that has not heard of it goes on to say what it said before.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidegate_event::subject::{SubjectKind, any_subject};
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{EventId, decode, json};

use super::subjects;
use super::{HashedSubject, RefineStage, Resolved, State, StateError, SubjectHash, position, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS consents (
        hash BLOB NOT NULL, category TEXT NOT NULL, is_granted INTEGER NOT NULL, at_us INTEGER NOT NULL,
        asked_by TEXT NOT NULL, PRIMARY KEY (hash, category)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS consents_by_age ON consents (at_us) WHERE asked_by = '';
    CREATE TABLE IF NOT EXISTS consent_size (
        one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER NOT NULL, generation INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO consent_size (one, entries, generation) VALUES (1, 0, 0);
    CREATE TRIGGER IF NOT EXISTS consents_grow AFTER INSERT ON consents BEGIN
        UPDATE consent_size SET entries = entries + 1, generation = generation + 1;
    END;
    CREATE TRIGGER IF NOT EXISTS consents_change AFTER UPDATE ON consents BEGIN
        UPDATE consent_size SET generation = generation + 1;
    END;
    CREATE TRIGGER IF NOT EXISTS consents_shrink AFTER DELETE ON consents BEGIN
        UPDATE consent_size SET entries = max(entries - 1, 0), generation = generation + 1;
    END;
";

/// Rows, one for each id and category.
const CONSENTS_MAX: u64 = 1_000_000;
/// Rows that go at once when there are so many.
const FORGOTTEN_AT_ONCE: u64 = 1_000;
/// Pending events that are looked at in one go.
const ROWS_MAX: i64 = 256;

/// Who has said what somebody consented to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaidBy {
    Operator,
    /// An event of theirs.
    Event,
}

/// What is known of somebody and a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownConsent {
    pub category: String,
    pub is_granted: bool,
    /// Since when, microseconds since the epoch: of an event when it was received.
    pub at_us: i64,
    pub by: SaidBy,
}

/// What an operator says of a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentSaid {
    pub category: String,
    /// `None` takes back whatever is known.
    pub is_granted: Option<bool>,
}

/// What is known of those that events are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownConsents {
    /// How often anything had changed by then.
    pub generation: u64,
    by_event: HashMap<EventId, Vec<KnownConsent>>,
}

impl KnownConsents {
    /// What is known of those that an event is about.
    #[must_use]
    pub fn of(&self, id: EventId) -> &[KnownConsent] {
        self.by_event.get(&id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Says whether an event goes no further: its body, when it was received, and what is known.
pub type IsWithdrawn<'a> = dyn Fn(&JsonObject, i64, &[KnownConsent]) -> bool + 'a;

/// How many rows there are, and how often they have changed.
fn size(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql = "SELECT entries, generation FROM consent_size WHERE one = 1";
    let read = |row: &Row<'_>| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)));
    connection.prepare_cached(sql)?.query_row([], read)
}

/// The hashes of the ids of a user or a visitor in an event.
fn hashes_of(key: &SubjectHash, body: &JsonObject) -> Vec<SubjectHash> {
    let mut hashes = Vec::new();
    any_subject(body, &[], &mut |kind, _, value| {
        if matches!(kind, SubjectKind::User | SubjectKind::Anonymous) {
            hashes.push(subjects::hash(key, kind, ("", value)));
        }
        false
    });
    hashes
}

fn known_of(connection: &Connection, hash: &SubjectHash, categories: &[String]) -> rusqlite::Result<Vec<KnownConsent>> {
    let sql = "SELECT category, is_granted, at_us, asked_by FROM consents WHERE hash = ?1";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map([hash], read)?;
    let mut known = rows.collect::<rusqlite::Result<Vec<(KnownConsent, String)>>>()?;
    known.retain(|(known, _)| categories.is_empty() || categories.contains(&known.category));
    Ok(known.into_iter().map(|(known, _)| known).collect())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(KnownConsent, String)> {
    let asked_by = sum::text(row, 3)?;
    let by = if asked_by.is_empty() { SaidBy::Event } else { SaidBy::Operator };
    let known = KnownConsent {
        category: sum::text(row, 0)?,
        is_granted: sum::number(row, 1)? != 0,
        at_us: sum::number(row, 2)?,
        by,
    };
    Ok((known, asked_by))
}

fn put(
    connection: &Connection,
    hash: &SubjectHash,
    (category, is_granted): (&str, bool),
    (at_us, asked_by): (i64, &str),
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO consents (hash, category, is_granted, at_us, asked_by) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (hash, category) DO UPDATE SET is_granted = excluded.is_granted, at_us = excluded.at_us,
        asked_by = excluded.asked_by";
    connection.prepare_cached(sql)?.execute(params![hash, category, is_granted, at_us, asked_by]).map(drop)
}

/// Has room for `more` rows, at the cost of what events said longest ago; false when there is none.
fn make_room(connection: &Connection, more: u64) -> rusqlite::Result<bool> {
    let (entries, _) = size(connection)?;
    let beyond = entries.saturating_add(more).saturating_sub(CONSENTS_MAX);
    if beyond == 0 {
        return Ok(true);
    }
    let sql = "DELETE FROM consents WHERE (hash, category) IN
        (SELECT hash, category FROM consents WHERE asked_by = '' ORDER BY at_us LIMIT ?1)";
    let gone = connection.prepare_cached(sql)?.execute([signed(beyond.max(FORGOTTEN_AT_ONCE))])? as u64;
    if gone > 0 {
        tracing::warn!(
            gone,
            entries_max = CONSENTS_MAX,
            "what events said longest ago of consent was forgotten, for there is too much of it"
        );
    }
    Ok(gone >= beyond)
}

/// Keeps what an event of somebody says, if it is any news.
fn say(
    connection: &Connection,
    hash: &SubjectHash,
    (category, is_granted): (&str, bool),
    at_us: i64,
) -> rusqlite::Result<()> {
    let sql = "SELECT category, is_granted, at_us, asked_by FROM consents WHERE hash = ?1 AND category = ?2";
    let known = connection.prepare_cached(sql)?.query_row(params![hash, category], read).optional()?;
    let is_news = match known {
        // Who has denied nothing is like everybody else.
        None => !is_granted && make_room(connection, 1)?,
        Some((known, _)) => {
            let stands = known.by == SaidBy::Operator && !known.is_granted;
            !stands && known.is_granted != is_granted && known.at_us <= at_us
        }
    };
    if is_news { put(connection, hash, (category, is_granted), (at_us, "")) } else { Ok(()) }
}

/// Carries what is known of a damaged file over, where the key of its hashes is.
pub(super) fn salvage(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let Ok(mut find) = old.prepare("SELECT category, is_granted, at_us, asked_by, hash FROM consents") else {
        return Ok(());
    };
    let Ok(mut rows) = find.query([]) else { return Ok(()) };
    if subjects::key(new)?.is_none() {
        return Ok(());
    }
    while let Ok(Some(row)) = rows.next() {
        let (Ok((known, asked_by)), Ok(hash)) = (read(row), row.get::<_, SubjectHash>(4)) else { continue };
        put(new, &hash, (&known.category, known.is_granted), (known.at_us, &asked_by))?;
    }
    Ok(())
}

impl State {
    /// How often anything that is known of consent has changed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn consent_generation(&self) -> Result<u64, StateError> {
        let found = size(&self.connection).map_err(self.err("could not read what people consented to"))?;
        Ok(found.1)
    }

    /// Keeps what an operator says of people, durably; how much of it is news. `None` when there is no room for it: nothing is kept then.
    ///
    /// # Errors
    /// Nothing is kept.
    pub fn say_of(
        &mut self,
        people: &[HashedSubject],
        said: &[ConsentSaid],
        (asked_by, now_us): (&str, i64),
    ) -> Result<Option<u64>, StateError> {
        let mut changed = Some(0);
        self.in_transaction(true, |connection| {
            let more = (people.len() as u64).saturating_mul(said.len() as u64);
            if !make_room(connection, more)? {
                changed = None;
                return Ok(());
            }
            let mut news = 0;
            for person in people {
                for ConsentSaid { category, is_granted } in said {
                    let categories = std::slice::from_ref(category);
                    let known = known_of(connection, &person.hash, categories)?.pop();
                    match is_granted {
                        None => {
                            let sql = "DELETE FROM consents WHERE hash = ?1 AND category = ?2";
                            connection.prepare_cached(sql)?.execute(params![person.hash, category])?;
                        }
                        Some(is_granted) => {
                            put(connection, &person.hash, (category, *is_granted), (now_us, asked_by))?;
                        }
                    }
                    news += u64::from(known.map(|known| known.is_granted) != *is_granted);
                }
            }
            changed = Some(news);
            Ok(())
        })?;
        Ok(changed)
    }

    /// What is known of people, in the order of their names and categories.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn consents_of(&self, people: &[HashedSubject]) -> Result<Vec<(HashedSubject, KnownConsent)>, StateError> {
        let mut all = Vec::new();
        for person in people {
            let known = known_of(&self.connection, &person.hash, &[]);
            let known = known.map_err(self.err("could not read what people consented to"))?;
            all.extend(known.into_iter().map(|known| (person.clone(), known)));
        }
        Ok(all)
    }

    /// What is known of those that events are about, and any of these categories.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn known_consents<'e>(
        &self,
        events: impl Iterator<Item = (EventId, &'e JsonObject)>,
        categories: &[String],
    ) -> Result<KnownConsents, StateError> {
        let find_all = || -> rusqlite::Result<KnownConsents> {
            let (entries, generation) = size(&self.connection)?;
            let mut known = KnownConsents { generation, ..KnownConsents::default() };
            let Some((key, _)) = subjects::key(&self.connection)?.filter(|_| entries > 0) else { return Ok(known) };
            let mut people: HashMap<SubjectHash, Vec<KnownConsent>> = HashMap::new();
            for (id, body) in events {
                for hash in hashes_of(&key, body) {
                    let of_person = match people.entry(hash) {
                        Entry::Occupied(found) => found.into_mut(),
                        Entry::Vacant(place) => place.insert(known_of(&self.connection, &hash, categories)?),
                    };
                    if !of_person.is_empty() {
                        known.by_event.entry(id).or_default().extend_from_slice(of_person);
                    }
                }
            }
            Ok(known)
        };
        find_all().map_err(self.err("could not read what people consented to"))
    }

    /// Takes what is pending for a sync, and what is pending of its replays, out where consent to any of these categories was withdrawn: it
    /// is filtered. Answers how many events.
    ///
    /// # Errors
    /// Some of it may be taken out; all of it is when it is asked for again.
    pub fn withhold_pending(
        &mut self,
        sync: &str,
        (categories, is_withdrawn): (&[String], &IsWithdrawn<'_>),
        now_us: i64,
    ) -> Result<u64, StateError> {
        let mut at = (String::new(), i64::MIN, 0);
        let mut withheld = 0;
        loop {
            let found = self.pending_page(sync, &at).map_err(self.err("could not read what is pending"))?;
            let Some(last) = found.last() else { return Ok(withheld) };
            at = (last.key.clone(), last.log_offset, last.part);
            let mut gone: BTreeMap<String, Vec<EventId>> = BTreeMap::new();
            for row in &found {
                let known = self.known_of_row(row, categories).map_err(self.err("could not read what is pending"))?;
                if let Some((body, known)) = known
                    && is_withdrawn(&body, row.received_at_us, &known)
                {
                    let id = EventId::new(position(row.log_offset), row.part);
                    gone.entry(row.key.clone()).or_default().push(id);
                }
            }
            for (key, filtered) in gone {
                withheld += filtered.len() as u64;
                self.resolve(&key, &Resolved { filtered, ..Resolved::default() }, now_us)?;
            }
        }
    }

    /// The body of a pending event, and what is known of those that it is about; nothing where nothing is known.
    fn known_of_row(
        &self,
        row: &WaitingRow,
        categories: &[String],
    ) -> rusqlite::Result<Option<(JsonObject, Vec<KnownConsent>)>> {
        let Some((key, _)) = subjects::key(&self.connection)? else { return Ok(None) };
        let Ok(Value::Object(body)) = json::parse(&row.event, decode::DEPTH_MAX) else { return Ok(None) };
        let mut hashes = hashes_of(&key, &body);
        // A mapping may have taken the ids out of it.
        if !row.user.is_empty() {
            let kinds = [SubjectKind::User, SubjectKind::Anonymous];
            hashes.extend(kinds.map(|kind| subjects::hash(&key, kind, ("", &row.user))));
        }
        let mut known = Vec::new();
        for hash in hashes {
            known.extend(known_of(&self.connection, &hash, categories)?);
        }
        Ok((!known.is_empty()).then_some((body, known)))
    }

    fn pending_page(
        &self,
        sync: &str,
        (key, log_offset, part): &(String, i64, u32),
    ) -> rusqlite::Result<Vec<WaitingRow>> {
        // Of all partitions, and of replays: no sync has one of these marks in its name.
        let sql = "SELECT sync, log_offset, part, user, event, received_at_us FROM pending
            WHERE (sync = ?1 OR substr(sync, 1, length(?1) + 1) IN (?1 || '/', ?1 || '.'))
            AND (sync, log_offset, part) > (?2, ?3, ?4) ORDER BY sync, log_offset, part LIMIT ?5";
        let read = |row: &Row<'_>| {
            Ok(WaitingRow {
                key: sum::text(row, 0)?,
                log_offset: sum::number(row, 1)?,
                part: sum::small(row, 2)?,
                user: sum::text(row, 3)?,
                event: sum::bytes(row, 4)?,
                received_at_us: sum::number(row, 5)?,
            })
        };
        let values = params![sync, key, log_offset, part, ROWS_MAX];
        self.connection.prepare_cached(sql)?.query_map(values, read)?.collect()
    }
}

/// A pending event.
struct WaitingRow {
    /// Its sync, with the partition.
    key: String,
    log_offset: i64,
    part: u32,
    user: String,
    event: Vec<u8>,
    received_at_us: i64,
}

impl RefineStage<'_> {
    /// Keeps what an event, received at `at_us`, says of categories of consent.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn say_consents(&mut self, body: &JsonObject, said: &[(&str, bool)], at_us: i64) -> Result<(), StateError> {
        let transaction = &self.transaction;
        let keep = || -> rusqlite::Result<()> {
            let denies = said.iter().any(|(_, is_granted)| !is_granted);
            if !denies && size(transaction)?.0 == 0 {
                return Ok(());
            }
            let key = subjects::made_key(transaction)?;
            for hash in hashes_of(&key, body) {
                for one in said {
                    say(transaction, &hash, *one, at_us)?;
                }
            }
            Ok(())
        };
        keep().map_err(StateError::at("could not keep what somebody consented to", self.path))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::Position;

    use super::super::{ClearSubject, Pending, SettledBatch, SyncProgress};
    use super::*;

    fn body(text: &str) -> JsonObject {
        text.parse().unwrap()
    }

    fn user(state: &mut State, id: &str) -> Vec<HashedSubject> {
        let named = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: id.to_owned() };
        state.hashed(&[named]).unwrap()
    }

    fn said(category: &str, is_granted: Option<bool>) -> Vec<ConsentSaid> {
        vec![ConsentSaid { category: category.to_owned(), is_granted }]
    }

    fn known(state: &State, text: &str) -> Vec<(bool, i64, SaidBy)> {
        let body = body(text);
        let id = EventId::default();
        let known = state.known_consents(std::iter::once((id, &body)), &["Ads".to_owned()]).unwrap();
        known.of(id).iter().map(|known| (known.is_granted, known.at_us, known.by)).collect()
    }

    fn says(state: &mut State, is_granted: bool, at_us: i64) {
        let body = body(r#"{"userId":"ann"}"#);
        let mut stage = state.stage().unwrap();
        stage.say_consents(&body, &[("Ads", is_granted)], at_us).unwrap();
        let from = u64::try_from(at_us).unwrap();
        stage.commit(&(from..from + 1), 1).unwrap();
    }

    #[test]
    fn of_events_nothing_is_kept_until_somebody_denies_something() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let ann = r#"{"userId":"ann"}"#;
        says(&mut state, true, 1);
        assert_eq!((known(&state, ann), state.consent_generation().unwrap()), (vec![], 0));
        says(&mut state, false, 3);
        says(&mut state, false, 4);
        assert_eq!(known(&state, ann), [(false, 3, SaidBy::Event)]);
        // Older than what is known.
        says(&mut state, true, 2);
        assert_eq!(known(&state, ann), [(false, 3, SaidBy::Event)]);
        says(&mut state, true, 5);
        assert_eq!(known(&state, ann), [(true, 5, SaidBy::Event)]);
        assert_eq!((known(&state, r#"{"anonymousId":"ann"}"#), known(&state, r#"{"userId":"bob"}"#)), (vec![], vec![]));
    }

    #[test]
    fn what_an_operator_denies_stands_whatever_events_say() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let (ann, people) = (r#"{"userId":"ann"}"#, user(&mut state, "ann"));
        assert_eq!(state.say_of(&people, &said("Ads", Some(false)), ("ops", 5)).unwrap(), Some(1));
        assert_eq!(state.say_of(&people, &said("Ads", Some(false)), ("ops", 6)).unwrap(), Some(0));
        says(&mut state, true, 9);
        assert_eq!(known(&state, ann), [(false, 6, SaidBy::Operator)]);
        assert_eq!(state.say_of(&people, &said("Ads", Some(true)), ("ops", 10)).unwrap(), Some(1));
        says(&mut state, false, 11);
        assert_eq!(known(&state, ann), [(false, 11, SaidBy::Event)]);
        assert_eq!(state.say_of(&people, &said("Ads", None), ("ops", 12)).unwrap(), Some(1));
        assert_eq!(known(&state, ann), []);
        assert!(state.consents_of(&people).unwrap().is_empty());
    }

    #[test]
    fn what_is_pending_of_whom_consent_was_withdrawn_is_filtered_and_nobody_elses_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let waiting = |offset: u64, user: &str| Pending {
            id: EventId::new(Position::new(0, offset), 0),
            user: user.to_owned(),
            event: r#"{"type":"track"}"#.to_owned(),
            received_at_us: 1,
            first_tried_at_us: 1,
            attempts: 1,
            next_at_us: 1,
            error: "away".to_owned(),
        };
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        let waits = [waiting(5, "ann"), waiting(6, "bob")];
        state.settle("crm", &SettledBatch { progress: &progress, quarantined: &[], pending: &waits }, 1).unwrap();
        let people = user(&mut state, "ann");
        state.say_of(&people, &said("Ads", Some(false)), ("ops", 5)).unwrap();
        let categories = ["Ads".to_owned()];
        let denied = |_: &JsonObject, _: i64, known: &[KnownConsent]| known.iter().any(|known| !known.is_granted);
        assert_eq!(state.withhold_pending("crm", (&categories, &denied), 7).unwrap(), 1);
        assert_eq!(state.withhold_pending("crm", (&categories, &denied), 7).unwrap(), 0);
        assert_eq!(state.pending_counts().unwrap()[0].events, 1);
        assert_eq!(state.reports().unwrap()[0].filtered, 1);
    }
}
