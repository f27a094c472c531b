//! The way out, against a real far side that behaves badly and a resolver that lies.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_net::outbound::{
    AllowedOrigin, Method, OutboundClient, OutboundError, OutboundRequest, OutboundResponse, OutboundRule,
    OutboundSettings, Policy, RequestSigning, Resolve, Secrets, SigningDigest,
};

use crate::support::far::{Act, Far};

/// Answers each look-up with the next of its answers, and the last for ever.
struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Resolve for Scripted {
    fn resolve(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

fn settings(origin: &str, private: &[&str]) -> OutboundSettings {
    let origin: AllowedOrigin = origin.parse().unwrap();
    let policy = Policy {
        asked: vec![OutboundRule { origin: origin.clone(), methods: vec![Method::GET, Method::POST] }],
        granted: vec![origin],
        private_hosts: private.iter().map(|&host| host.to_owned()).collect(),
        ca_file: None,
    };
    OutboundSettings::new(policy, Duration::from_secs(30))
}

fn resolved(mut settings: OutboundSettings, answers: &[&[&str]]) -> (OutboundSettings, Arc<AtomicUsize>) {
    let addresses = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let answers = Mutex::new(answers.iter().map(addresses).collect());
    settings.resolver = Arc::new(Scripted { answers, asked: Arc::clone(&asked) });
    (settings, asked)
}

fn post(url: &str) -> OutboundRequest {
    OutboundRequest { method: Method::POST, url: url.to_owned(), headers: Vec::new(), body: "{}".into() }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn send(settings: OutboundSettings, request: &OutboundRequest) -> Result<OutboundResponse, OutboundError> {
    block_on(async { OutboundClient::open(settings).unwrap().send(request).await })
}

fn refusal(result: Result<OutboundResponse, OutboundError>) -> (&'static str, String) {
    match result {
        Err(OutboundError::Refused(refusal)) => (refusal.code, refusal.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_with_a_private_address_is_refused_by_name_address_and_setting() {
    for address in
        ["127.0.0.1", "169.254.169.254", "10.0.0.8", "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "64:ff9b::7f00:1"]
    {
        let (settings, _) = resolved(settings("http://inside.example.com", &[]), &[&[address]]);
        let (code, reason) = refusal(send(settings, &post("http://inside.example.com/")));
        assert_eq!(code, "private-address", "{address}");
        for part in ["inside.example.com", "allow_private_hosts"] {
            assert!(reason.contains(part), "{reason}");
        }
    }
    let (code, reason) = refusal(send(settings("http://localhost:1", &[]), &post("http://localhost:1/")));
    assert!(code == "private-address" && reason.contains("127.0.0.1"), "{reason}");
}

#[test]
fn of_several_addresses_only_global_ones_are_connected_to() {
    let far = Far::new(|_| Act::status(200));
    let origin = format!("http://both.example.com:{}", far.port);
    // The global address is one that nobody answers at; the private one, where the far side is, is never tried.
    let (mut settings, _) = resolved(settings(&origin, &[]), &[&["127.0.0.1", "2001:200::1"]]);
    settings.timeout = Duration::from_millis(300);
    let result = send(settings, &post(&origin));
    assert!(matches!(result, Err(OutboundError::Away(_) | OutboundError::Slow(_))), "{result:?}");
    assert!(far.seen().is_empty());
}

#[test]
fn a_name_that_changes_its_address_gains_nothing() {
    let far = Far::new(|_| Act::status(200));
    let origin = format!("http://rebind.example.com:{}", far.port);
    // Looked up once for one connection: what was checked is what is connected to.
    let (settings, asked) = resolved(settings(&origin, &[]), &[&["127.0.0.1"], &["127.0.0.1"]]);
    assert_eq!(refusal(send(settings, &post(&origin))).0, "private-address");
    assert_eq!((asked.load(Ordering::SeqCst), far.seen().len()), (1, 0));
    // The workspace grants that very name and no other.
    let (granted, _) = resolved(self::settings(&origin, &["rebind.example.com"]), &[&["127.0.0.1"]]);
    assert_eq!(send(granted, &post(&origin)).unwrap().status, 200);
    let (other, _) = resolved(self::settings(&origin, &["example.com"]), &[&["127.0.0.1"]]);
    assert_eq!(refusal(send(other, &post(&origin))).0, "private-address");
}

#[test]
fn each_new_connection_is_checked_anew() {
    let far = Far::new(|received| match received.connection {
        0 => Act::Reset,
        _ => Act::status(200),
    });
    let origin = format!("http://rebind.example.com:{}", far.port);
    let (settings, asked) = resolved(settings(&origin, &["rebind.example.com"]), &[&["127.0.0.1"], &["127.0.0.1"]]);
    block_on(async {
        let client = OutboundClient::open(settings).unwrap();
        assert!(matches!(client.send(&post(&origin)).await, Err(OutboundError::Away(_))));
        assert_eq!(client.send(&post(&origin)).await.unwrap().status, 200);
    });
    let connections: Vec<_> = far.seen().iter().map(|received| received.connection).collect();
    assert_eq!((connections, asked.load(Ordering::SeqCst)), (vec![0, 1], 2));
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let inside = Far::new(|_| Act::status(200));
    let target = inside.origin();
    let far = Far::new(move |_| Act::Reply(302, vec![("location", format!("{target}/latest/meta-data"))], Vec::new()));
    let response = send(settings(&far.origin(), &["127.0.0.1"]), &post(&far.origin())).unwrap();
    assert_eq!(response.status, 302);
    assert!(response.header("location").unwrap().ends_with("/latest/meta-data"));
    assert!(inside.seen().is_empty());
}

#[test]
fn an_answer_is_bounded_in_bytes_and_time() {
    let far = Far::new(|received| match received.path.as_str() {
        "/endless" => Act::Endless,
        "/drip" => Act::Drip,
        "/hang" => Act::Hang,
        "/broken" => Act::Broken,
        _ => Act::Reply(200, Vec::new(), vec![b'y'; 200_000]),
    });
    let send = |path: &str, timeout| {
        let mut settings = settings(&far.origin(), &["127.0.0.1"]);
        settings.timeout = timeout;
        send(settings, &post(&format!("{}{path}", far.origin())))
    };
    let patient = Duration::from_secs(30);
    assert_eq!(send("/endless", patient).unwrap().body.len(), 64 << 10);
    assert_eq!(send("/large", patient).unwrap().body.len(), 64 << 10);
    assert!(matches!(send("/broken", patient), Err(OutboundError::Away(_))));
    for path in ["/drip", "/hang"] {
        assert_eq!(
            send(path, Duration::from_millis(200)),
            Err(OutboundError::Slow(Duration::from_millis(200))),
            "{path}"
        );
    }
}

#[test]
fn an_echoed_secret_is_not_handed_on() {
    let far = Far::new(|received| {
        let echoed = received.header("x-key").unwrap().to_owned();
        Act::Reply(200, vec![("x-echo", echoed.clone())], format!("you said {echoed}").into_bytes())
    });
    let mut settings = settings(&far.origin(), &["127.0.0.1"]);
    settings.secrets = Secrets::new([("key".to_owned(), "hunter2hunter2".to_owned())]);
    let mut request = post(&far.origin());
    request.headers.push(("x-key".to_owned(), "{{secret.key}}".to_owned()));
    let response = send(settings, &request).unwrap();
    assert_eq!((far.seen()[0].method.as_str(), far.seen()[0].header("x-key")), ("POST", Some("hunter2hunter2")));
    assert_eq!(response.header("x-echo"), Some("{{secret.key}}"));
    assert_eq!(response.body, b"you said {{secret.key}}");
}

#[test]
fn a_body_is_signed_as_it_is_sent() {
    let far = Far::new(|_| Act::status(200));
    let mut settings = settings(&far.origin(), &["127.0.0.1"]);
    settings.authentication = Some(RequestSigning::Hmac {
        header: "x-signature".parse().unwrap(),
        prefix: "sha256=".to_owned(),
        key: "key".to_owned(),
        digest: SigningDigest::Sha256,
    });
    let mut request = post(&far.origin());
    request.body = "The quick brown fox jumps over the lazy dog".into();
    send(settings, &request).unwrap();
    let want = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    assert_eq!(far.seen()[0].header("x-signature"), Some(want));
}

#[test]
fn a_token_is_fetched_once_for_all_and_anew_when_forgotten() {
    let fetched = AtomicUsize::new(0);
    let far = Far::new(move |received| match received.path.as_str() {
        // This one knows only the credentials in the body.
        "/token" if received.header("authorization").is_some() => Act::status(401),
        "/token" => {
            let n = fetched.fetch_add(1, Ordering::SeqCst);
            Act::Reply(200, vec![], format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#).into_bytes())
        }
        _ => Act::Reply(200, vec![], received.header("authorization").unwrap_or_default().as_bytes().to_vec()),
    });
    let mut settings = settings(&far.origin(), &["127.0.0.1"]);
    settings.authentication = Some(RequestSigning::OAuth2 {
        token_url: format!("{}/token", far.origin()),
        client_id: "me".to_owned(),
        client_secret: "s3cr3t".to_owned(),
        scopes: vec!["write".to_owned()],
    });
    let url = format!("{}/events", far.origin());
    block_on(async {
        let client = Arc::new(OutboundClient::open(settings).unwrap());
        let at_once: Vec<_> = (0..8)
            .map(|_| {
                let (client, request) = (Arc::clone(&client), post(&url));
                tokio::spawn(async move { client.send(&request).await.unwrap().body })
            })
            .collect();
        for sent in at_once {
            assert_eq!(sent.await.unwrap(), b"Bearer {{token}}");
        }
        client.forget_token().await;
        client.send(&post(&url)).await.unwrap();
    });
    let bearers: Vec<String> = far
        .seen()
        .iter()
        .filter(|r| r.path == "/events")
        .map(|r| r.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(bearers[..8], vec!["Bearer token-0".to_owned(); 8]);
    assert_eq!(bearers[8], "Bearer token-1");
    let tokens: Vec<_> = far.seen().into_iter().filter(|r| r.path == "/token").collect();
    assert_eq!(tokens.len(), 3, "a header that is refused, then the body, then the body at once");
    assert!(tokens[2].text().contains("client_secret=s3cr3t") && tokens[2].text().contains("scope=write"));
}

#[test]
fn a_token_url_outside_the_hosts_is_refused_before_anything_is_sent() {
    let far = Far::new(|_| Act::status(200));
    let mut settings = settings(&far.origin(), &["127.0.0.1"]);
    settings.authentication = Some(RequestSigning::OAuth2 {
        token_url: "https://login.evil.example/token".to_owned(),
        client_id: "me".to_owned(),
        client_secret: "s3cr3t".to_owned(),
        scopes: Vec::new(),
    });
    let (code, reason) = refusal(send(settings, &post(&far.origin())));
    assert!(code == "host-not-asked" && reason.contains("login.evil.example"), "{reason}");
    assert!(far.seen().is_empty());
}
