//! Names of events and of fields that say who somebody is. What is counted under such a name is counted together with that of further names.

use rusqlite::{Connection, params};

use super::{OTHER_COUNTERS, State, StateError, SubjectSet, fates, source_of_undeclared, sum, violation_hours};

impl State {
    /// Takes away names that are counted and name any of `subjects`; answers how many there were.
    ///
    /// # Errors
    /// All of them are as they were.
    pub(super) fn forget_names(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<u64, StateError> {
        let events = names_of_events(&self.connection, subjects).map_err(self.err("could not read what is counted"))?;
        let fields = names_of_fields(&self.connection, subjects).map_err(self.err("could not read what is counted"))?;
        let violations = violation_hours::named(&self.connection, |text| is_named(subjects, text))
            .map_err(self.err("could not read what is counted"))?;
        let found = (events.len() + fields.len() + violations.len()) as u64;
        if dry_run || found == 0 {
            return Ok(found);
        }
        self.in_transaction(true, |connection| {
            connection.execute_batch("PRAGMA secure_delete = ON")?;
            events.iter().try_for_each(|name| fates::forget_name(connection, name))?;
            fields.iter().try_for_each(|(scope, name)| forget_counter(connection, scope, name))?;
            violations.iter().try_for_each(|(column, text)| violation_hours::forget_name(connection, (*column, text)))
        })?;
        Ok(found)
    }
}

/// Whether a name, or a step of a path, names any of the subjects.
pub(super) fn is_named(subjects: &SubjectSet, name: &str) -> bool {
    subjects.are_named_in(name.as_bytes()) || name.split('/').any(|step| subjects.are_named_in(step.as_bytes()))
}

fn names_of_events(connection: &Connection, subjects: &SubjectSet) -> rusqlite::Result<Vec<String>> {
    let mut find = connection.prepare_cached("SELECT DISTINCT name FROM fate_hours")?;
    let mut names: Vec<String> = find.query_map([], |row| sum::text(row, 0))?.collect::<Result<_, _>>()?;
    names.retain(|name| is_named(subjects, name));
    Ok(names)
}

/// Each with the scope of its counter.
fn names_of_fields(connection: &Connection, subjects: &SubjectSet) -> rusqlite::Result<Vec<(String, String)>> {
    let mut find = connection.prepare_cached("SELECT scope, name FROM counters")?;
    let read = |row: &rusqlite::Row<'_>| Ok((sum::text(row, 0)?, sum::text(row, 1)?));
    let mut names: Vec<(String, String)> = find.query_map([], read)?.collect::<Result<_, _>>()?;
    names.retain(|(scope, name)| source_of_undeclared(scope).is_some() && is_named(subjects, name));
    Ok(names)
}

fn forget_counter(connection: &Connection, scope: &str, name: &str) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO counters (scope, name, value) SELECT scope, ?3, value FROM counters WHERE scope = ?1 AND name = ?2
        ON CONFLICT (scope, name) DO UPDATE SET value = value + excluded.value";
    connection.prepare_cached(sql)?.execute(params![scope, name, OTHER_COUNTERS])?;
    let sql = "DELETE FROM counters WHERE scope = ?1 AND name = ?2";
    connection.prepare_cached(sql)?.execute(params![scope, name]).map(drop)
}

#[cfg(test)]
mod tests {
    use tidegate_event::subject::SubjectKind;

    use super::super::fates::FateScope;
    use super::super::{ClearSubject, FURTHER_NAMES, FateTally};
    use super::*;

    #[test]
    fn a_name_that_says_who_somebody_is_is_counted_with_further_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let mut tally = FateTally::default();
        for name in ["Bought", "Invited ann@example.com", FURTHER_NAMES] {
            tally.add((5, name), |counts| {
                counts.came += 1;
                counts.went_on += 1;
            });
        }
        state
            .in_transaction(true, |connection| {
                fates::write(connection, FateScope { name: "web", is_sync: false }, &tally)?;
                let sql = "INSERT INTO counters (scope, name, value) VALUES ('web undeclared', ?1, 2)";
                let names = ["/properties/other", "/properties/ann@example.com", "/properties/ANN@example.com"];
                names.into_iter().try_for_each(|name| connection.execute(sql, [name]).map(drop))
            })
            .unwrap();
        let subject = ClearSubject {
            kind: SubjectKind::Trait,
            trait_name: "email".to_owned(),
            value: "ann@example.com".to_owned(),
        };
        let hashed = state.hashed(&[subject]).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        for (dry_run, found) in [(true, 3), (false, 3), (false, 0)] {
            assert_eq!(state.forget_names(&subjects, dry_run).unwrap(), found, "{dry_run}");
        }
        let mut find = state.connection.prepare("SELECT name, came, went_on FROM fate_hours ORDER BY name").unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let counted: Vec<(String, i64, i64)> = find.query_map([], read).unwrap().map(Result::unwrap).collect();
        assert_eq!(counted, [(FURTHER_NAMES.to_owned(), 2, 2), ("Bought".to_owned(), 1, 1)]);
        drop(find);
        let counted = state.counters().unwrap();
        for (name, value) in [("/properties/other", 2), (OTHER_COUNTERS, 4)] {
            assert!(counted.contains(&("web undeclared".to_owned(), name.to_owned(), value)), "{counted:?}");
        }
        assert_eq!(counted.iter().filter(|(scope, ..)| scope == "web undeclared").count(), 2, "{counted:?}");
    }
}
