//! What write keys were used for, over all starts: how many events, and when somebody sent under each first and last.
//!
//! The counts are those of a running server, which writes them down every few seconds. They say how busy a key is and decide nothing, so
//! they bear no checksums, and losing the latest of them costs no event.

use rusqlite::{Connection, params};

use super::{State, StateError, signed, unsigned};

/// What one write key was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    pub source: String,
    /// As the server names it within its source.
    pub key: String,
    /// Accepted under it.
    pub events: u64,
    /// When it was shown first: microseconds since the Unix epoch, UTC.
    pub first_at_us: i64,
    /// When it was shown last: microseconds since the Unix epoch, UTC.
    pub last_at_us: i64,
}

impl State {
    /// The uses of every key that was used, by source and key.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn key_uses(&self) -> Result<Vec<KeyUse>, StateError> {
        let sql = "SELECT source, name, events, first_at_us, last_at_us FROM key_uses ORDER BY source, name";
        let used = |row: &rusqlite::Row<'_>| {
            Ok(KeyUse {
                source: row.get(0)?,
                key: row.get(1)?,
                events: unsigned(row.get(2)?),
                first_at_us: row.get(3)?,
                last_at_us: row.get(4)?,
            })
        };
        let read = || -> rusqlite::Result<Vec<KeyUse>> {
            let mut find = self.connection.prepare_cached(sql)?;
            find.query_map([], used)?.collect()
        };
        read().map_err(self.err("could not read the uses of write keys"))
    }

    /// Keeps these in the place of what was known of the same keys, and forgets the keys that are `gone`, by source and key.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn keep_key_uses(&mut self, used: &[KeyUse], gone: &[(String, String)]) -> Result<(), StateError> {
        self.in_transaction(false, |connection| {
            used.iter().try_for_each(|used| keep(connection, used))?;
            let sql = "DELETE FROM key_uses WHERE source = ?1 AND name = ?2";
            let mut forget = connection.prepare_cached(sql)?;
            gone.iter().try_for_each(|(source, key)| forget.execute([source, key]).map(drop))
        })
    }
}

fn keep(connection: &Connection, used: &KeyUse) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO key_uses (source, name, events, first_at_us, last_at_us)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![used.source, used.key, signed(used.events), used.first_at_us, used.last_at_us];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_what_was_kept_last_and_those_of_keys_that_are_gone_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let used = |key: &str, events| KeyUse {
            source: "web".to_owned(),
            key: key.to_owned(),
            events,
            first_at_us: 5,
            last_at_us: 9,
        };
        let mut state = State::open(&path).unwrap();
        assert!(state.key_uses().unwrap().is_empty());
        state.keep_key_uses(&[used("default", 1), used("web/app", 2)], &[]).unwrap();
        state.keep_key_uses(&[used("default", 3)], &[("web".to_owned(), "web/app".to_owned())]).unwrap();
        drop(state);
        assert_eq!(State::read(&path).unwrap().key_uses().unwrap(), [used("default", 3)]);
    }
}
