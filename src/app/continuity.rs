//! Whether the log, the state and the warehouses belong to one moment, and what follows where they do not.
//!
//! Each of them says how far it has come. A file that was lost, or put back from a backup, says less than the others;
//! nothing is doubled or lost by that without a line that says so. This is a pure function of the numbers.

use std::ops::Range;

/// What the state file is, compared with the last time that the data directory was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// The data directory is new.
    New,
    /// The state is the one that was here last.
    Known,
    /// There was one, and it is gone; it was made anew.
    Lost,
    /// It is an older copy of the one that was here last.
    Older,
}

/// What a destination says of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ledger {
    /// It cannot be asked now.
    Away,
    /// It has never seen the sync.
    Never,
    /// Everything below is durable there.
    At(u64),
    /// The sync has no ledger but the state's own cursor.
    Plugin,
}

/// One sync.
#[derive(Debug)]
pub(super) struct SyncStand<'a> {
    pub(super) name: &'a str,
    pub(super) ledger: Ledger,
    /// The cursor in the state, if it has one.
    pub(super) cursor: Option<u64>,
}

/// How far each file has come.
#[derive(Debug)]
pub(super) struct Stand<'a> {
    pub(super) past: Past,
    /// The state has refined the log below this.
    pub(super) refined_to: u64,
    /// What the log held before it was opened: its oldest record, and one behind its last.
    pub(super) log: Range<u64>,
    /// New records get offsets from here on.
    pub(super) next: u64,
    pub(super) syncs: Vec<SyncStand<'a>>,
}

/// One line for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContinuityLine {
    Warn(String),
    Error(String),
}

/// What there is to say; nothing when all fits together.
pub(super) fn lines(stand: &Stand<'_>) -> Vec<ContinuityLine> {
    let mut lines = Vec::new();
    let oldest = stand.log.start;
    lines.extend(of_state(stand));
    lines.extend(of_log(stand));
    for sync in &stand.syncs {
        lines.extend(of_sync(stand, sync));
    }
    if matches!(stand.past, Past::Known | Past::Older) && oldest > stand.refined_to {
        lines.push(ContinuityLine::Error(format!(
            "the log begins at offset {oldest} and the state has refined it to {} only: the records between are gone from \
             the log; retries of them are not recognised, and what they put into quarantine after the copy of the state \
             was made is lost",
            stand.refined_to
        )));
    }
    lines
}

fn plugins(stand: &Stand<'_>) -> String {
    let names: Vec<&str> =
        stand.syncs.iter().filter(|sync| sync.ledger == Ledger::Plugin).map(|sync| sync.name).collect();
    if names.is_empty() {
        return String::new();
    }
    let from = match stand.past {
        Past::Older => "since then",
        _ => "that the log keeps, except those whose cursor could be carried over",
    };
    format!("; the plugins of {} get again the events {from}", names.join(", "))
}

fn of_state(stand: &Stand<'_>) -> Option<ContinuityLine> {
    let oldest = stand.log.start;
    match stand.past {
        Past::New | Past::Known => {
            let ahead = stand.syncs.iter().filter_map(|sync| match sync.ledger {
                Ledger::At(at) if at > stand.refined_to && at <= stand.log.end => Some((at, sync.name)),
                _ => None,
            });
            let (at, name) = ahead.max()?;
            Some(ContinuityLine::Warn(format!(
                "state.db has refined the log to {}, and the ledger of sync {name} says {at}: the state is older (after a \
                 power cut it is, a little). The records between are refined again, so the dedup window and what \
                 contracts quarantine are as before; what functions or destinations quarantined since is missing{}",
                stand.refined_to,
                plugins(&Stand { past: Past::Older, syncs: copies(stand), log: stand.log.clone(), ..*stand })
            )))
        }
        Past::Lost => Some(ContinuityLine::Error(format!(
            "state.db was lost and is made anew from the log, from offset {oldest} on: retries are recognised as far back \
             as the log goes (a warehouse drops older ones by their id), contracts and functions quarantine again what \
             they did; gone are what destinations quarantined, the counters, and deliveries of plugins that were \
             pending{}",
            plugins(stand)
        ))),
        Past::Older => Some(ContinuityLine::Error(format!(
            "state.db is an older copy: it has refined the log to {} and another one went on from there. The records after \
             it are refined again from the log; what destinations quarantined since and deliveries of plugins that became \
             pending since are gone{}",
            stand.refined_to,
            plugins(stand)
        ))),
    }
}

fn copies<'a>(stand: &Stand<'a>) -> Vec<SyncStand<'a>> {
    let copy = |sync: &SyncStand<'a>| SyncStand { name: sync.name, ledger: sync.ledger, cursor: sync.cursor };
    stand.syncs.iter().map(copy).collect()
}

/// The log's end is behind what others have seen of it.
fn of_log(stand: &Stand<'_>) -> Option<ContinuityLine> {
    let end = stand.log.end;
    let ledgers = stand.syncs.iter().filter_map(|sync| match sync.ledger {
        Ledger::At(at) => Some((at, format!("the ledger of sync {}", sync.name))),
        _ => None,
    });
    let (seen, whose) = ledgers.chain([(stand.refined_to, "state.db".to_owned())]).max()?;
    if seen <= end {
        return None;
    }
    let behind: Vec<String> = stand
        .syncs
        .iter()
        .filter_map(|sync| {
            let at = match sync.ledger {
                Ledger::At(at) => at,
                Ledger::Never => 0,
                Ledger::Plugin => sync.cursor.unwrap_or(0),
                Ledger::Away => sync.cursor?,
            };
            let from = at.max(end);
            (from < seen).then(|| format!("sync {} never gets offsets {from} to {seen}", sync.name))
        })
        .collect();
    let lost = if behind.is_empty() { "no sync misses any of those".to_owned() } else { behind.join("; ") };
    Some(ContinuityLine::Error(format!(
        "the log ends at offset {end} and {whose} has seen it to {seen}: the log, or its end, is gone or is another one. \
         {lost}; records behind {seen} that were accepted and only there are lost. New records begin at {}. If the log of \
         this data directory is elsewhere, stop the server and put it back",
        stand.next
    )))
}

fn of_sync(stand: &Stand<'_>, sync: &SyncStand<'_>) -> Option<ContinuityLine> {
    let (name, oldest) = (sync.name, stand.log.start);
    let before = sync.cursor.filter(|cursor| *cursor > 0);
    match (sync.ledger, before) {
        (Ledger::Never, Some(cursor)) => {
            let text = format!(
                "the warehouse of sync {name} does not know it, and it was delivered to {cursor} before: the warehouse is \
                 another one or was made anew. It gets again what the log still keeps, from offset {oldest} on"
            );
            Some(match oldest {
                0 => ContinuityLine::Warn(format!("{text}, which is everything")),
                _ => ContinuityLine::Error(format!("{text}; events below that are in no other place")),
            })
        }
        (Ledger::At(at), Some(cursor)) if at < cursor => {
            let text = format!(
                "the ledger of sync {name} says {at}, and it was delivered to {cursor} before: the warehouse is an older \
                 copy"
            );
            Some(if at < oldest {
                ContinuityLine::Error(format!(
                    "{text}. The log begins at {oldest}: the rows of offsets {at} to {oldest} are lost to it; the rest \
                     is delivered again"
                ))
            } else {
                ContinuityLine::Warn(format!(
                    "{text}; the events since are delivered again from the log, and none is missing"
                ))
            })
        }
        (Ledger::At(at), _) if at < oldest && oldest <= stand.log.end => Some(ContinuityLine::Error(format!(
            "the ledger of sync {name} says {at} and the log begins at {oldest}: the records between are gone and never \
             reach this warehouse"
        ))),
        _ => None,
    }
}

/// Syncs that would deliver events again, because how far they were is not known.
pub(super) fn repeats<'a>(past: Past, plugin_syncs: &[&'a str]) -> Vec<&'a str> {
    match past {
        Past::Lost | Past::Older => plugin_syncs.to_vec(),
        Past::New | Past::Known => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(
        past: Past,
        refined_to: u64,
        log: Range<u64>,
        (ledger, cursor): (Ledger, Option<u64>),
    ) -> Vec<ContinuityLine> {
        let next = log.end.max(refined_to);
        lines(&Stand { past, refined_to, log, next, syncs: vec![SyncStand { name: "w", ledger, cursor }] })
    }

    #[track_caller]
    fn one(lines: &[ContinuityLine], error: bool, words: &str) {
        let [line] = lines else { panic!("{lines:?}") };
        let (is_error, text) = match line {
            ContinuityLine::Warn(text) => (false, text),
            ContinuityLine::Error(text) => (true, text),
        };
        assert!(is_error == error && text.contains(words), "{line:?}");
    }

    #[test]
    fn what_fits_together_needs_no_word() {
        assert_eq!(said(Past::New, 0, 0..0, (Ledger::Never, None)), []);
        assert_eq!(said(Past::Known, 9, 3..12, (Ledger::At(7), Some(7))), []);
        // A crash between the warehouse's commit and the state's copy of it.
        assert_eq!(said(Past::Known, 9, 3..12, (Ledger::At(8), Some(7))), []);
        assert_eq!(said(Past::Known, 9, 3..12, (Ledger::Away, Some(7))), []);
        assert_eq!(said(Past::Known, 9, 3..12, (Ledger::Never, None)), []);
        assert_eq!(said(Past::Known, 9, 3..12, (Ledger::Plugin, Some(7))), []);
    }

    #[test]
    fn each_file_that_is_lost_or_older_is_named() {
        one(&said(Past::Lost, 0, 0..12, (Ledger::At(7), None)), true, "made anew from the log, from offset 0");
        one(&said(Past::Lost, 0, 0..12, (Ledger::Plugin, None)), true, "the plugins of w get again");
        one(&said(Past::Older, 4, 0..12, (Ledger::At(7), Some(3))), true, "older copy: it has refined the log to 4");
        one(&said(Past::Known, 4, 0..12, (Ledger::At(7), Some(3))), false, "the ledger of sync w says 7");
        one(&said(Past::Known, 9, 0..12, (Ledger::Never, Some(7))), false, "from offset 0 on, which is everything");
        one(&said(Past::Known, 9, 5..12, (Ledger::Never, Some(7))), true, "in no other place");
        one(&said(Past::Known, 9, 3..12, (Ledger::At(5), Some(7))), false, "none is missing");
        one(&said(Past::Known, 9, 6..12, (Ledger::At(5), Some(7))), true, "offsets 5 to 6 are lost");
        one(&said(Past::Known, 9, 6..12, (Ledger::At(5), None)), true, "never reach this warehouse");
        one(&said(Past::Known, 4, 6..12, (Ledger::At(12), None)).split_off(1), true, "begins at offset 6");
    }

    #[test]
    fn a_log_that_is_gone_is_told_from_a_new_one() {
        one(&said(Past::Known, 9, 0..0, (Ledger::At(7), Some(7))), true, "sync w never gets offsets 7 to 9");
        one(&said(Past::Known, 9, 0..0, (Ledger::At(9), Some(9))), true, "no sync misses any");
        one(&said(Past::Known, 9, 3..8, (Ledger::At(9), Some(9))), true, "the log ends at offset 8");
        one(&said(Past::New, 0, 0..0, (Ledger::At(9), None)), true, "New records begin at 0");
    }
}
