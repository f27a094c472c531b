//! Entries of the quarantine that leave it: what is counted of them changes with them, in the same transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use tidegate_event::{Position, RetryMark, in_partition};

use super::fate_tally::{FateCounts, FateTally};
use super::fates::{self, FateScope};
use super::sum::{bytes, number, optional, text};
use super::{fate_ranges, fate_syncs, position};

/// The stage whose entries are of the sync that their scope names.
const DESTINATION: &str = "destination";
/// The stage whose entries are of no source.
const LOG: &str = "log";

/// Whether an entry of what is at this position is counted: of a sync not what it had before it was counted itself, or another one of its name had.
fn is_counted(connection: &Connection, scope: FateScope<'_>, at: Position) -> rusqlite::Result<bool> {
    if !scope.is_sync {
        return fate_ranges::is_counted(connection, at);
    }
    let first = fate_syncs::first(connection, &in_partition(scope.name, at.partition))?;
    Ok(first.is_some_and(|first| at.offset >= first) && fate_ranges::is_counted(connection, at)?)
}

/// Counts entries, by their ids, as expired: they are about to be removed.
pub(super) fn expire(connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    leave(connection, ids, |counts| counts.expired += 1)
}

/// Counts entries, by their ids, as suppressed: they are about to be removed, for they are about somebody who is forgotten.
pub(super) fn suppress(connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    leave(connection, ids, |counts| counts.suppressed += 1)
}

fn leave(connection: &Connection, ids: &[i64], fate: impl Fn(&mut FateCounts)) -> rusqlite::Result<()> {
    let sql = "SELECT log_offset, stage, scope, for_sync, event, at_us FROM quarantine WHERE id = ?1";
    let mut find = connection.prepare_cached(sql)?;
    let mut tallies: BTreeMap<(bool, String), FateTally> = BTreeMap::new();
    for id in ids {
        let read = |row: &rusqlite::Row<'_>| {
            let (stage, scope, for_sync) = (text(row, 1)?, text(row, 2)?, optional(row, 3)?);
            let key = fates::fate_key_of_entry(&stage, &bytes(row, 4)?, number(row, 5)?);
            let whose = match for_sync {
                Some(sync) => (true, sync),
                None => (stage == DESTINATION, scope),
            };
            Ok((position(number(row, 0)?), stage, whose, key))
        };
        let Some((at, stage, whose, (hour, name))) = find.query_row([id], read).optional()? else { continue };
        let (is_sync, name_of_scope) = &whose;
        if stage == LOG || !is_counted(connection, FateScope { name: name_of_scope, is_sync: *is_sync }, at)? {
            continue;
        }
        tallies.entry(whose).or_default().add((hour, &name), |counts| {
            counts.quarantined -= 1;
            fate(counts);
        });
    }
    tallies
        .iter()
        .try_for_each(|((is_sync, name), tally)| fates::write(connection, FateScope { name, is_sync: *is_sync }, tally))
}

/// The entry that `mark` names was taken out, for its event comes once more: then it is counted anew.
pub(super) fn take_back(
    connection: &Connection,
    mark: &RetryMark<'_>,
    (event, at_us): (&[u8], i64),
) -> rusqlite::Result<()> {
    let at: Position = mark.position;
    let scope = match mark.for_sync {
        "" => FateScope { name: mark.scope, is_sync: mark.stage == DESTINATION },
        sync => FateScope { name: sync, is_sync: true },
    };
    let is_counted = is_counted(connection, scope, at)?;
    // A source counts the event from now on, as any other. A sync that alone has not had it has one more than its source lets go on.
    if mark.stage == LOG || !(is_counted || scope.is_sync) {
        return Ok(());
    }
    let (hour, name) = fates::fate_key_of_entry(mark.stage, event, at_us);
    let mut tally = FateTally::default();
    tally.add((hour, &name), |counts: &mut FateCounts| {
        counts.came -= 1;
        if is_counted {
            counts.quarantined -= 1;
        } else {
            counts.made += 1;
        }
    });
    fates::write(connection, scope, &tally)
}
