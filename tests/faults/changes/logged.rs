//! What the log and the state of a stopped server say of every event: at which offset it is, under which revision it was judged, and
//! so what must have become of it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tidegate_event::record::LoggedRecord;
use tidegate_log::{LogSettings, SegmentLog, partition_dir};

use super::contract_variant::ContractVariant;
use crate::Found;
use crate::ledger::Ledger;

/// What became of one event, as one byte: whether the log has it, the marks that it keeps, and whether it is blocked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventEnd(u8);

impl EventEnd {
    const LOGGED: u8 = 1 << 7;
    const BLOCKED: u8 = 1 << 6;

    fn new(variant: ContractVariant, n: u64) -> Self {
        let blocked = if variant.blocks(n) { Self::BLOCKED } else { 0 };
        Self(Self::LOGGED | blocked | variant.kept(n))
    }

    pub fn is_logged(self) -> bool {
        self.0 & Self::LOGGED != 0
    }

    pub fn is_blocked(self) -> bool {
        self.0 & Self::BLOCKED != 0
    }

    /// The marks that its row has, a bit for each.
    pub fn marks(self) -> u8 {
        self.0 & !(Self::LOGGED | Self::BLOCKED)
    }
}

/// The events of one ledger, by client and number.
pub struct LoggedEvents<'a> {
    pub ledger: &'a Ledger,
    /// The file of the contract that judges them, by its path below `events/`.
    pub contract: &'static str,
    ends: Vec<Vec<EventEnd>>,
    /// How many revisions had this contract.
    pub revisions: usize,
}

impl<'a> LoggedEvents<'a> {
    pub fn new(ledger: &'a Ledger, contract: &'static str) -> Self {
        Self { ledger, contract, ends: vec![Vec::new(); ledger.clients()], revisions: 0 }
    }

    pub fn of(&self, client: usize, n: u64) -> EventEnd {
        usize::try_from(n).ok().and_then(|n| self.ends[client].get(n).copied()).unwrap_or_default()
    }

    /// Every event that the log has.
    pub fn each(&self) -> impl Iterator<Item = (usize, u64, EventEnd)> + '_ {
        let of_client = |(client, ends): (usize, &'_ Vec<EventEnd>)| -> Vec<(usize, u64, EventEnd)> {
            let logged = (0..).zip(ends).filter(|(_, end)| end.is_logged());
            logged.map(|(n, end)| (client, n, *end)).collect()
        };
        self.ends.iter().enumerate().flat_map(of_client)
    }

    fn set(&mut self, (client, n): (usize, u64), end: EventEnd) {
        let place = usize::try_from(n).expect("a number of this run");
        let ends = &mut self.ends[client];
        if ends.len() <= place {
            ends.resize(place + 1, EventEnd::default());
        }
        ends[place] = end;
    }
}

/// The log ranges of a state file.
struct KnownRanges {
    /// Start, end and revision, in order.
    ranges: Vec<(u64, u64, u64)>,
    duplicates: HashSet<u64>,
    /// Offsets of events that a contract blocked.
    blocked: HashSet<u64>,
    /// Of each revision, the files of contracts by their paths.
    contracts: BTreeMap<u64, Value>,
}

impl KnownRanges {
    fn read(data: &Path) -> rusqlite::Result<Self> {
        let state = Connection::open_with_flags(data.join("state.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let numbers = |sql: &str| -> rusqlite::Result<HashSet<u64>> {
            let mut find = state.prepare(sql)?;
            find.query_map([], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?.collect()
        };
        let duplicates = numbers("SELECT log_offset FROM duplicates")?;
        let blocked = numbers("SELECT log_offset FROM quarantine WHERE stage = 'contract'")?;
        let mut find = state.prepare("SELECT start, end, revision FROM stretches ORDER BY start")?;
        let number = |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let ranges = find.query_map([], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
        let ranges = ranges.collect::<Result<_, _>>()?;
        let sql = "SELECT revision, text FROM revisions JOIN contract_texts ON sha256 = contracts";
        let mut find = state.prepare(sql)?;
        let texts = find.query_map([], |row| Ok((number(row, 0)?, row.get::<_, String>(1)?)))?;
        let texts: Vec<(u64, String)> = texts.collect::<Result<_, _>>()?;
        let files = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default()["files"].take();
        let contracts = texts.iter().map(|(revision, text)| (*revision, files(text))).collect();
        Ok(Self { ranges, duplicates, blocked, contracts })
    }

    /// The revision of an offset; none unless exactly one log range has it.
    fn revision(&self, offset: u64) -> Option<u64> {
        let behind = self.ranges.partition_point(|(start, _, _)| *start <= offset);
        let (_, end, revision) = self.ranges[..behind].last()?;
        (offset < *end).then_some(*revision)
    }

    /// Ranges that begin before the one before them ends.
    fn overlaps(&self) -> usize {
        self.ranges.windows(2).filter(|pair| pair[1].0 < pair[0].1).count()
    }

    fn variant(&self, revision: u64, contract: &str) -> Option<ContractVariant> {
        let document = self.contracts.get(&revision)?.get(contract)?;
        Some(ContractVariant::of_document(document))
    }
}

/// Walks the log of a stopped server, and says of each event of these ledgers what must have become of it.
pub fn read(data: &Path, ledgers: &mut [LoggedEvents<'_>], found: &mut Found) {
    let known = match KnownRanges::read(data) {
        Ok(known) => known,
        Err(error) => {
            found.broken += 1;
            return found.notes.push(format!("state.db cannot be read: {error}"));
        }
    };
    if known.overlaps() > 0 {
        found.broken += 1;
        found.notes.push(format!("{} log ranges begin before the one before them ends", known.overlaps()));
    }
    for events in &mut *ledgers {
        let has = |files: &&Value| files.get(events.contract).is_some();
        events.revisions = known.contracts.values().filter(has).count();
    }
    if let Err(error) = walk(data, &known, ledgers, found) {
        found.broken += 1;
        found.notes.push(format!("the log cannot be read: {error}"));
    }
}

fn walk(
    data: &Path,
    known: &KnownRanges,
    ledgers: &mut [LoggedEvents<'_>],
    found: &mut Found,
) -> Result<(), tidegate_log::LogError> {
    let dir = partition_dir(&data.join("log"), 0);
    let (log, _writer, _) = SegmentLog::open(&dir, LogSettings::default(), 0, tidegate_process::clock::now_us())?;
    let mut reader = log.reader(log.oldest())?;
    let (mut nowhere, mut twice, mut kept_blocked, mut damaged) = (0_u64, 0_u64, 0_u64, 0_u64);
    loop {
        let chunk = reader.read(1 << 20, 4_096)?;
        damaged += chunk.damage.len() as u64;
        if chunk.records.is_empty() && chunk.damage.is_empty() {
            break;
        }
        for record in &chunk.records {
            let Some(revision) = known.revision(record.offset) else {
                nowhere += 1;
                continue;
            };
            if known.duplicates.contains(&record.offset) {
                continue;
            }
            let Ok(read) = LoggedRecord::read(&record.shared, &record.own) else {
                damaged += 1;
                continue;
            };
            let Some((events, place)) = place(ledgers, read.record().event) else { continue };
            let variant = known.variant(revision, events.contract).unwrap_or_default();
            let end = EventEnd::new(variant, place.1);
            kept_blocked += u64::from(end.is_blocked() != known.blocked.contains(&record.offset));
            twice += u64::from(events.of(place.0, place.1).is_logged());
            events.set(place, end);
        }
    }
    for (count, what) in [
        (nowhere, "records of the log are in no log range, or in several"),
        (twice, "events are in the log twice, and none of the two is known as a duplicate"),
        (
            kept_blocked,
            "events are in quarantine although the contract of their revision lets them through, or the other way round",
        ),
        (damaged, "places of the log are damaged"),
    ] {
        if count > 0 {
            found.broken += 1;
            found.notes.push(format!("{count} {what}"));
        }
    }
    Ok(())
}

/// Whose event it is, by its id.
fn place<'l, 'a>(
    ledgers: &'l mut [LoggedEvents<'a>],
    event: &[u8],
) -> Option<(&'l mut LoggedEvents<'a>, (usize, u64))> {
    const FIELD: &[u8] = br#""messageId":""#;
    let at = memchr::memmem::find(event, FIELD)? + FIELD.len();
    let length = memchr::memchr(b'"', &event[at..])?;
    let id = std::str::from_utf8(&event[at..at + length]).ok()?;
    let found = ledgers.iter().position(|events| events.ledger.place(id).is_some())?;
    let events = &mut ledgers[found];
    let place = events.ledger.place(id)?;
    Some((events, place))
}
