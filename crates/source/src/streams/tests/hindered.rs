//! Streams whose way into the log is hindered: a full disk, a log without room, a registry that is away, a reader that fails.

use tidegate_message::{MessageMapping, SchemaPlace};
use tidegate_net::WebSettings;
use tidegate_schema_registry::{RegistryLogin, SchemaRegistrySettings};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_whose_being_full_is_told_late_leaves_the_records_in_their_order() {
    let upstream = TestUpstream::numbered(0, 10);
    let stream = TestStream::begin(&upstream);
    stream.log.fills.store(2, Ordering::SeqCst);
    upstream.0.lock().messages = TestUpstream::numbered(60, 10).0.lock().messages.clone();
    upstream.until("everything is acknowledged", |held| held.acknowledged == 60).await;
    let expected: Vec<String> = (0..60).map(|n| format!("orders/0/{n}")).collect();
    assert_eq!(ids(&stream.records()), expected);
    assert_eq!(stream.log.fills.load(Ordering::SeqCst), 0, "it was full");
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_seek_passes_over_what_the_log_has_no_room_for() {
    let upstream = TestUpstream::numbered(2_000, 10);
    let stream = TestStream::begin(&upstream);
    stream.log.refuses.store(true, Ordering::SeqCst);
    until("it says that it waits", || stream.report().state == StreamState::WaitingForLog).await;
    let position = SeekTarget::Position { topic: "orders".into(), partition: "0".into(), at: "1900".into() };
    let refused = stream.sources.seek(SOURCE, position).await;
    let told = |error: &StreamError| error.to_string().contains("not in the log yet");
    assert!(matches!(&refused, Err(SeekProblem::Refused(error)) if told(error)), "{refused:?}");
    stream.log.refuses.store(false, Ordering::SeqCst);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 2_000).await;
    assert_eq!(stream.records().len(), 2_000, "it went nowhere");
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_that_is_refused_leaves_the_receipts_that_are_out_as_they_were() {
    let upstream = TestUpstream::numbered(50, 10);
    let stream = TestStream::begin(&upstream);
    let refused = stream.sources.seek(SOURCE, SeekTarget::Time(0)).await;
    assert!(matches!(refused, Err(SeekProblem::Refused(_))), "{refused:?}");
    upstream.until("everything is acknowledged", |held| held.acknowledged == 50).await;
    stream.stop().await;
}

fn position(at: &str) -> SeekTarget {
    SeekTarget::Position { topic: "orders".into(), partition: "0".into(), at: at.into() }
}

/// Of messages whose schemas are in a registry that nobody answers for.
fn without_registry() -> StreamSettings {
    with_registry("http://127.0.0.1:1")
}

fn with_registry(url: &str) -> StreamSettings {
    let url = SchemaRegistrySettings::address(url).unwrap();
    let registry = SchemaRegistrySettings { url, login: RegistryLogin::Open, web: WebSettings::default() };
    StreamSettings {
        mapping: MessageMapping { schemas: SchemaPlace::Registry, ..stream_mapping() },
        registry: Some(registry),
        ..StreamSettings::default()
    }
}

/// A message that names the schema 7, and others that name none.
fn one_with_a_schema(others: usize) -> TestUpstream {
    let with_schema = std::iter::once(Some("\u{0}\u{0}\u{0}\u{0}\u{7}{}".to_owned()));
    TestUpstream::new(with_schema.chain((0..others).map(|n| Some(format!(r#"{{"n":{n}}}"#)))), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_goes_past_a_message_whose_schema_does_not_come() {
    let upstream = one_with_a_schema(3);
    let stream = TestStream::with(&upstream, without_registry(), &Rate::default());
    until("it says that it waits", || stream.report().state == StreamState::WaitingForSchemas).await;
    assert_eq!(stream.sources.seek(SOURCE, position("1")).await, Ok(()));
    until("the others are in the log", || stream.records().len() >= 3).await;
    assert_eq!(ids(&stream.records()), ["orders/0/1", "orders/0/2", "orders/0/3"]);
    assert_eq!(upstream.0.lock().opened, 2, "another reader went there");
    until("it reads", || stream.report().state == StreamState::Reading).await;
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lets_nobody_in_is_told_as_a_failure_with_what_to_correct_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answers = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = socket.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = socket.write_all(answer).await;
        }
    });
    let upstream = one_with_a_schema(0);
    let stream = TestStream::with(&upstream, with_registry(&url), &Rate::default());
    until("it says that it is refused", || stream.report().state == StreamState::RefusedSchemas).await;
    let (error, _) = stream.report().error.unwrap();
    assert!(error.contains("answers 403") && error.contains("`schema_registry`"), "{error}");
    until("it asks again", || asked.load(Ordering::SeqCst) >= 2).await;
    assert_eq!(upstream.0.lock().acknowledged, 0);
    stream.stop.send_replace(Some(Duration::ZERO));
    stream.running.await.unwrap();
    answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_for_an_operator_goes_where_it_is_sent() {
    let upstream = TestUpstream::numbered(30, 10);
    upstream.0.lock().stops_at = Some(10);
    let stream = TestStream::begin(&upstream);
    until("it says why it stands still", || stream.report().error.is_some()).await;
    let told = stream.report().error.map(|(error, _)| error);
    assert_eq!(told.as_deref(), Some("it leads nowhere; go elsewhere"));
    assert_eq!(stream.sources.seek(SOURCE, position("20")).await, Ok(()));
    upstream.until("the rest is acknowledged", |held| held.acknowledged == 30).await;
    let expected: Vec<String> = (0..10).chain(20..30).map(|n| format!("orders/0/{n}")).collect();
    assert_eq!(ids(&stream.records()), expected);
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_fails_is_told_what_came_into_the_log_before_another_takes_its_place() {
    let upstream = TestUpstream::numbered(30, 10);
    upstream.0.lock().fails_at = Some(30);
    let stream = TestStream::begin(&upstream);
    upstream.until("another reader is opened", |held| held.opened == 2).await;
    assert_eq!(ids(&stream.records()).len(), 30, "nothing came twice");
    upstream.until("everything is acknowledged", |held| held.acknowledged == 30).await;
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_fails_while_a_registry_is_away_is_given_up_in_time() {
    let upstream = one_with_a_schema(0);
    upstream.0.lock().fails_at = Some(1);
    let stream = TestStream::with(&upstream, without_registry(), &Rate::default());
    upstream.until("another reader is opened", |held| held.opened >= 2).await;
    stream.stop.send_replace(Some(Duration::ZERO));
    stream.running.await.unwrap();
}
