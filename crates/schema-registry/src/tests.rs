use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_event::value::JsonObject;
use tidegate_message::{
    MessageFormat, MessageMapping, SchemaAnswer, SchemaFetchError, SchemaId, SchemaKind, SchemaPlace, SchemaReference,
    SchemaRegistry, SchemaReply, SchemaText, UpstreamMessage,
};
use tidegate_net::WebSettings;
use tidegate_stream::{StreamError, StreamMessage};

use super::{RegisteredSchemas, RegistryLogin, SchemaRegistrySettings};

/// A registry of these schemas, by their ids and by their subjects, which counts what it is asked.
#[derive(Debug, Default)]
struct FakeRegistry {
    by_id: BTreeMap<u32, SchemaText>,
    by_subject: BTreeMap<String, SchemaText>,
    is_away: bool,
    asked: Arc<AtomicUsize>,
}

impl FakeRegistry {
    fn answer(&self, found: Option<&SchemaText>) -> Result<SchemaText, SchemaFetchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_away {
            return Err(SchemaFetchError::Away("it is away".to_owned()));
        }
        found.cloned().ok_or_else(|| SchemaFetchError::Unusable("it does not have it".to_owned()))
    }
}

impl SchemaRegistry for FakeRegistry {
    fn place(&self) -> String {
        "a registry".to_owned()
    }

    fn schema(&self, id: SchemaId) -> SchemaReply<'_, SchemaText> {
        Box::pin(async move { self.answer(self.by_id.get(&id.0)) })
    }

    fn referenced<'a>(&'a self, reference: &'a SchemaReference) -> SchemaReply<'a, SchemaText> {
        Box::pin(async move { self.answer(self.by_subject.get(&reference.subject)) })
    }

    fn check(&self) -> SchemaReply<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn schema(kind: SchemaKind, text: &str, references: &[(&str, &str)]) -> SchemaText {
    let reference = |(name, subject): &(&str, &str)| SchemaReference {
        name: (*name).to_owned(),
        subject: (*subject).to_owned(),
        version: 1,
    };
    SchemaText { kind, text: text.to_owned(), references: references.iter().map(reference).collect() }
}

fn reason(answer: &SchemaAnswer) -> &str {
    match answer {
        SchemaAnswer::Found(_) => "",
        SchemaAnswer::Unusable(reason) => reason,
    }
}

#[tokio::test]
async fn a_schema_is_asked_for_once_and_one_that_is_not_there_again_after_half_a_minute() {
    let by_id = BTreeMap::from([(1, schema(SchemaKind::Avro, "\"long\"", &[]))]);
    let registry = FakeRegistry { by_id, ..FakeRegistry::default() };
    let asked = Arc::clone(&registry.asked);
    let schemas = RegisteredSchemas::of(Box::new(registry));
    let now = Instant::now();
    for _ in 0..3 {
        assert_eq!(reason(&schemas.find(SchemaId(1), now + Duration::from_secs(90_000)).await.unwrap()), "");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for (later, times) in [(0, 2), (29, 2), (30, 3), (59, 3), (60, 4)] {
        let answer = schemas.find(SchemaId(2), now + Duration::from_secs(later)).await.unwrap();
        assert_eq!(reason(&answer), "it does not have it");
        assert_eq!(asked.load(Ordering::SeqCst), times, "{later}");
    }
}

#[tokio::test]
async fn an_id_that_no_registry_can_have_is_not_asked_for() {
    let registry = FakeRegistry { is_away: true, ..FakeRegistry::default() };
    let asked = Arc::clone(&registry.asked);
    let schemas = RegisteredSchemas::of(Box::new(registry));
    let answer = schemas.find(SchemaId(u32::MAX), Instant::now()).await.unwrap();
    assert!(reason(&answer).contains("4294967295"), "{answer:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(schemas.find(SchemaId(i32::MAX.unsigned_abs()), Instant::now()).await.is_err());
}

#[tokio::test]
async fn a_registry_that_is_away_costs_no_message() {
    let schemas = RegisteredSchemas::of(Box::new(FakeRegistry { is_away: true, ..FakeRegistry::default() }));
    let mapping =
        MessageMapping { format: MessageFormat::Avro, schemas: SchemaPlace::Registry, ..MessageMapping::default() };
    let message = StreamMessage {
        topic: "t".into(),
        topic_mark: None,
        partition: "0".into(),
        at: "1".to_owned(),
        key: None,
        payload: Some(Bytes::from_static(&[0, 0, 0, 0, 1, 2])),
        headers: Vec::new(),
        published_at_us: None,
    };
    let answers = schemas.of_messages(&mapping, &[message], Instant::now()).await;
    assert_eq!(answers, Err(StreamError::Retry("it is away".to_owned())));
}

#[tokio::test]
async fn what_a_schema_refers_to_comes_with_it_each_once() {
    let money = "syntax = \"proto3\"; package pay; message Money { int64 cents = 1; }";
    let item = "syntax = \"proto3\"; package shop; import \"money.proto\"; message Item { pay.Money price = 1; }";
    let order = "syntax = \"proto3\"; package shop; import \"item.proto\"; import \"money.proto\"; \
                 message Order { repeated Item items = 1; pay.Money total = 2; }";
    let registry = FakeRegistry {
        by_id: BTreeMap::from([(
            1,
            schema(SchemaKind::Protobuf, order, &[("item.proto", "items"), ("money.proto", "money")]),
        )]),
        by_subject: BTreeMap::from([
            ("items".to_owned(), schema(SchemaKind::Protobuf, item, &[("money.proto", "money")])),
            ("money".to_owned(), schema(SchemaKind::Protobuf, money, &[])),
        ]),
        ..FakeRegistry::default()
    };
    let asked = Arc::clone(&registry.asked);
    let schemas = RegisteredSchemas::of(Box::new(registry));
    let answer = schemas.find(SchemaId(1), Instant::now()).await.unwrap();
    assert_eq!(reason(&answer), "");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn references_without_an_end_are_bounded() {
    let circle = schema(SchemaKind::Json, "{}", &[("a", "a")]);
    let many: Vec<String> = (0..200).map(|at| format!("s{at}")).collect();
    let pairs: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let mut by_subject: BTreeMap<String, SchemaText> =
        many.iter().map(|name| (name.clone(), schema(SchemaKind::Json, "{}", &[]))).collect();
    by_subject.insert("a".to_owned(), circle.clone());
    for at in 0..30 {
        let next = format!("d{}", at + 1);
        by_subject.insert(format!("d{at}"), schema(SchemaKind::Json, "{}", &[(next.as_str(), next.as_str())]));
    }
    let by_id = BTreeMap::from([
        (1, circle),
        (2, schema(SchemaKind::Json, "{}", &pairs)),
        (3, schema(SchemaKind::Json, "{}", &[("d0", "d0")])),
        (4, schema(SchemaKind::Json, "{}", &[("x", "gone")])),
    ]);
    let schemas = RegisteredSchemas::of(Box::new(FakeRegistry { by_id, by_subject, ..FakeRegistry::default() }));
    for (id, why) in [
        (1, ""),
        (2, "it refers to more than 100 schemas"),
        (3, "its references are more than 16 levels deep"),
        (4, "it does not have it"),
    ] {
        assert_eq!(reason(&schemas.find(SchemaId(id), Instant::now()).await.unwrap()), why);
    }
}

/// Answers each request with the next of these, and hands on what was asked.
fn server(answers: Vec<(&'static str, &'static str)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/base/", listener.local_addr().unwrap());
    let serve = move || {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0);
            }
            asked.push(head);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
        asked
    };
    (address, std::thread::spawn(serve))
}

#[tokio::test]
async fn what_a_registry_answers_over_http_is_understood() {
    let (address, asked) = server(vec![
        (
            "200 OK",
            r#"{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"b\",\"type\":\"B\"}]}","references":[{"name":"B","subject":"a/b c","version":3}]}"#,
        ),
        ("200 OK", r#"{"schema":"{\"type\":\"fixed\",\"name\":\"B\",\"size\":1}","schemaType":"AVRO"}"#),
        ("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#),
        ("404 Not Found", "<html>"),
        ("401 Unauthorized", r#"{"error_code":401,"message":"no"}"#),
        ("503 Busy", ""),
        ("200 OK", r#"{"schema":"x","schemaType":"THRIFT"}"#),
        ("200 OK", r#"["a","b"]"#),
    ]);
    let url = SchemaRegistrySettings::address(&address).unwrap();
    let login = RegistryLogin::Basic { user: "me".to_owned(), password: "s3cr3t".to_owned() };
    let settings = SchemaRegistrySettings { url, login, web: WebSettings::default() };
    assert!(!format!("{settings:?}").contains("s3cr3t"));
    let schemas = RegisteredSchemas::open(&settings).unwrap();
    let now = Instant::now();
    let find = async |id| schemas.find(SchemaId(id), now).await;
    assert_eq!(reason(&find(1).await.unwrap()), "");
    let absent = find(2).await.unwrap();
    assert!(reason(&absent).ends_with("does not have it: Schema not found"), "{absent:?}");
    assert!(matches!(find(3).await, Err(SchemaFetchError::Away(reason)) if reason.contains("no schema registry")));
    assert!(
        matches!(find(4).await, Err(SchemaFetchError::Refused { reason, .. }) if reason.ends_with("answers 401: no"))
    );
    assert!(matches!(find(5).await, Err(SchemaFetchError::Away(reason)) if reason.ends_with("answers 503")));
    assert!(reason(&find(6).await.unwrap()).contains("THRIFT"));
    assert!(schemas.check().await.unwrap()[0].ends_with("has 2 subjects"));
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("GET /base/schemas/ids/1 HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[1].starts_with("GET /base/subjects/a%2Fb%20c/versions/3?deleted=true HTTP/1.1\r\n"), "{}", asked[1]);
    assert!(asked.iter().all(|head| head.contains("Basic bWU6czNjcjN0")), "{asked:?}");
    assert!(matches!(find(7).await, Err(SchemaFetchError::Away(reason)) if reason.contains("cannot be reached")));
}

#[test]
fn an_address_has_no_user_in_it() {
    for wrong in ["registry:8081", "ftp://a", "http://me:pw@a", "http://a?b=c", ""] {
        assert_eq!(SchemaRegistrySettings::address(wrong), None, "{wrong}");
    }
    assert!(SchemaRegistrySettings::address("https://a.example.com/apis/ccompat/v7").is_some());
}

#[tokio::test]
async fn answers_are_of_the_messages_that_need_them() {
    let by_id = BTreeMap::from([(1, schema(SchemaKind::Avro, "\"long\"", &[]))]);
    let schemas = RegisteredSchemas::of(Box::new(FakeRegistry { by_id, ..FakeRegistry::default() }));
    let mapping =
        MessageMapping { format: MessageFormat::Avro, schemas: SchemaPlace::Registry, ..MessageMapping::default() };
    let message = |payload: Option<&'static [u8]>| StreamMessage {
        topic: "t".into(),
        topic_mark: None,
        partition: "".into(),
        at: "1".to_owned(),
        key: None,
        payload: payload.map(Bytes::from_static),
        headers: Vec::new(),
        published_at_us: None,
    };
    let messages = [message(Some(&[0, 0, 0, 0, 1, 2])), message(None), message(Some(b"{}"))];
    let answers = schemas.of_messages(&mapping, &messages, Instant::now()).await.unwrap();
    let meta = JsonObject::new();
    let of = |bytes| {
        let upstream =
            UpstreamMessage { bytes, content_type: "", headers: &[], meta: &meta, is_http: false, position: "" };
        answers.of(&mapping, &upstream).map(reason)
    };
    assert_eq!(of(&[0, 0, 0, 0, 1, 2]), Some(""));
    assert_eq!(of(b"{}"), None);
}
