//! How often contracts were broken over time: what refining counted, of the sources that whoever asks may view.

use std::ops::Range;

use axum::extract::State;
use serde_json::Value;
use tidegate_api_types::path;
use tidegate_api_types::violations::{
    ContractViolations, EventViolations, FieldViolations, ReleaseViolations, ViolationStep, ViolationTime,
    ViolationsQuery,
};
use tidegate_event::time;
use tidegate_state::{
    StateError, VIOLATION_DAYS_KEPT, ViolationHistory, ViolationQuery, ViolationSource, fate_hour, fate_hour_begins_us,
};

use super::asker::{OfApi, Requester};
use super::contract_traffic::ContractFiles;
use super::event_rights::AskedEvents;
use super::refused::absent;
use crate::api::extract::{Query, blocking};
use crate::api::refusal::ApiRefusal;

const HOURS_A_DAY: i64 = 24;
/// Rows of each list.
const ROWS_MAX: usize = 200;
/// What may not be viewed is not there.
const NO_DOMAIN: &str = "there is no such domain that you may see";

/// How often contracts were broken by the hour or the day, and by which events, fields and releases of clients. An event counts in the hour in which it was
/// received, under the contract of then; an event that is retried does not count again. Who may not see the events of a source, or not all of their fields,
/// gets neither releases nor names of events and fields that no contract has.
#[utoipa::path(get, path = path::CONTRACT_VIOLATIONS, tag = "contracts", operation_id = "show_contract_violations",
    params(ViolationsQuery), responses((status = 200, body = ContractViolations), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<ViolationsQuery>,
) -> Result<axum::Json<ContractViolations>, ApiRefusal> {
    let hours = hours(&query, asker.at_us)?;
    let asked = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let AskedEvents { engine, workspace, rights, masked } = asked;
    let among = match &query.domain {
        None => None,
        Some(domain) => {
            let files = shared.contract_files(&asker, &workspace).await?;
            Some(declared(&files, domain).ok_or_else(|| absent(NO_DOMAIN).in_field("domain"))?)
        }
    };
    let is_asked = |name: &str| query.source.as_deref().is_none_or(|source| source == name);
    let names = engine.names();
    let sources = names.sources.iter().filter(|name| is_asked(name) && rights.views(name, false));
    let sources: Vec<ViolationSource> = sources
        .map(|name| ViolationSource {
            source: name.clone(),
            is_masked: !rights.sees(name, false) || !masked.is_empty(),
        })
        .collect();
    let is_masked = sources.iter().any(|source| source.is_masked);
    let range = hours.clone();
    let ViolationsQuery { by, kind, event, field, release, .. } = query;
    let by_day = by.unwrap_or_default() == ViolationStep::Day;
    let asked = ViolationQuery { sources, hours, by_day, among, kind, name: event, field, release, rows_max: ROWS_MAX };
    let read = move || -> Result<ViolationHistory, StateError> { (engine.open_state)()?.violations(&asked) };
    let found = blocking(read).await?;
    let found = found.map_err(|error| ApiRefusal::failed("the counts could not be read", &error))?;
    Ok(axum::Json(ContractViolations { masked: is_masked, ..shown(found, range) }))
}

/// The hours that are asked for, as far as they are kept.
fn hours(query: &ViolationsQuery, at_us: i64) -> Result<Range<i64>, ApiRefusal> {
    let at = |field: &'static str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let wrong = || {
            let detail = format!("`{field}` is no time with its offset from UTC");
            ApiRefusal::bad("query", detail, "write it as 2026-12-31T00:00:00Z").in_field(field)
        };
        time::parse(text).map(Some).ok_or_else(wrong)
    };
    let now = fate_hour(at_us);
    let last = at("until", &query.until)?.map_or(now, |until_us| fate_hour(until_us.saturating_sub(1)).min(now));
    let first = at("since", &query.since)?.map_or(last.saturating_sub(HOURS_A_DAY - 1), fate_hour);
    let first = first.max(now - VIOLATION_DAYS_KEPT * HOURS_A_DAY);
    if first > last {
        let detail = format!("between `since` and `until` is no hour of the last {VIOLATION_DAYS_KEPT} days");
        return Err(ApiRefusal::bad("query", detail, "begin later, or end later").in_field("since"));
    }
    let first = if query.by == Some(ViolationStep::Day) { first - first.rem_euclid(HOURS_A_DAY) } else { first };
    Ok(first..last + 1)
}

/// Types and names of the events that a domain declares; a type without a name stands for all. None where there is no such domain.
fn declared(files: &ContractFiles, domain: &str) -> Option<Vec<(String, Option<String>)>> {
    let own = [format!("domains/{domain}/domain.yaml"), format!("contracts/{domain}.yaml")];
    if !own.iter().any(|name| files.contains_key(name)) {
        return None;
    }
    let folders = [format!("domains/{domain}/"), format!("contracts/{domain}/")];
    let is_event = |name: &String| {
        let below = folders.iter().find_map(|folder| name.strip_prefix(folder.as_str()));
        below.is_some_and(|below| !below.contains('/')) && !own.contains(name)
    };
    let event = |spec: &Value| {
        let kind = spec["type"].as_str()?;
        let name = spec["name"].as_str().filter(|name| !name.is_empty());
        // The name of any other is a label.
        let name = name.filter(|_| matches!(kind, "track" | "page" | "screen"));
        Some((kind.to_owned(), name.map(str::to_owned)))
    };
    Some(files.iter().filter(|(name, _)| is_event(name)).filter_map(|(_, spec)| event(spec)).collect())
}

fn shown(found: ViolationHistory, hours: Range<i64>) -> ContractViolations {
    let ViolationHistory { times, events, fields, releases, has_more } = found;
    let name = |name: String| Some(name).filter(|name| !name.is_empty());
    let by_event = events.into_iter().map(|one| EventViolations {
        kind: one.kind,
        name: name(one.name),
        events: one.span.events,
        first_at: begins(one.span.first_hour),
        last_at: begins(one.span.last_hour),
    });
    let by_field = fields.into_iter().map(|one| FieldViolations {
        source: one.source,
        kind: one.kind,
        name: name(one.name),
        field: one.field,
        rule: one.rule,
        events: one.span.events,
        first_at: begins(one.span.first_hour),
        last_at: begins(one.span.last_hour),
    });
    let by_release = releases.into_iter().map(|one| ReleaseViolations {
        release: one.release,
        events: one.span.events,
        first_at: begins(one.span.first_hour),
        last_at: begins(one.span.last_hour),
    });
    ContractViolations {
        from: begins(hours.start),
        hours: (hours.end - hours.start).unsigned_abs(),
        kept_days: VIOLATION_DAYS_KEPT.unsigned_abs(),
        events: times.iter().map(|(_, events)| events).sum(),
        times: times.into_iter().map(|(hour, events)| ViolationTime { at: begins(hour), events }).collect(),
        by_event: by_event.collect(),
        by_field: by_field.collect(),
        by_release: by_release.collect(),
        more: has_more,
        masked: false,
    }
}

fn begins(hour: i64) -> String {
    time::format(fate_hour_begins_us(hour))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An hour, counted from the epoch.
    const NOW: i64 = 500_000;

    fn asked(since: Option<i64>, until: Option<i64>, by: Option<ViolationStep>) -> Result<Range<i64>, ApiRefusal> {
        let query =
            ViolationsQuery { since: since.map(begins), until: until.map(begins), by, ..ViolationsQuery::default() };
        hours(&query, fate_hour_begins_us(NOW) + 5)
    }

    #[test]
    fn hours_count_whole_and_are_those_that_are_kept() {
        let kept = VIOLATION_DAYS_KEPT * HOURS_A_DAY;
        for (since, until, range) in [
            (None, None, NOW - 23..NOW + 1),
            (Some(NOW - 100), None, NOW - 100..NOW + 1),
            (Some(NOW - 100), Some(NOW - 90), NOW - 100..NOW - 90),
            (None, Some(NOW - 90), NOW - 114..NOW - 90),
            (Some(0), Some(NOW + 1_000), NOW - kept..NOW + 1),
        ] {
            assert_eq!(asked(since, until, None).unwrap(), range, "{since:?} {until:?}");
        }
        let day = asked(Some(NOW - 100), None, Some(ViolationStep::Day)).unwrap();
        assert_eq!((day.start.rem_euclid(HOURS_A_DAY), day.contains(&(NOW - 100))), (0, true));
        assert!(asked(Some(NOW - 5), Some(NOW - 9), None).is_err() && asked(Some(NOW + 9), None, None).is_err());
        let query = ViolationsQuery { since: Some("yesterday".to_owned()), ..ViolationsQuery::default() };
        assert!(hours(&query, 0).is_err());
    }

    #[test]
    fn a_domain_is_the_events_in_its_folder_in_both_layouts() {
        let files = ContractFiles::from([
            ("domains/shop/domain.yaml".to_owned(), json!({"name": "Shop"})),
            ("domains/shop/sold.yaml".to_owned(), json!({"type": "track", "name": "Sold"})),
            ("domains/shop/person.yaml".to_owned(), json!({"type": "identify", "name": "Person"})),
            ("domains/shop/components/price.yaml".to_owned(), json!({"type": "track", "name": "Price"})),
            ("domains/other/sold.yaml".to_owned(), json!({"type": "track", "name": "Other"})),
            ("contracts/old.yaml".to_owned(), json!({"name": "Old"})),
            ("contracts/old/page.yaml".to_owned(), json!({"type": "page"})),
        ]);
        let event = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
        assert_eq!(declared(&files, "shop"), Some(vec![event("identify", None), event("track", Some("Sold"))]));
        assert_eq!(declared(&files, "old"), Some(vec![event("page", None)]));
        assert_eq!(declared(&files, "sh"), None);
    }
}
