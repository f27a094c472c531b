//! The dedup window: which (source, messageId) came lately.
//!
//! Ids are kept as 128-bit SipHash under a key of this data directory, so nobody outside can make two ids collide.
//! Two generations of a table take turns: when the younger is one window old, the older is emptied and becomes the
//! younger. An id is a duplicate when its first sighting lies within the window, exactly, by `receivedAt`. Ids are
//! looked up in hash order, which keeps the tree's pages hot.

use std::collections::HashMap;
use std::hash::Hasher;

use rusqlite::{Connection, OptionalExtension, params};
use siphasher::sip128::{Hasher128, SipHasher13};
use tidegate_event::in_partition;
use tidegate_process::clock;

use super::sum;

/// The window's bounds and where it stands.
#[derive(Debug, Clone)]
pub struct Window {
    /// How long an id is remembered.
    pub width_us: i64,
    /// Ids kept at most; more shorten the window, and the log says so.
    pub entries_max: u64,
    partition: u16,
    key: [u8; 16],
    young: u8,
    young_since_us: i64,
    young_entries: u64,
    old_entries: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self::new(24 * 3_600_000_000, 50_000_000)
    }
}

/// What a new file knows of the window: nothing, and a key of its own.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, "seen", "0 0 0 0")?;
    set(connection, "seen_key", &u128::from_le_bytes(clock::random()).to_string())
}

/// The table of a generation.
fn table(partition: u16, generation: u8) -> String {
    match partition {
        0 => format!("seen_{generation}"),
        partition => format!("seen_{partition}_{generation}"),
    }
}

/// Makes the window of a partition beyond the first, whose own is there from the beginning.
pub(super) fn make_partition(connection: &Connection, partition: u16) -> rusqlite::Result<()> {
    for generation in [0, 1] {
        let table = table(partition, generation);
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (id BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID"
        ))?;
    }
    set(connection, &in_partition("seen", partition), "0 0 0 0")
}

/// Takes away what [`make_partition`] has made.
pub(super) fn unmake_partition(connection: &Connection, partition: u16) -> rusqlite::Result<()> {
    for generation in [0, 1] {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", table(partition, generation)))?;
    }
    connection.execute("DELETE FROM meta WHERE key = ?1", [in_partition("seen", partition)]).map(drop)
}

/// Gives the texts of a file without checksums theirs.
pub(super) fn seal(connection: &Connection) -> rusqlite::Result<()> {
    let text: Option<String> = stored(connection, "seen")?;
    set(connection, "seen", text.as_deref().unwrap_or("0 0 0 0"))?;
    let sql = "SELECT value FROM meta WHERE key = 'seen_key'";
    let key: Option<[u8; 16]> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    let key = key.unwrap_or_else(clock::random);
    set(connection, "seen_key", &u128::from_le_bytes(key).to_string())
}

fn set(connection: &Connection, key: &str, text: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![key, sum::sealed(key, text)]).map(drop)
}

fn stored(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// A text that is not what was stored counts as damage of the file.
fn lost(key: &'static str) -> rusqlite::Error {
    let cause = format!("the text of {key} is not what was stored");
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, cause.into())
}

/// One event to mark.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    pub source: &'a str,
    pub message_id: &'a [u8],
    pub received_at_us: i64,
}

impl Window {
    /// A window of this width that keeps at most `entries_max` ids.
    #[must_use]
    pub fn new(width_us: i64, entries_max: u64) -> Self {
        Self {
            width_us,
            entries_max,
            partition: 0,
            key: [0; 16],
            young: 0,
            young_since_us: 0,
            young_entries: 0,
            old_entries: 0,
        }
    }

    pub(super) fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let name = in_partition("seen", self.partition);
        let text: Option<String> = stored(connection, &name)?;
        let text = text.as_deref().and_then(|text| sum::unsealed(&name, text)).ok_or_else(|| lost("seen"))?;
        let numbers: Vec<i64> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [young, since, young_entries, old_entries] = numbers[..] else { return Err(lost("seen")) };
        self.young = u8::from(young == 1);
        self.young_since_us = since;
        self.young_entries = super::unsigned(young_entries);
        self.old_entries = super::unsigned(old_entries);
        let key: Option<String> = stored(connection, "seen_key")?;
        let key = key.as_deref().and_then(|key| sum::unsealed("seen_key", key)).and_then(|key| key.parse().ok());
        self.key = u128::to_le_bytes(key.ok_or_else(|| lost("seen_key"))?);
        Ok(())
    }

    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let text = format!("{} {} {} {}", self.young, self.young_since_us, self.young_entries, self.old_entries);
        set(connection, &in_partition("seen", self.partition), &text)
    }

    /// Reads the window of a partition.
    pub(super) fn load_partition(&mut self, connection: &Connection, partition: u16) -> rusqlite::Result<()> {
        self.partition = partition;
        self.load(connection)
    }

    fn hash(&self, sighting: &Sighting<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(sighting.source.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(sighting.message_id);
        hasher.finish128().as_u128()
    }

    /// Marks in log order; true where the id had been seen within the window.
    pub(super) fn mark(&mut self, connection: &Connection, ids: &[Sighting<'_>]) -> rusqlite::Result<Vec<bool>> {
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        self.turn(connection, first.received_at_us)?;
        let mut seen = vec![false; ids.len()];
        // The first of several equal ids in this log range is the one to look up; the others follow it.
        let mut firsts: HashMap<u128, usize> = HashMap::with_capacity(ids.len());
        let mut order = Vec::with_capacity(ids.len());
        for (at, sighting) in ids.iter().enumerate() {
            let hash = self.hash(sighting);
            match firsts.entry(hash) {
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(at);
                    order.push((hash, at));
                }
                std::collections::hash_map::Entry::Occupied(first) => {
                    seen[at] =
                        ids[*first.get()].received_at_us.saturating_add(self.width_us) >= sighting.received_at_us;
                }
            }
        }
        order.sort_unstable();
        let (young, old) = (table(self.partition, self.young), table(self.partition, 1 - self.young));
        let insert = format!("INSERT INTO {young} (id, at_us) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING");
        let mut insert = connection.prepare_cached(&insert)?;
        let mut find_young = connection.prepare_cached(&format!("SELECT at_us FROM {young} WHERE id = ?1"))?;
        let mut find_old = connection.prepare_cached(&format!("SELECT at_us FROM {old} WHERE id = ?1"))?;
        let mut renew = connection.prepare_cached(&format!("UPDATE {young} SET at_us = ?2 WHERE id = ?1"))?;
        for (hash, at) in order {
            let received = ids[at].received_at_us;
            let id = hash.to_be_bytes();
            let added = insert.execute(params![&id[..], received])? == 1;
            let earlier: Option<i64> = if !added {
                find_young.query_row([&id[..]], |row| row.get(0)).optional()?
            } else if self.old_entries > 0 {
                find_old.query_row([&id[..]], |row| row.get(0)).optional()?
            } else {
                None
            };
            self.young_entries += u64::from(added);
            match earlier {
                Some(earlier) if earlier.saturating_add(self.width_us) >= received => {
                    seen[at] = true;
                    if added {
                        // The sighting that counts is the first one.
                        renew.execute(params![&id[..], earlier])?;
                    }
                }
                Some(_) if !added => {
                    renew.execute(params![&id[..], received])?;
                }
                _ => {}
            }
        }
        Ok(seen)
    }

    /// Lets the generations take turns when it is time, or when there are too many ids.
    fn turn(&mut self, connection: &Connection, now_us: i64) -> rusqlite::Result<()> {
        if self.young_since_us == 0 {
            self.young_since_us = now_us;
        }
        let age_us = now_us.saturating_sub(self.young_since_us);
        let full = self.young_entries >= self.entries_max / 2;
        if age_us < self.width_us && !full {
            return Ok(());
        }
        if full && age_us < self.width_us {
            tracing::warn!(
                entries_max = self.entries_max,
                window_s = age_us / 1_000_000,
                "the dedup window holds as many ids as it may; it is shortened, and older retries may come through"
            );
        }
        let old = 1 - self.young;
        connection.execute(&format!("DELETE FROM {}", table(self.partition, old)), [])?;
        self.young = old;
        self.young_since_us = now_us;
        self.old_entries = self.young_entries;
        self.young_entries = 0;
        Ok(())
    }
}
