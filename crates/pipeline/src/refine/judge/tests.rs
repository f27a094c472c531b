//! Log ranges that are read by several threads.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate_contract::{Contract, ContractLimits, Domain};

use super::*;
use crate::refine::SourceRules;
use crate::refine::tests::written;

/// Events, some that cannot be decoded, and bytes that are no record.
fn chunk(records: u64) -> ReadChunk {
    let event = |offset: u64| match offset % 7 {
        3 => b"{\"type\":7}".to_vec(),
        _ => format!(r#"{{"type":"track","event":"E","messageId":"m{offset}"}}"#).into_bytes(),
    };
    let entry = |offset: u64| {
        let (shared, mut own) = written(&event(offset));
        if offset % 11 == 5 {
            own.truncate(1);
        }
        LogEntry { offset, shared: shared.into(), own: own.into() }
    };
    ReadChunk { records: (0..records).map(entry).collect(), damage: Vec::new(), next: records }
}

#[test]
fn on_any_number_of_threads_the_same_is_read_in_the_same_order() {
    let rules = RuleSet::default();
    for records in [0, 1, 63, 64, 65, 1_000] {
        let chunk = chunk(records);
        let seen = |threads| {
            let work = RangeWork::new(&rules, (0, 0..records), &chunk, threads);
            let decoded: Vec<_> = work
                .decoded
                .iter()
                .map(|decoded| (decoded.offset, decoded.id.clone(), decoded.event.as_ref().ok().cloned()))
                .collect();
            let quarantined: Vec<_> = work.quarantined.iter().map(|entry| entry.id).collect();
            (decoded, quarantined, work.log_range.log_bytes)
        };
        let one = seen(1);
        assert_eq!(one.0.len() + one.1.len(), usize::try_from(records).unwrap());
        for threads in [2, 3, 16] {
            assert!(seen(threads) == one, "{records} records on {threads} threads");
        }
    }
}

/// Three names of tracks, pages, and some that cannot be decoded.
fn named(records: u64) -> ReadChunk {
    let event = |offset: u64| match offset % 9 {
        3 => b"{\"type\":7}".to_vec(),
        5 => format!(r#"{{"type":"page","name":"Home","messageId":"m{offset}"}}"#).into_bytes(),
        _ => format!(r#"{{"type":"track","event":"E{}","messageId":"m{offset}"}}"#, offset % 3).into_bytes(),
    };
    let entry = |offset: u64| {
        let (shared, own) = written(&event(offset));
        LogEntry { offset, shared: shared.into(), own: own.into() }
    };
    ReadChunk { records: (0..records).map(entry).collect(), damage: Vec::new(), next: records }
}

/// Lets tracks with these names through and pages, and blocks all others.
fn declaring(names: &[&str]) -> RuleSet {
    let domain = json!({"name": "shop", "onUndeclaredSchema": "BLOCK_EVENT"});
    let mut files = BTreeMap::from([("domains/shop/domain.yaml".to_owned(), domain)]);
    files.insert("domains/shop/page.yaml".to_owned(), json!({"type": "page", "schema": {"type": "object"}}));
    for name in names {
        let event = json!({"name": name, "type": "track", "schema": {"type": "object"}});
        files.insert(format!("domains/shop/{name}.yaml"), event);
    }
    let domains = Domain::from_files(&files, "web").unwrap();
    let contract = Contract::compile(&domains, ContractLimits::default()).unwrap();
    let of_source = SourceRules { contract: Some(Arc::new(contract)), ..SourceRules::default() };
    RuleSet { sources: HashMap::from([("web".into(), of_source)]), ..RuleSet::default() }
}

#[test]
fn how_many_go_on_under_each_key_is_known_as_if_each_was_looked_at() {
    let chunk = named(300);
    let verdict = |decoded: &Decoded| match decoded.offset % 10 {
        0 => RecordVerdict::Duplicate,
        1 => RecordVerdict::Suppressed,
        _ => RecordVerdict::GoesOn,
    };
    for (rules, names) in [(RuleSet::default(), 4), (declaring(&["E0", "E1"]), 3)] {
        let refined = |is_first: bool, retry: Option<RecordRetry>| {
            let mut work = RangeWork::new(&rules, (0, 0..300), &chunk, 1);
            work.decoded[2].retry = retry;
            let verdicts: Vec<_> = work.decoded.iter().map(verdict).collect();
            work.finish(&verdicts, is_first);
            work.log_range.plain("web")
        };
        let first = refined(true, None);
        let mut one_by_one: BTreeMap<(i64, String), i64> = BTreeMap::new();
        for event in &first.events {
            let (hour, name) = key_of(event);
            *one_by_one.entry((hour, name.to_owned())).or_default() += 1;
        }
        let keys = first.keys.as_deref().unwrap().iter();
        let keys: BTreeMap<_, _> = keys.map(|key| ((key.hour, key.name.to_string()), key.events)).collect();
        assert_eq!(keys, one_by_one);
        assert_eq!(keys.len(), names);
        assert!(refined(false, None).keys.is_none(), "it is counted the first time alone");
        let position = Position::new(0, 1);
        let mark = RetryMark { position, part: 0, attempt: 1, stage: "destination", scope: "crm", for_sync: "crm" };
        assert!(refined(true, Some(RecordRetry::of(mark))).keys.is_none(), "a retry for one sync is not for all");
    }
}
