//! A door whose entrance is replaced while requests are under way.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tidegate_log::{Log, LogPartitions, LogSettings, SegmentLog};
use tidegate_metrics::EngineMetrics;
use tokio::runtime::Runtime;

use super::*;

/// A door on a log of its own.
struct OpenDoor {
    address: SocketAddr,
    entrance: watch::Sender<Arc<Entrance>>,
    log: Arc<SegmentLog>,
    counts: Arc<IntakeCounts>,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
    _dir: tempfile::TempDir,
}

/// A key and what it opens.
type Opens<'a> = (&'a str, &'a str, Option<i64>);

fn settings(keys: &[Opens<'_>], rate: &Rate, paused: &[&str]) -> EntranceSettings {
    let hasher = KeyHasher::new(&[1; 32]);
    let key = |(text, source, ends_at_us): &Opens<'_>| WriteKey {
        source: (*source).into(),
        name: format!("of {text}").into(),
        origin: KeyOrigin::File,
        hash: hasher.hash(text),
        created_at_us: 0,
        ends_at_us: *ends_at_us,
        uses: Arc::default(),
    };
    let sources: HashSet<&str> = keys.iter().map(|(_, source, _)| *source).collect();
    EntranceSettings {
        keys: WriteKeys::new(hasher.clone(), keys.iter().map(key)),
        rates: sources.into_iter().map(|source| (source.to_owned(), rate.clone())).collect(),
        paused: paused.iter().map(|source| Arc::from(*source)).collect(),
        webhooks: Vec::new(),
    }
}

impl OpenDoor {
    fn new(keys: &[Opens<'_>], rate: &Rate) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
        drop(writer.run().unwrap());
        let log = Arc::new(log);
        let first = Entrance::new(settings(keys, rate, &[]), 2, Instant::now());
        let entrance = watch::Sender::new(Arc::new(first));
        let settings = IngestSettings {
            limits: RequestLimits::default(),
            connections: net::ConnectionLimits::default(),
            trusted_proxies: Vec::new(),
            public_host: None,
            browser_cookies: BrowserCookies::default(),
            tls: None,
        };
        let (counts, runtime) = (Arc::new(IntakeCounts::default()), Runtime::new().unwrap());
        let server = {
            let _entered = runtime.enter();
            let log = LogPartitions::new(vec![Arc::clone(&log) as Arc<dyn Log>]);
            let has_breach = watch::channel(false).1;
            let alone = vec![DoorEnvironment {
                entrance: entrance.subscribe(),
                log,
                has_breach,
                metrics: EngineMetrics::default(),
            }];
            IngestServer::open(([127, 0, 0, 1], 0).into(), settings, alone, Arc::clone(&counts)).unwrap()
        };
        let address = server.address().unwrap();
        let (stop, stops) = watch::channel(false);
        runtime.spawn(server.run(stops));
        Self { address, entrance, log, counts, _stop: stop, _runtime: runtime, _dir: dir }
    }

    fn change(&self, keys: &[Opens<'_>], rate: &Rate, paused: &[&str]) {
        self.entrance.send_modify(|now| {
            *now = Arc::new(now.followed_by(settings(keys, rate, paused), Instant::now()));
        });
    }

    /// A request whose head has been read, and its key, but not its body.
    fn begin(&self, query: &str, body: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head = format!(
            "POST /v1/track{query} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).unwrap();
        // It is asked for when the body is waited for, which is after the key was looked at.
        let mut answer = [0; 25];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"HTTP/1.1 100 Continue\r\n\r\n");
        client
    }

    /// Sends a body behind its head: the status, and the whole answer.
    fn end(&self, mut client: TcpStream, body: &str) -> (u16, String) {
        client.write_all(body.as_bytes()).unwrap();
        answer(client)
    }

    fn send(&self, key: &str) -> (u16, String) {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (body, length) = (EVENT, EVENT.len());
        let head = format!("POST /v1/track?writeKey={key} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(format!("{head}{body}").as_bytes()).unwrap();
        answer(client)
    }

    fn uses(&self, name: &str) -> (u64, bool) {
        let entrance = self.entrance.borrow();
        let key = entrance.write_keys().find(|key| *key.name == *name).unwrap();
        (key.uses.events(), key.uses.last_us().is_some())
    }
}

/// Reads until the length that the head names.
fn answer(mut client: TcpStream) -> (u16, String) {
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    loop {
        let length = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let (_, rest) = head.split_once("content-length: ")?;
            Some(rest.lines().next()?.parse::<usize>().ok()? <= body.len())
        });
        if length == Some(true) {
            return (text[9..12].parse().unwrap(), text);
        }
        let read = client.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

const EVENT: &str = r#"{"event":"E","userId":"u"}"#;
const INSIDE: &str = r#"{"event":"E","userId":"u","writeKey":"a"}"#;

#[test]
fn a_key_that_is_taken_away_while_a_body_arrives_is_refused() {
    let door = OpenDoor::new(&[("a", "web", None), ("b", "web", None)], &Rate::default());
    for (query, body) in [("?writeKey=a", EVENT), ("", INSIDE)] {
        door.change(&[("a", "web", None), ("b", "web", None)], &Rate::default(), &[]);
        let (going, staying) = (door.begin(query, body), door.begin("?writeKey=b", EVENT));
        let before = door.log.committed();
        door.change(&[("b", "web", None)], &Rate::default(), &[]);
        let (status, text) = door.end(going, body);
        assert_eq!(status, 401, "{query}: {text}");
        assert!(text.contains("unknown-write-key"), "{text}");
        assert_eq!(door.log.committed(), before, "{query}: nothing of it is kept");
        assert_eq!(door.end(staying, EVENT).0, 200, "{query}: the other key's client notices nothing");
        assert_eq!(door.log.committed(), before + 1);
        assert_eq!(door.send("a").0, 401);
    }
    assert_eq!(door.counts.accepted.load(Ordering::Relaxed), 2);
}

#[test]
fn what_changes_while_a_body_arrives_counts_for_it() {
    let free = Rate::default();
    let door = OpenDoor::new(&[("a", "web", None)], &free);
    let ends = |ends| [("a", "web", Some(ends))];
    let limit = Rate { events: Some(0.001), burst: Duration::from_secs(1_000), ..Rate::default() };
    type Change<'c> = (&'c [Opens<'c>], &'c Rate, &'c [&'c str]);
    let cases: [(&str, Change<'_>, &str, u16); 6] = [
        ("an end that has come", (&ends(1), &free, &[]), "unknown-write-key", 401),
        ("an end that is far", (&ends(i64::MAX), &free, &[]), "success", 200),
        ("another source", (&[("a", "app", None)], &free, &[]), "too-busy", 429),
        ("a pause", (&[("a", "web", None)], &free, &["web"]), "source-paused", 503),
        ("a pause of another source", (&[("a", "web", None)], &free, &["app"]), "success", 200),
        ("no change at all", (&[("a", "web", None)], &free, &[]), "success", 200),
    ];
    for (what, (keys, rate, paused), code, status) in cases {
        door.change(&[("a", "web", None)], &free, &[]);
        let client = door.begin("?writeKey=a", EVENT);
        door.change(keys, rate, paused);
        let (found, text) = door.end(client, EVENT);
        assert_eq!(found, status, "{what}: {text}");
        assert!(text.contains(code), "{what}: {text}");
    }
    // A limit that came meanwhile: the request that was under way is charged by the new meter.
    door.change(&[("a", "web", None)], &free, &[]);
    let client = door.begin("?writeKey=a", EVENT);
    door.change(&[("a", "web", None)], &limit, &[]);
    assert_eq!(door.end(client, EVENT).0, 200);
    assert_eq!([door.send("a").0, door.send("a").0], [200, 429], "one was there at once, and one may be owed");
}

#[test]
fn a_paused_source_says_later_before_it_reads_a_body() {
    let door = OpenDoor::new(&[("a", "web", None), ("b", "app", None)], &Rate::default());
    door.change(&[("a", "web", None), ("b", "app", None)], &Rate::default(), &["web"]);
    let (status, text) = door.send("a");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("retry-after: 60") && text.contains("source-paused"), "{text}");
    assert_eq!(door.send("b").0, 200);
    assert_eq!(door.counts.shed.load(Ordering::Relaxed), 1);
    assert_eq!(door.uses("of a"), (0, true), "a client that waits is one that uses the key");
    door.change(&[("a", "web", None), ("b", "app", None)], &Rate::default(), &[]);
    assert_eq!(door.send("a").0, 200);
}

#[test]
fn two_keys_of_a_source_are_counted_each_for_itself_over_every_change() {
    let all = [("a", "web", None), ("b", "web", None)];
    let door = OpenDoor::new(&all, &Rate::default());
    assert_eq!(door.uses("of a"), (0, false));
    assert_eq!([door.send("a").0, door.send("a").0, door.send("wrong").0], [200, 200, 401]);
    assert_eq!((door.uses("of a"), door.uses("of b")), ((2, true), (0, false)));
    door.change(&all, &Rate::default(), &[]);
    assert_eq!([door.send("a").0, door.send("b").0], [200, 200]);
    assert_eq!((door.uses("of a"), door.uses("of b")), ((3, true), (1, true)));
    // The old one gets an end, and its clients are refused from then on; the new one's notice nothing.
    door.change(&[("a", "web", Some(1)), ("b", "web", None)], &Rate::default(), &[]);
    assert_eq!([door.send("a").0, door.send("b").0], [401, 200]);
    assert_eq!((door.uses("of a"), door.uses("of b")), ((3, true), (2, true)));
}

#[test]
fn an_entrance_is_held_until_its_last_request_is_over() {
    let keys = [("a", "web", None)];
    let door = OpenDoor::new(&keys, &Rate::default());
    let client = door.begin("?writeKey=a", EVENT);
    let old = Arc::downgrade(&door.entrance.borrow());
    door.change(&keys, &Rate::default(), &[]);
    assert!(old.upgrade().is_some(), "the request has it");
    assert_eq!(door.end(client, EVENT).0, 200);
    assert!(old.upgrade().is_none());
}

/// An environment with these keys, and what holds its entrance and its log.
fn environment(keys: &[Opens<'_>]) -> (DoorEnvironment, watch::Sender<Arc<Entrance>>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (log, _, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
    let entrance =
        watch::Sender::new(Arc::new(Entrance::new(settings(keys, &Rate::default(), &[]), 2, Instant::now())));
    let log = LogPartitions::new(vec![Arc::new(log) as Arc<dyn Log>]);
    let has_breach = watch::channel(false).1;
    let metrics = EngineMetrics::default();
    (DoorEnvironment { entrance: entrance.subscribe(), log, has_breach, metrics }, entrance, dir)
}

#[test]
fn a_key_opens_the_environment_that_it_is_of_and_the_first_candidate_counts() {
    let (first, _kept_first, _log_of_first) = environment(&[("a", "web", None), ("both", "web", None)]);
    let (second, _kept_second, _log_of_second) = environment(&[("b", "web", None), ("both", "app", None)]);
    let all = DoorEnvironments::new(vec![first, second]);
    let opened = |candidates: &[&str]| {
        let candidates: Vec<String> = candidates.iter().map(|text| (*text).to_owned()).collect();
        let opened = all.open(&candidates, 0).unwrap();
        opened.map(|opened| (opened.at, opened.key.name.to_string()))
    };
    assert_eq!(opened(&["a"]), Some((0, "of a".to_owned())));
    assert_eq!(opened(&["b"]), Some((1, "of b".to_owned())));
    assert_eq!(opened(&["both"]), Some((0, "of both".to_owned())));
    assert_eq!(opened(&["wrong", "b", "a"]), Some((1, "of b".to_owned())), "whichever environment it is of");
    assert_eq!(opened(&["wrong"]), None);
    assert_eq!(opened(&[]), None);
}

#[test]
fn one_request_tries_few_keys() {
    let (alone, _kept, _log) = environment(&[("right", "web", None)]);
    let all = DoorEnvironments::new(vec![alone]);
    let candidates = |wrong: usize| {
        let mut all: Vec<String> = (0..wrong).map(|n| format!("wrong {n}")).collect();
        all.push("right".to_owned());
        all
    };
    assert!(all.open(&candidates(key::CANDIDATES_MAX - 1), 0).unwrap().is_some());
    assert!(all.open(&candidates(key::CANDIDATES_MAX), 0).unwrap().is_none());
}
