//! Messages that are no events.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_none_is_quarantined_with_its_place_and_its_neighbours_come_in() {
    let payloads = [r#"{"n":1}"#, r#"{"n":"#, r#"{"type":"identify","userId":"u","messageId":"own"}"#];
    let upstream = TestUpstream::new(payloads.map(|text| Some(text.to_owned())), 10);
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 3).await;
    until("it is counted", || stream.report().quarantined == 1).await;
    let records = stream.records();
    assert_eq!(ids(&records), ["orders/0/0", "orders/0/1", ""], "an event keeps its own id");
    assert_eq!(records[1].problem, Some(RecordProblem::Unmappable));
    assert_eq!(records[1].event, payloads[1], "as it came");
    let context = &records[1].context;
    assert!(context.contains(r#""position":"orders/0/1""#) && context.contains(r#""reason":"#), "{context}");
    assert_eq!((records[2].problem, records[2].event.as_str()), (None, payloads[2]), "events pass as they are");
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_key_each_of_its_events_would_repeat_is_quarantined_without_it() {
    let payload = |n: usize| Some(format!(r#"[{{"n":{n}}},{{"n":{n}}}]"#));
    let upstream = TestUpstream::new((0..3).map(payload), 10);
    upstream.0.lock().messages[1].key = Some(Bytes::from(vec![b'k'; 100_000]));
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 3).await;
    let records = stream.records();
    assert_eq!(ids(&records), ["orders/0/0:0", "orders/0/0:1", "orders/0/1", "orders/0/2:0", "orders/0/2:1"]);
    let quarantined = &records[2];
    assert_eq!(
        (quarantined.problem, quarantined.event.clone()),
        (Some(RecordProblem::Unmappable), payload(1).unwrap())
    );
    assert!(quarantined.context.len() < 1_000 && quarantined.context.contains("100000 bytes"), "{quarantined:?}");
    assert!(records.iter().all(|record| record.context.contains(r#""key":"k""#) == record.problem.is_none()));
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_is_quarantined_unless_the_source_passes_over_it() {
    for (tombstones, quarantined, skipped) in [(TombstoneRule::Quarantine, 1, 0), (TombstoneRule::Skip, 0, 1)] {
        let upstream = TestUpstream::new([Some(r#"{"n":1}"#.to_owned()), None], 10);
        let settings = StreamSettings { mapping: stream_mapping(), tombstones, ..StreamSettings::default() };
        let stream = TestStream::with(&upstream, settings, &Rate::default());
        upstream.until("everything is acknowledged", |held| held.acknowledged == 2).await;
        until("it is counted", || stream.report().messages == 2).await;
        let report = stream.report();
        assert_eq!((report.quarantined, report.skipped), (quarantined, skipped), "{tombstones:?}");
        assert_eq!(stream.records().len() as u64, 1 + quarantined, "{tombstones:?}");
        stream.stop().await;
    }
}
