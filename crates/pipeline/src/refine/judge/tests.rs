//! Log ranges that are read by several threads.

use super::*;
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
