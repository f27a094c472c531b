//! One batch by way of Snowpipe Streaming (the high-performance architecture, by REST).
//!
//! Each sync has one channel to each table, and one to the ledger. Rows are appended with an *offset token*: the log
//! offset behind the last of them. Snowflake commits rows and token of a channel together and tells the last committed
//! token when the channel is opened; rows below it are there and are not sent again. That is what makes each event come
//! once, whatever was cut off where:
//!
//! * An append without an answer: the channel is opened anew, which makes everything invalid that was not committed, and
//!   says where to go on.
//! * A crash after some tables were committed: the ledger is behind. The batch comes again, perhaps cut elsewhere; each
//!   table skips what its own channel has.
//! * A batch without rows for a table leaves that table's channel behind the others. Nothing is read from that: how far
//!   the sync has come is the token of the ledger's channel, which is appended to when all tables of a batch are committed.
//! * A row that Snowflake cannot put into its table is left out and counted, and the token moves on. When the count has
//!   grown, or rows were skipped that the ledger does not know of, the ids are looked up in the table by SQL; the missing
//!   ones are refused events.
//!
//! It can only insert: a `messageId` that comes again at a later offset is there again, and of a refused event the row in
//! its other table stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use tidegate_process::clock;
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::encoder::Piece;
use tidegate_warehouse::schema_cache::FoundSchema;
use tidegate_warehouse::table::Table;

use super::account::Account;
use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::plan::{self, PlanColumns};
use super::session::SnowflakeSession;
use super::settings::CheckedSnowflake;
use super::sql::{LEDGER, literal, quoted};
use ingest::{Channel, Ingest};

mod ingest;

/// Rows of one request. The endpoint's page says 16 MB, the page of limits 4 MB.
const REQUEST_BYTES_MAX: usize = 3_500_000;
/// Snowflake commits within ten seconds, as a rule.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(90);
/// Ids looked up by one statement.
const IDS_MAX: usize = 1_000;

/// Channels that are open.
pub(super) struct Streams {
    ingest: Ingest,
    /// Where the ledger is.
    home: SnowflakePlace,
    /// By the table's lower-case name.
    channels: HashMap<String, Channel>,
    /// How far the sync has come.
    durable_to: Option<u64>,
}

/// Rows that are appended together.
struct StreamPiece {
    bytes: Vec<u8>,
    /// The offset behind the last of them.
    token: u64,
}

/// A row that may not be where it should be.
struct Suspect {
    event: Option<usize>,
    id: String,
    reason: String,
}

/// One table's share of a batch.
#[derive(Default)]
struct TableShare {
    pieces: Vec<StreamPiece>,
    sent: Vec<(Option<usize>, String)>,
    /// In the table already, though the ledger does not say so.
    skipped: Vec<(Option<usize>, String)>,
}

impl Streams {
    /// Opens the channel of the ledger at `home`, whose rows say `found`. How far the sync has come: what its channel to the
    /// ledger has committed, or what a row of the ledger says (of another way of loading, or of a channel that has expired).
    pub(super) async fn open(
        account: &Account,
        home: SnowflakePlace,
        found: Option<u64>,
    ) -> Result<Self, SnowflakeError> {
        let mut ingest = Ingest::connect(account).await?;
        let channel = ingest.open(&home, LEDGER).await?;
        let durable_to = channel.committed.max(found);
        Ok(Self { ingest, home, channels: HashMap::from([(LEDGER.to_owned(), channel)]), durable_to })
    }

    pub(super) const fn durable_to(&self) -> Option<u64> {
        self.durable_to
    }

    /// Appends the rows of a batch, and waits until they are committed.
    pub(super) async fn write<'b>(
        &mut self,
        (session, checked): (&mut SnowflakeSession, &CheckedSnowflake),
        found: &mut FoundSchema,
        piece: &Piece<'b, PlanColumns>,
        load: &mut BatchLoad<'_, 'b, PlanColumns>,
    ) -> Result<(), SnowflakeError> {
        for (place, _) in &piece.part.tables {
            let name = &*load.tables().list[*place].name;
            if !self.channels.contains_key(name) {
                let channel = self.ingest.open(&checked.place, name).await?;
                self.channels.insert(name.to_owned(), channel);
            }
        }
        let shares = shares(load, found, self, &piece.items).await?;
        let mut suspects: BTreeMap<usize, Vec<Suspect>> = BTreeMap::new();
        let mut duplicates = 0;
        for (place, share) in &shares {
            let table = &load.tables().list[*place];
            append(self, &checked.place, &table.name, &share.pieces).await?;
            if table.family.is_of_kind() {
                duplicates += share.skipped.len() as u64;
            }
            let suspect = |(event, id): &(Option<usize>, String)| Suspect {
                event: *event,
                id: id.clone(),
                reason: "Snowflake left the row out".to_owned(),
            };
            suspects.entry(*place).or_default().extend(share.skipped.iter().map(suspect));
        }
        load.count(&piece.items, duplicates);
        fail::fail_point!("warehouse_after_stage", |_| std::process::abort());
        for (place, share) in shares {
            let name = load.tables().list[place].name.to_string();
            if let Some(reason) = committed(self, (checked, &checked.place), &name, share.pieces.last()).await? {
                let suspect = |(event, id)| Suspect { event, id, reason: reason.clone() };
                suspects.entry(place).or_default().extend(share.sent.into_iter().map(suspect));
            }
        }
        for (place, suspects) in suspects {
            for (index, reason) in missing(session, checked, &load.tables().list[place], suspects).await? {
                load.reject(index, reason);
            }
        }
        Ok(())
    }

    /// Moves the ledger.
    pub(super) async fn advance(&mut self, checked: &CheckedSnowflake, next: u64) -> Result<(), SnowflakeError> {
        if self.durable_to.is_some_and(|durable_to| durable_to >= next) {
            return Ok(());
        }
        let row = serde_json::json!({
            "SYNC": checked.sync,
            "LOG_OFFSET": next.to_string(),
            "UPDATED_AT": jiff::Timestamp::from_microsecond(clock::now_us()).unwrap_or_default().to_string(),
        });
        let pieces = [StreamPiece { bytes: format!("{row}\n").into_bytes(), token: next }];
        let home = self.home.clone();
        append(self, &home, LEDGER, &pieces).await?;
        match committed(self, (checked, &home), LEDGER, pieces.last()).await? {
            None => {
                self.durable_to = Some(next);
                Ok(())
            }
            Some(message) => Err(SnowflakeError::Refused { doing: "writing the ledger", code: 100_000, message }),
        }
    }
}

/// The rows of the batch by table, in pieces. An event with a row that no request can carry is refused as a whole.
async fn shares(
    load: &mut BatchLoad<'_, '_, PlanColumns>,
    found: &mut FoundSchema,
    streams: &Streams,
    items: &Range<usize>,
) -> Result<BTreeMap<usize, TableShare>, SnowflakeError> {
    let mut without = BTreeSet::new();
    loop {
        let mut shares: BTreeMap<usize, TableShare> = BTreeMap::new();
        let mut too_long = Vec::new();
        plan::rows(load, found, items, |table, row| {
            if row.event.is_some_and(|event| without.contains(&event)) {
                return Ok(());
            }
            let share = shares.entry(row.table).or_default();
            let committed = streams.channels.get(&*table.name).and_then(|channel| channel.committed);
            if committed.is_some_and(|committed| row.position.offset < committed) {
                share.skipped.push((row.event, row.id.to_owned()));
                return Ok(());
            }
            let mut line = Vec::with_capacity(512);
            line.push(b'{');
            plan::members(&mut line, table, row.cells, true)
                .map_err(|error| SnowflakeError::Upload { problem: error.to_string(), lasting: false })?;
            line.extend(b"}\n");
            if line.len() > REQUEST_BYTES_MAX {
                too_long.push((row.event, line.len()));
            }
            share.sent.push((row.event, row.id.to_owned()));
            push(&mut share.pieces, line, row.position.behind().offset);
            Ok(())
        })
        .await?;
        let before = without.len();
        for (event, bytes) in too_long {
            let Some(index) = event else { continue };
            if without.insert(index) {
                let most = REQUEST_BYTES_MAX;
                load.reject(index, format!("a row of {bytes} bytes is longer than the {most} that can be streamed"));
            }
        }
        if without.len() == before {
            return Ok(shares);
        }
    }
}

/// Puts a row into the last piece or begins another. Rows of one offset stay together, for a token cannot part them.
fn push(pieces: &mut Vec<StreamPiece>, line: Vec<u8>, token: u64) {
    match pieces.last_mut() {
        Some(piece) if piece.token == token || piece.bytes.len() + line.len() <= REQUEST_BYTES_MAX => {
            piece.bytes.extend(line);
            piece.token = token;
        }
        _ => pieces.push(StreamPiece { bytes: line, token }),
    }
}

async fn append(
    streams: &mut Streams,
    place: &SnowflakePlace,
    table: &str,
    pieces: &[StreamPiece],
) -> Result<(), SnowflakeError> {
    let Some(channel) = streams.channels.get_mut(table) else { return Err(SnowflakeError::Fenced) };
    for piece in pieces {
        streams.ingest.append(place, channel, &piece.bytes, piece.token).await?;
    }
    Ok(())
}

/// Waits until the channel has committed the last piece. What Snowflake says of rows that it left out meanwhile.
async fn committed(
    streams: &mut Streams,
    (checked, place): (&CheckedSnowflake, &SnowflakePlace),
    table: &str,
    last: Option<&StreamPiece>,
) -> Result<Option<String>, SnowflakeError> {
    let (Some(channel), Some(last)) = (streams.channels.get_mut(table), last) else { return Ok(None) };
    let most = checked.settings.statement_time_max.min(COMMIT_TIME_MAX);
    let status = streams.ingest.wait(place, table, last.token, most).await?;
    channel.committed = status.committed;
    let left_out = status.errors > channel.errors;
    channel.errors = status.errors;
    Ok(left_out.then(|| status.message.unwrap_or_else(|| "Snowflake left the row out".to_owned())))
}

/// Of these rows, the events whose row is not in the table, each with the reason.
async fn missing(
    session: &mut SnowflakeSession,
    checked: &CheckedSnowflake,
    table: &Table,
    suspects: Vec<Suspect>,
) -> Result<Vec<(usize, String)>, SnowflakeError> {
    let mut rejected = Vec::new();
    for suspects in suspects.chunks(IDS_MAX) {
        let ids: Vec<String> = suspects.iter().map(|suspect| literal(&suspect.id)).collect();
        let (name, id) = (checked.place.sql(&table.name), quoted("id"));
        let sql = format!("SELECT {id}::VARCHAR FROM {name} WHERE {id} IN ({})", ids.join(", "));
        let what = "looking for rows that were left out";
        let answer = session.run(what, &sql).await?.texts(what)?;
        let there: BTreeSet<&str> = answer.rows.iter().filter_map(|row| row.first()?.as_deref()).collect();
        for suspect in suspects.iter().filter(|suspect| !there.contains(&*suspect.id)) {
            let reason = format!("table {}: {}", table.name, suspect.reason);
            let Some(index) = suspect.event else {
                return Err(SnowflakeError::Refused { doing: "streaming rows", code: 100_000, message: reason });
            };
            rejected.push((index, reason));
        }
    }
    Ok(rejected)
}
