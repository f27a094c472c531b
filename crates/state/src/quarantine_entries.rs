//! Entries of the quarantine, page by page, and the records that their events came in.
//!
//! A page has so many entries at most, so many bytes, and comes of a bounded part of the table: who asks for what is rare gets empty pages
//! with a place to go on from. The log has the record of an entry for as long as it keeps it; before it gives records up, those of
//! entries are kept here (`State::keep_originals`), so that an event can be refined once more exactly as it came.

use std::ops::Range;

use rusqlite::{OptionalExtension as _, ToSql, params, params_from_iter};
use tidegate_event::Position;

use super::quarantine::{COLUMNS, KeptEntry, NOT_RETRIED, Quarantined, Stage, read};
use super::sum::{self, Sum};
use super::{State, StateError, fate_entries, position, signed, unsigned};

/// Entries that are looked at for one page.
const LOOKED_AT_MAX: u64 = 20_000;
/// About the bytes of a page.
const PAGE_BYTES: usize = 4 << 20;

/// Which entries; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    pub id: Option<u64>,
    pub code: Option<String>,
    pub stage: Option<String>,
    /// One of these.
    pub scopes: Option<Vec<EntryScope>>,
    /// Events received then or later, microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Events received before this, microseconds since the epoch.
    pub until_us: Option<i64>,
    /// Stands in the event or in the reason.
    pub text: Option<String>,
}

/// Whose entries: those of a source, or those of one sync.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryScope {
    pub name: String,
    pub is_sync: bool,
}

/// Some entries, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPage {
    pub entries: Vec<KeptEntry>,
    /// Go on behind this id; `None` at the end.
    pub next: Option<u64>,
}

/// The record that an event came in: what it shared with others, and its own part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOriginal {
    pub offset: u64,
    pub shared: Vec<u8>,
    pub own: Vec<u8>,
}

impl KeptOriginal {
    fn sum(&self, log_offset: i64) -> i64 {
        Sum::default().number(log_offset).text(&self.shared).text(&self.own).value()
    }
}

/// The detail of an event that functions have made of one beside others, which went on.
pub const OF_SEVERAL_DETAIL: &str = r#"{"of_several":true}"#;

impl KeptEntry {
    /// Whether functions made it of an event beside others, which went on. Of the first of these, what earlier builds kept does not say it.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.entry.id.part > 0 || self.entry.detail.as_deref() == Some(OF_SEVERAL_DETAIL)
    }

    /// Whose it is.
    #[must_use]
    pub fn whose(&self) -> EntryScope {
        let of_function = self.entry.stage == Stage::Function.as_str();
        let is_sync = self.entry.stage == Stage::Destination.as_str()
            || (of_function && self.for_sync.as_deref() == Some(&*self.entry.scope));
        EntryScope { name: self.entry.scope.clone(), is_sync }
    }
}

/// Entries that are removed in one transaction.
const PURGED_MAX: u64 = 256;

/// Whether an entry is of one sync.
const IS_OF_SYNC: &str =
    "(stage = 'destination' OR (stage = 'function' AND for_sync IS NOT NULL AND for_sync = scope))";

impl EntryFilter {
    /// The condition in SQL, whose parameters are the values, from `first` on.
    fn condition(&self, first: usize) -> (String, Vec<Box<dyn ToSql>>) {
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut all = Vec::new();
        let mut add = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            all.push(condition.replace('?', &format!("?{}", first + values.len() - 1)));
        };
        if let Some(id) = self.id {
            add("id = ?", Box::new(signed(id)));
        }
        for (column, text) in [("code = ?", &self.code), ("stage = ?", &self.stage)] {
            if let Some(text) = text {
                add(column, Box::new(text.clone()));
            }
        }
        if let Some(since_us) = self.since_us {
            add("at_us >= ?", Box::new(since_us));
        }
        if let Some(until_us) = self.until_us {
            add("at_us < ?", Box::new(until_us));
        }
        if let Some(text) = &self.text {
            add("(instr(event, CAST(? AS BLOB)) > 0 OR instr(message, ?) > 0)", Box::new(text.clone()));
        }
        if let Some(scopes) = &self.scopes {
            let mut any = Vec::new();
            for EntryScope { name, is_sync } in scopes {
                values.push(Box::new(name.clone()));
                let number = first + values.len() - 1;
                any.push(format!("(scope = ?{number} AND {IS_OF_SYNC} = {})", i32::from(*is_sync)));
            }
            all.push(if any.is_empty() { "0".to_owned() } else { format!("({})", any.join(" OR ")) });
        }
        (if all.is_empty() { "1".to_owned() } else { all.join(" AND ") }, values)
    }
}

impl State {
    /// At most `entries_max` entries with ids behind `from` up to `to`, in the order of their ids.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entries(
        &self,
        filter: &EntryFilter,
        (from, to): (u64, u64),
        entries_max: usize,
    ) -> Result<EntryPage, StateError> {
        let read_page = || -> rusqlite::Result<EntryPage> {
            let sql = "SELECT max(id), count(*) FROM (SELECT id FROM quarantine WHERE id > ?1 AND id <= ?2
                ORDER BY id LIMIT ?3)";
            let looked_at = params![signed(from), signed(to), signed(LOOKED_AT_MAX)];
            let (last, count): (Option<i64>, i64) =
                self.connection.prepare_cached(sql)?.query_row(looked_at, |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some(last) = last else { return Ok(EntryPage::default()) };
            let (condition, values) = filter.condition(3);
            let sql =
                format!("SELECT {COLUMNS} FROM quarantine WHERE id > ?1 AND id <= ?2 AND {condition} ORDER BY id");
            let mut bound: Vec<Box<dyn ToSql>> = vec![Box::new(signed(from)), Box::new(last)];
            bound.extend(values);
            let mut find = self.connection.prepare(&sql)?;
            let mut rows = find.query(params_from_iter(bound.iter().map(|value| &**value)))?;
            let (mut page, mut bytes) = (EntryPage::default(), 0);
            while let Some(row) = rows.next()? {
                if page.entries.len() >= entries_max || bytes > PAGE_BYTES {
                    page.next = page.entries.last().map(|entry: &KeptEntry| entry.id);
                    return Ok(page);
                }
                let kept = read(row)?.told();
                let Quarantined { event, message, detail, .. } = &kept.entry;
                bytes += event.len() + message.len() + detail.as_ref().map_or(0, String::len);
                page.entries.push(kept);
            }
            page.next = (unsigned(count) >= LOOKED_AT_MAX).then(|| unsigned(last));
            Ok(page)
        };
        read_page().map_err(self.err("could not read the quarantine"))
    }

    /// The entries of the event at a position, of whatever stage, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entries_at(&self, at: Position) -> Result<Vec<KeptEntry>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM quarantine WHERE log_offset = ?1 ORDER BY id");
        let found = self.connection.prepare_cached(&sql).and_then(|mut find| {
            let rows = find.query_map([signed(at.bits())], |row| Ok(read(row)?.told()))?;
            rows.collect::<rusqlite::Result<Vec<KeptEntry>>>()
        });
        found.map_err(self.err("could not read the quarantine"))
    }

    /// The ids of the entries of the event at a position that are like that, and whose each is, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn scopes_at(&self, at: Position, filter: &EntryFilter) -> Result<Vec<(u64, String)>, StateError> {
        let (condition, mut values) = filter.condition(2);
        values.insert(0, Box::new(signed(at.bits())));
        let sql = format!("SELECT id, scope FROM quarantine WHERE log_offset = ?1 AND {condition} ORDER BY id");
        let found = self.connection.prepare(&sql).and_then(|mut find| {
            let bound = params_from_iter(values.iter().map(|value| &**value));
            find.query_map(bound, |row| Ok((sum::number(row, 0).map(unsigned)?, sum::text(row, 1)?)))?.collect()
        });
        found.map_err(self.err("could not read the quarantine"))
    }

    /// How many entries are like that.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count_entries(&self, filter: &EntryFilter) -> Result<u64, StateError> {
        let (condition, values) = filter.condition(1);
        let sql = format!("SELECT count(*) FROM quarantine WHERE {condition}");
        let found = self.connection.prepare(&sql).and_then(|mut find| {
            find.query_row(params_from_iter(values.iter().map(|value| &**value)), |row| row.get(0).map(unsigned))
        });
        found.map_err(self.err("could not count the quarantine"))
    }

    /// Removes a few of the entries that are like that, oldest first, but for those on their way into the log; answers how many. Call it
    /// again until there are none.
    ///
    /// # Errors
    /// Nothing was removed.
    pub fn purge_entries(&mut self, filter: &EntryFilter) -> Result<u64, StateError> {
        self.remove_entries(filter, "UPDATE quarantine_size SET purged = purged + ?1")
    }

    /// The same of what nobody has asked for: it is too old.
    pub(super) fn expire_entries(&mut self, filter: &EntryFilter) -> Result<u64, StateError> {
        self.remove_entries(filter, "UPDATE quarantine_size SET expired = expired + ?1")
    }

    fn remove_entries(&mut self, filter: &EntryFilter, count: &str) -> Result<u64, StateError> {
        let (condition, values) = filter.condition(1);
        let sql =
            format!("SELECT id FROM quarantine WHERE {condition} AND {NOT_RETRIED} ORDER BY id LIMIT {PURGED_MAX}");
        // Looked for outside of the transaction: refining waits for that, and what is rare takes a look at all entries.
        let found = self.connection.prepare(&sql).and_then(|mut find| {
            let bound = params_from_iter(values.iter().map(|value| &**value));
            find.query_map(bound, |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<i64>>>()
        });
        let found = found.map_err(self.err("could not read the quarantine"))?;
        if found.is_empty() {
            return Ok(0);
        }
        let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
        let which = format!("id IN ({}) AND {condition} AND {NOT_RETRIED}", ids.join(", "));
        let mut removed = 0;
        self.in_transaction(false, |connection| {
            connection.execute_batch("PRAGMA secure_delete = ON")?;
            let bound = || params_from_iter(values.iter().map(|value| &**value));
            let mut find = connection.prepare(&format!("SELECT id FROM quarantine WHERE {which}"))?;
            let still: Vec<i64> = find.query_map(bound(), |row| row.get(0))?.collect::<Result<_, _>>()?;
            fate_entries::expire(connection, &still)?;
            removed = connection.execute(&format!("DELETE FROM quarantine WHERE {which}"), bound())? as u64;
            connection.execute(count, [signed(removed)]).map(drop)
        })?;
        Ok(removed)
    }

    /// What was quarantined on the way of one sync, in a part of the log of this partition.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantined_of_sync(&self, sync: &str, range: Range<u64>) -> Result<Vec<Quarantined>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM quarantine WHERE log_offset >= ?2 AND log_offset < ?3
             AND ((stage = 'destination' AND scope = ?1) OR (stage = 'function' AND scope = ?1 AND for_sync = ?1))"
        );
        let bounds = params![sync, self.column(range.start), self.column(range.end)];
        let found = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut find| find.query_map(bounds, |row| read(row).map(|kept| kept.entry))?.collect());
        found.map_err(self.err("could not read the quarantine"))
    }

    /// Whose entries there are.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entry_scopes(&self) -> Result<Vec<EntryScope>, StateError> {
        let sql = format!("SELECT DISTINCT scope, {IS_OF_SYNC} FROM quarantine ORDER BY 1, 2");
        let read = || -> rusqlite::Result<Vec<EntryScope>> {
            let mut find = self.connection.prepare_cached(&sql)?;
            find.query_map([], |row| Ok(EntryScope { name: row.get(0)?, is_sync: row.get(1)? }))?.collect()
        };
        read().map_err(self.err("could not read the quarantine"))
    }

    /// Whether an entry is on its way into the log.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_retried(&self, id: u64) -> Result<bool, StateError> {
        let sql = "SELECT 1 FROM quarantine_retries WHERE entry = ?1";
        let found = self.connection.prepare_cached(sql).and_then(|mut find| find.exists([signed(id)]));
        found.map_err(self.err("could not read the quarantine"))
    }

    /// The record of an entry, if it is kept here. One whose checksum is wrong is not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn original(&self, at: Position) -> Result<Option<KeptOriginal>, StateError> {
        let sql = "SELECT shared, own, sum FROM quarantine_originals WHERE log_offset = ?1";
        let log_offset = signed(at.bits());
        let found = self.connection.prepare_cached(sql).and_then(|mut find| {
            let read = |row: &rusqlite::Row<'_>| {
                let original =
                    KeptOriginal { offset: at.offset, shared: sum::bytes(row, 0)?, own: sum::bytes(row, 1)? };
                Ok((original.sum(log_offset) == sum::number(row, 2)?).then_some(original))
            };
            find.query_row([log_offset], read).optional()
        });
        found.map(Option::flatten).map_err(self.err("could not read the quarantine"))
    }

    /// Some offsets of this partition, from `from` to below `to`, whose events are in quarantine, and whose records are not kept here; in
    /// order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn without_original(&self, (from, to): (u64, u64), offsets_max: u64) -> Result<Vec<u64>, StateError> {
        let sql = "SELECT DISTINCT log_offset FROM quarantine WHERE log_offset >= ?1 AND log_offset < ?2
            AND stage <> 'log' AND log_offset NOT IN (SELECT log_offset FROM quarantine_originals)
            ORDER BY log_offset LIMIT ?3";
        let bounds = [self.column(from), self.column(to), signed(offsets_max)];
        let found = self.connection.prepare_cached(sql).and_then(|mut find| {
            find.query_map(bounds, |row| row.get(0).map(|column| position(column).offset))?.collect()
        });
        found.map_err(self.err("could not read the quarantine"))
    }

    /// Keeps records of this partition, durably. Those that are kept stay as they are.
    ///
    /// # Errors
    /// None is kept.
    pub fn keep_originals(&mut self, originals: &[KeptOriginal]) -> Result<(), StateError> {
        let partition = self.partition;
        self.in_transaction(true, |connection| {
            let sql =
                "INSERT OR IGNORE INTO quarantine_originals (log_offset, shared, own, sum) VALUES (?1, ?2, ?3, ?4)";
            let mut keep = connection.prepare_cached(sql)?;
            originals.iter().try_for_each(|original| {
                let log_offset = signed(Position::new(partition, original.offset).bits());
                keep.execute(params![log_offset, original.shared, original.own, original.sum(log_offset)]).map(drop)
            })
        })
    }

    /// Forgets records that are of no entry: it may have left while they were read.
    ///
    /// # Errors
    /// None is forgotten.
    pub fn forget_originals(&mut self) -> Result<(), StateError> {
        let sql = "DELETE FROM quarantine_originals WHERE log_offset NOT IN (SELECT log_offset FROM quarantine)";
        self.connection.execute(sql, []).map(drop).map_err(self.err("could not forget records of the quarantine"))
    }
}
