//! Whether events are conserved, as it is told: what the state counts, in the words of the API.

use std::collections::BTreeMap;

use tidegate_api_types::conservation::{
    ConservationGap, ConservationQuery, ConservationReport, ConservedSource, ConservedSync, FateNumbers, LogRecount,
    ShownBreach,
};
use tidegate_event::time;
use tidegate_state::{
    Conservation, FateBreach, FateCounts, FateQuery, SourceFates, State, StateError, SyncFates, WrongSum,
};

/// Counts the records of the log once more; a sentence when that fails.
pub type RecountEvents = Box<dyn Fn(State) -> Result<LogRecount, String> + Send + Sync>;

/// What a query asks of the state.
///
/// # Errors
/// The name of the field that is no time.
pub fn fate_query(query: &ConservationQuery) -> Result<FateQuery, &'static str> {
    let at = |field: &'static str, text: &Option<String>| {
        text.as_deref().map(|text| time::parse(text).ok_or(field)).transpose()
    };
    Ok(FateQuery {
        since_us: at("since", &query.since)?,
        until_us: at("until", &query.until)?,
        source: query.source.clone(),
        sync: query.sync.clone(),
        name: query.event.clone(),
    })
}

/// What was accepted, and what became of it. `there` are the syncs that there are, with their sources: each is in it, whether anything is counted
/// of it or not.
///
/// # Errors
/// The state cannot be read.
pub fn conservation_report(
    state: &State,
    query: &FateQuery,
    there: &BTreeMap<String, String>,
) -> Result<ConservationReport, StateError> {
    let found = state.conservation_of(query, there)?;
    let holds = found.holds();
    let Conservation { sources, syncs, breaches, begins } = found;
    Ok(ConservationReport {
        holds,
        sources: sources.into_iter().map(source).collect(),
        syncs: syncs.into_iter().map(sync).collect(),
        breaches: breaches.into_iter().map(breach).collect(),
        counted_from: begins.iter().map(ToString::to_string).collect(),
        recount: None,
    })
}

fn source(found: SourceFates) -> ConservedSource {
    let SourceFates { source, counts, wrong } = found;
    ConservedSource { source, counts: numbers(&counts), wrong: wrong.map(gap) }
}

fn sync(found: SyncFates) -> ConservedSync {
    let SyncFates { sync, source, went_on, waiting, not_for_it, counts, unsure, wrong } = found;
    ConservedSync {
        sync,
        source,
        went_on,
        waiting,
        not_for_it,
        counts: numbers(&counts),
        unsure,
        wrong: wrong.map(gap),
    }
}

fn gap(wrong: WrongSum) -> ConservationGap {
    let WrongSum { expected, found, what } = wrong;
    ConservationGap { expected, found, what }
}

fn breach(found: FateBreach) -> ShownBreach {
    let FateBreach { at_us, scope, is_sync, first, end, expected, found, what } = found;
    let of_ranges = end.offset > 0;
    ShownBreach {
        found_at: time::format(at_us),
        scope,
        is_sync,
        first: of_ranges.then(|| first.to_string()),
        end: of_ranges.then(|| end.to_string()),
        gap: ConservationGap { expected, found, what },
    }
}

pub(super) fn numbers(counts: &FateCounts) -> FateNumbers {
    FateNumbers {
        came: counts.came,
        made: counts.made,
        duplicate: counts.duplicates,
        quarantined: counts.quarantined,
        expired: counts.expired,
        suppressed: counts.suppressed,
        dropped: counts.dropped,
        filtered: counts.filtered,
        pending: counts.pending,
        delivered: counts.delivered,
        delivered_by_ledger: counts.by_ledger,
        went_on: counts.went_on,
    }
}
