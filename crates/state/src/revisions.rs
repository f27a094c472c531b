//! Under what log ranges are refined: a number for each configuration that ran, and the contracts of each by their content.
//!
//! The numbers are the state's own and only grow. Contracts are kept for as long as a log range is known that was judged by
//! them, so that whoever asks for it again gets what they let through.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};
use tidegate_event::Position;

use super::{State, StateError, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS revisions (
        revision INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, catalog_revision INTEGER, spec TEXT NOT NULL,
        contracts TEXT, sum INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS contract_texts (sha256 TEXT PRIMARY KEY, text TEXT NOT NULL);
";

/// Revisions that stay whatever the log ranges say: a refiner may have one in hand while the next begins.
const NEWEST_KEPT: i64 = 16;

/// A configuration that is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRevision<'a> {
    /// What tells it from others.
    pub spec: &'a str,
    pub contracts: Option<&'a ContractText>,
    /// The number that it has where it came from.
    pub catalog_revision: Option<u64>,
}

/// All files of contracts as one JSON text: their content by their path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractText {
    sha256: String,
    json: String,
}

impl ContractText {
    #[must_use]
    pub fn new(json: String) -> Self {
        Self { sha256: format!("{:x}", Sha256::digest(&json)), json }
    }

    /// The hash of the text, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// A row of `revisions`.
struct KeptRevision {
    revision: i64,
    at_us: i64,
    catalog_revision: Option<i64>,
    spec: String,
    contracts: Option<String>,
}

const COLUMNS: &str = "revision, at_us, catalog_revision, spec, contracts, sum";

impl KeptRevision {
    /// The row, and whether it is what was stored.
    fn read(row: &Row<'_>) -> rusqlite::Result<(Self, bool)> {
        let is_null = matches!(row.get_ref(2)?, rusqlite::types::ValueRef::Null);
        let kept = Self {
            revision: sum::number(row, 0)?,
            at_us: sum::number(row, 1)?,
            catalog_revision: if is_null { None } else { Some(sum::number(row, 2)?) },
            spec: sum::text(row, 3)?,
            contracts: sum::optional(row, 4)?,
        };
        let right = kept.sum() == sum::number(row, 5)?;
        Ok((kept, right))
    }

    fn sum(&self) -> i64 {
        let numbers = [self.revision, self.at_us, self.catalog_revision.unwrap_or(-1)];
        let sum = numbers.into_iter().fold(sum::Sum::default(), sum::Sum::number).text(&self.spec);
        self.contracts.as_ref().map_or(sum, |contracts| sum.text(contracts)).value()
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = format!("INSERT INTO revisions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        let Self { revision, at_us, catalog_revision, spec, contracts } = self;
        connection.execute(&sql, params![revision, at_us, catalog_revision, spec, contracts, self.sum()]).map(drop)
    }
}

impl State {
    /// The number under which log ranges are refined from now on, durably: that of the newest revision where it is the same
    /// configuration, else the next.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn begin_revision(&mut self, of: &RunRevision<'_>, now_us: i64) -> Result<u64, StateError> {
        let newest = self.kept_revision("ORDER BY revision DESC LIMIT 1", [])?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.spec == of.spec) {
            return Ok(unsigned(newest.revision));
        }
        let next = KeptRevision {
            revision: newest.map_or(0, |newest| newest.revision) + 1,
            at_us: now_us,
            catalog_revision: of.catalog_revision.map(signed),
            spec: of.spec.to_owned(),
            contracts: of.contracts.map(|contracts| contracts.sha256.clone()),
        };
        self.in_transaction(true, |connection| {
            if let Some(ContractText { sha256, json }) = of.contracts {
                let sql = "INSERT OR IGNORE INTO contract_texts (sha256, text) VALUES (?1, ?2)";
                connection.execute(sql, [sha256, json])?;
            }
            next.insert(connection)
        })?;
        Ok(unsigned(next.revision))
    }

    /// The contracts that judged the log ranges of `revision`; `None` when there were none.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was stored.
    pub fn contracts_of(&self, revision: u64) -> Result<Option<ContractText>, StateError> {
        let Some(kept) = self.kept_revision("WHERE revision = ?1", [signed(revision)])? else {
            return Err(
                self.damaged(format!("which contracts log ranges were judged by is lost (revision {revision})"))
            );
        };
        let Some(sha256) = kept.contracts else { return Ok(None) };
        let sql = "SELECT text FROM contract_texts WHERE sha256 = ?1";
        let text = self.connection.query_row(sql, [&sha256], |row| sum::text(row, 0)).optional();
        let found = text.map_err(self.err("could not read contracts"))?.map(ContractText::new);
        match found.filter(|found| found.sha256 == sha256) {
            Some(found) => Ok(Some(found)),
            None => Err(self.damaged(format!("the contracts of revision {revision} are not what was stored"))),
        }
    }

    /// Reads every revision and every text, and says how many there are.
    pub(super) fn read_revisions(&self) -> Result<u64, StateError> {
        let of_revisions = || -> rusqlite::Result<Vec<(KeptRevision, bool)>> {
            let mut find = self.connection.prepare(&format!("SELECT {COLUMNS} FROM revisions"))?;
            find.query_map([], KeptRevision::read)?.collect()
        };
        let revisions = of_revisions().map_err(self.err("could not read the revisions"))?;
        for (kept, right) in &revisions {
            if !right {
                return Err(self.damaged(format!("revision {} is not what was stored", kept.revision)));
            }
            self.contracts_of(unsigned(kept.revision))?;
        }
        Ok(revisions.len() as u64)
    }

    fn kept_revision(&self, which: &str, values: impl rusqlite::Params) -> Result<Option<KeptRevision>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM revisions {which}");
        let found = self.connection.query_row(&sql, values, KeptRevision::read).optional();
        match found.map_err(self.err("could not read the revisions"))? {
            Some((kept, false)) => Err(self.damaged(format!("revision {} is not what was stored", kept.revision))),
            found => Ok(found.map(|(kept, _)| kept)),
        }
    }
}

/// Forgets what is older than the oldest log range of each partition, and the contracts that no revision has.
pub(super) fn forget(connection: &Connection, partitions: u16) -> rusqlite::Result<()> {
    let sql = "SELECT revision FROM stretches WHERE start >= ?1 AND start < ?2 ORDER BY start LIMIT 1";
    let mut find = connection.prepare_cached(sql)?;
    let mut oldest: Option<i64> = None;
    for partition in 0..partitions {
        let bounds = [partition, partition + 1].map(|partition| signed(Position::new(partition, 0).bits()));
        let found: Option<i64> = find.query_row(bounds, |row| row.get(0)).optional()?;
        oldest = oldest.into_iter().chain(found).min();
    }
    let sql = "DELETE FROM revisions WHERE revision < ?1 AND revision <= (SELECT max(revision) FROM revisions) - ?2";
    if connection.prepare_cached(sql)?.execute([oldest.unwrap_or(0), NEWEST_KEPT])? > 0 {
        let sql = "DELETE FROM contract_texts WHERE NOT EXISTS
            (SELECT 1 FROM revisions WHERE contracts = contract_texts.sha256)";
        connection.execute(sql, [])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db")).unwrap();
        (dir, state)
    }

    fn begin(state: &mut State, spec: &str, contracts: Option<&ContractText>) -> u64 {
        state.begin_revision(&RunRevision { spec, contracts, catalog_revision: None }, 7).unwrap()
    }

    #[test]
    fn the_same_configuration_has_the_same_number_and_one_that_comes_back_another() {
        let (_dir, mut state) = opened();
        let contracts = ContractText::new(r#"{"web.yaml":{"n":1.50}}"#.to_owned());
        assert_eq!(begin(&mut state, "a", Some(&contracts)), 1);
        assert_eq!(begin(&mut state, "a", Some(&contracts)), 1);
        assert_eq!(begin(&mut state, "b", None), 2);
        assert_eq!(begin(&mut state, "a", Some(&contracts)), 3);
        assert_eq!(state.contracts_of(1).unwrap().as_ref(), Some(&contracts));
        assert_eq!(state.contracts_of(2).unwrap(), None);
        assert_eq!(state.contracts_of(3).unwrap(), Some(contracts));
        assert!(matches!(state.contracts_of(4), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn contracts_are_kept_for_as_long_as_a_log_range_was_judged_by_them() {
        let (dir, mut state) = opened();
        let mut other = State::open(&dir.path().join("state.db")).unwrap().of_partition(1);
        state.set_partitions(2).unwrap();
        let texts: Vec<ContractText> = (0..20).map(|n| ContractText::new(format!("{{\"n\":{n}}}"))).collect();
        let numbers: Vec<u64> = texts.iter().map(|text| begin(&mut state, text.json(), Some(text))).collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
        state.stage().unwrap().commit(&(0..5), 2).unwrap();
        state.stage().unwrap().commit(&(5..9), 19).unwrap();
        other.stage().unwrap().commit(&(0..5), 3).unwrap();
        let count = |state: &State| -> i64 {
            let sql = "SELECT count(*) FROM contract_texts";
            state.connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        state.forget_below(0).unwrap();
        assert!(state.contracts_of(1).is_err(), "no log range was judged by it");
        assert_eq!((state.contracts_of(2).unwrap().as_ref(), count(&state)), (Some(&texts[1]), 19));
        state.forget_below(5).unwrap();
        assert_eq!((state.contracts_of(3).unwrap().as_ref(), count(&state)), (Some(&texts[2]), 18));
        other.forget_below(5).unwrap();
        assert_eq!(count(&state), 16, "the newest stay");
        assert_eq!(state.contracts_of(19).unwrap().as_ref(), Some(&texts[18]));
    }

    #[test]
    fn a_revision_that_is_not_what_was_stored_is_damage() {
        for change in [
            "UPDATE revisions SET spec = 'b'",
            "UPDATE revisions SET contracts = NULL",
            "UPDATE contract_texts SET text = '[]'",
            "DELETE FROM contract_texts",
        ] {
            let (_dir, mut state) = opened();
            begin(&mut state, "a", Some(&ContractText::new("{}".to_owned())));
            assert_eq!(state.read_revisions().unwrap(), 1);
            state.connection.execute_batch(change).unwrap();
            assert!(matches!(state.contracts_of(1), Err(StateError::Damaged { .. })), "{change}");
            assert!(matches!(state.read_revisions(), Err(StateError::Damaged { .. })), "{change}");
        }
    }
}
