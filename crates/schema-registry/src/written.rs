//! Events as messages of Avro: by the schema of a file, and with the id before them that a registry has for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_event::Event;
use tidegate_event::value::Value;
use tidegate_message::{AvroEncoder, SchemaFetchError, SchemaId, SchemaRegistry};
use tidegate_stream::{PayloadFormat, StreamError, StreamReply};

use super::http::HttpSchemaRegistry;
use super::settings::SchemaRegistrySettings;

/// Topics whose ids are kept. Their names may come out of events.
const TOPICS_MAX: usize = 1_000;
/// The most characters of the name of a topic.
const TOPIC_CHARS_MAX: usize = 249;

/// Where the schema of written messages is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSchemaSettings {
    pub registry: SchemaRegistrySettings,
    /// Under which subject it is; `<topic>-value` when `None`.
    pub subject: Option<String>,
    /// Whether it is registered where it is not yet. Otherwise somebody else does that, and it is looked up.
    pub registers: bool,
}

/// Writes events by a schema of Avro.
pub struct AvroPayloads {
    encoder: AvroEncoder,
    schema_text: String,
    registered: Option<WrittenSchemaSettings>,
    /// By topic, as far as messages went there.
    ids: Mutex<BTreeMap<String, SchemaId>>,
}

impl AvroPayloads {
    /// For a schema that is written so. Without settings messages have no id before them.
    ///
    /// # Errors
    /// It is no schema of Avro, and this is why.
    pub fn new(schema_text: &str, registered: Option<WrittenSchemaSettings>) -> Result<Self, String> {
        let encoder = AvroEncoder::new(schema_text)?;
        Ok(Self { encoder, schema_text: schema_text.trim().to_owned(), registered, ids: Mutex::default() })
    }

    fn encoded(&self, event: &Event) -> Result<Vec<u8>, String> {
        // The copy shares what it copies.
        self.encoder.encode(&Value::from(event.body.clone())).map_err(|error| error.to_string())
    }

    async fn ask_for(&self, settings: &WrittenSchemaSettings, topics: &BTreeSet<String>) -> Result<(), StreamError> {
        let new: Vec<&String> = {
            let ids = self.ids.lock();
            topics.iter().filter(|topic| is_topic(topic) && !ids.contains_key(*topic)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        if self.ids.lock().len() + new.len() > TOPICS_MAX {
            return Err(StreamError::Stop {
                reason: format!("its events are for more than {TOPICS_MAX} topics, each with a schema of its own"),
                advice: "write a `topic` that names fewer".to_owned(),
            });
        }
        let registry = HttpSchemaRegistry::new(&settings.registry).map_err(|error| written_error("", error))?;
        for topic in new {
            let subject = settings.subject.clone().unwrap_or_else(|| format!("{topic}-value"));
            let id = registry.id_of(&subject, &self.schema_text, settings.registers).await;
            let id = id.map_err(|error| written_error(&subject, error))?;
            self.ids.lock().insert(topic.clone(), id);
        }
        Ok(())
    }
}

/// Whether Kafka could have a topic of this name. What it could not have is refused by whoever writes, and leaves no subject behind.
fn is_topic(topic: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TOPIC_CHARS_MAX).contains(&topic.len()) && topic.bytes().all(fits) && !topic.starts_with("__")
}

impl PayloadFormat for AvroPayloads {
    fn prepare<'a>(&'a self, topics: &'a BTreeSet<String>) -> StreamReply<'a, ()> {
        Box::pin(async move {
            match &self.registered {
                Some(settings) => self.ask_for(settings, topics).await,
                None => Ok(()),
            }
        })
    }

    fn payload(&self, topic: &str, event: &Event) -> Result<Bytes, String> {
        let mut framed = Vec::new();
        if self.registered.is_some() {
            let id = self.ids.lock().get(topic).copied();
            let id =
                id.ok_or_else(|| format!("no topic can be called {topic:?}, so no schema is registered for it"))?;
            framed.push(0);
            framed.extend_from_slice(&id.0.to_be_bytes());
        }
        let encoded = self.encoded(event)?;
        framed.extend_from_slice(&encoded);
        Ok(Bytes::from(framed))
    }

    /// Without an id.
    fn sample(&self, event: &Event) -> Result<Bytes, String> {
        self.encoded(event).map(Bytes::from)
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(async move {
            let Some(settings) = &self.registered else { return Ok(Vec::new()) };
            let registry = HttpSchemaRegistry::new(&settings.registry).map_err(|error| written_error("", error))?;
            let mut found = registry.check().await.map_err(|error| written_error("", error))?;
            // To register something is no check.
            if let Some(subject) = settings.subject.as_ref().filter(|_| !settings.registers) {
                let id = registry.id_of(subject, &self.schema_text, false).await;
                let id = id.map_err(|error| written_error(subject, error))?;
                found.push(format!("it has the schema under {subject} with the id {id}"));
            }
            Ok(found)
        })
    }
}

impl fmt::Debug for AvroPayloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AvroPayloads").field("registered", &self.registered).finish_non_exhaustive()
    }
}

/// What a registry says of a schema that is to be written by, under this subject.
fn written_error(subject: &str, error: SchemaFetchError) -> StreamError {
    match error {
        SchemaFetchError::Away(reason) => StreamError::Retry(reason),
        SchemaFetchError::Refused { reason, advice } => StreamError::Stop { reason, advice },
        SchemaFetchError::Unusable(reason) => StreamError::Stop {
            reason: format!("the schema of the messages, under the subject {subject}: {reason}"),
            advice: "register the schema of the file there, or name the file of the schema that is there".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use tidegate_event::{EventId, EventKind};
    use tidegate_net::WebSettings;

    use super::*;
    use crate::settings::RegistryLogin;

    const SCHEMA: &str =
        r#"{"type":"record","name":"Sent","fields":[{"name":"messageId","type":"string"},{"name":"n","type":"long"}]}"#;

    fn event(body: &str) -> Event {
        Event {
            source: "web".into(),
            id: EventId::default(),
            kind: EventKind::Track,
            received_at_us: 1_714_979_290_000_001,
            body: body.parse().unwrap(),
        }
    }

    /// Answers each request with the next of these; hands on its first line and its body.
    fn server(
        answers: Vec<(&'static str, &'static str)>,
    ) -> (WrittenSchemaSettings, std::thread::JoinHandle<Vec<(String, String)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = SchemaRegistrySettings::address(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let registry = SchemaRegistrySettings { url, login: RegistryLogin::Open, web: WebSettings::default() };
        let serve = move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(&stream);
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let start = head.len();
                    assert_ne!(reader.read_line(&mut head).unwrap(), 0);
                    let line = head[start..].to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).unwrap();
                asked.push((head.lines().next().unwrap().to_owned(), String::from_utf8(sent).unwrap()));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
            asked
        };
        (WrittenSchemaSettings { registry, subject: None, registers: true }, std::thread::spawn(serve))
    }

    fn topics(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_message_stands_behind_the_id_that_the_registry_has_for_its_topic() {
        let (settings, asked) = server(vec![
            ("200 OK", r#"{"id":258}"#),
            ("200 OK", r#"{"id":3}"#),
            ("503 Busy", ""),
            ("200 OK", r#"{"id":3}"#),
        ]);
        let format = AvroPayloads::new(SCHEMA, Some(settings)).unwrap();
        // A topic that cannot be is asked for by nobody.
        format.prepare(&topics(&["a", "b", "no topic", "__own"])).await.unwrap();
        assert!(matches!(format.prepare(&topics(&["a", "c"])).await, Err(StreamError::Retry(_))));
        format.prepare(&topics(&["a", "c"])).await.unwrap();
        let event = event(r#"{"messageId":"m","n":-1}"#);
        assert_eq!(format.payload("a", &event).unwrap(), &b"\0\0\0\x01\x02\x02m\x01"[..]);
        assert_eq!(format.payload("b", &event).unwrap()[..5], b"\0\0\0\0\x03"[..]);
        assert!(format.payload("no topic", &event).unwrap_err().contains("no topic"));
        let asked = asked.join().unwrap();
        let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
        let line = |topic: &str| format!("POST /subjects/{topic}-value/versions HTTP/1.1");
        assert_eq!(lines, [line("a"), line("b"), line("c"), line("c")]);
        assert_eq!(asked[0].1, serde_json::json!({ "schema": SCHEMA }).to_string());
    }

    #[tokio::test]
    async fn a_schema_that_somebody_else_registers_is_looked_up_and_stops_the_sync_where_it_is_not() {
        let missing = r#"{"error_code":40403,"message":"Schema not found"}"#;
        let (settings, asked) = server(vec![("404 Not Found", missing), ("409 Conflict", "{}")]);
        let (format, registering) = (
            AvroPayloads::new(
                SCHEMA,
                Some(WrittenSchemaSettings { subject: Some("s".to_owned()), registers: false, ..settings.clone() }),
            ),
            AvroPayloads::new(SCHEMA, Some(settings)),
        );
        for format in [format.unwrap(), registering.unwrap()] {
            let error = format.prepare(&topics(&["a"])).await.unwrap_err();
            assert!(
                matches!(&error, StreamError::Stop { reason, .. } if reason.contains("under the subject")),
                "{error}"
            );
        }
        let lines: Vec<String> = asked.join().unwrap().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, ["POST /subjects/s HTTP/1.1", "POST /subjects/a-value/versions HTTP/1.1"]);
    }

    #[test]
    fn what_does_not_fit_the_schema_names_the_field() {
        let format = AvroPayloads::new(SCHEMA, None).unwrap();
        let encoded = format.payload("a", &event(r#"{"messageId":"m","n":1}"#)).unwrap();
        assert_eq!(encoded, &b"\x02m\x02"[..]);
        for (body, field) in [
            (r#"{"messageId":"m","n":1,"other":2}"#, "the field other"),
            (r#"{"messageId":"m"}"#, "the field n"),
            (r#"{"messageId":"m","n":1.5}"#, "the field n"),
        ] {
            let reason = format.payload("a", &event(body)).unwrap_err();
            assert!(reason.contains(field), "{reason}");
        }
    }
}
