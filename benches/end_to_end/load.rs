//! Requests by hand: built once, numbered anew each time, so that the load costs as little as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where a number stands in every event; sixteen digits.
const MARK: &str = "0000000000000000";
/// The same in the id of its user, of whom there are so many.
const USER_MARK: &str = "user-0000";
const USERS: u64 = 10_000;

pub fn single(n: u64) -> Vec<u8> {
    format!(
        r#"{{"type":"track","event":"Product Viewed","messageId":"bench-{n:016}","anonymousId":"anon-7","userId":"user-{:04}","timestamp":"2026-11-23T10:00:00.000Z","context":{{"library":{{"name":"analytics.js","version":"3.0.1"}},"locale":"en-IE","timezone":"Europe/Dublin","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","page":{{"path":"/mugs","title":"Harbour mug","url":"https://shop.example/mugs","referrer":""}}}},"properties":{{"product_id":"p-{}","name":"Harbour mug","category":"kitchen","price":14.5,"position":{},"in_stock":true}},"integrations":{{}}}}"#,
        n % USERS,
        n % 50,
        n % 40
    )
    .into_bytes()
}

pub fn batch(n: u64) -> Vec<u8> {
    let events: Vec<String> = (0..100).map(|at| String::from_utf8(single(n * 100 + at)).unwrap_or_default()).collect();
    format!(r#"{{"batch":[{}],"sentAt":"2026-11-23T10:00:01.000Z"}}"#, events.join(",")).into_bytes()
}

/// A track with so many properties, half of them numbers.
pub fn wide(properties: u64) -> String {
    let property = |at| match at % 2 {
        0 => format!(r#""number_{at:03}":{}.5"#, at * 7),
        _ => format!(r#""text_{at:03}":"value {at}""#),
    };
    let properties: Vec<String> = (0..properties).map(property).collect();
    format!(
        r#"{{"type":"track","event":"Wide","messageId":"bench-{MARK}","userId":"{USER_MARK}","properties":{{{}}}}}"#,
        properties.join(",")
    )
}

/// The name of the events of [`filler`].
pub const FILLER: &str = "Filler";

/// A track of a few bytes, for its id.
pub fn filler() -> String {
    format!(r#"{{"type":"track","event":"{FILLER}","messageId":"bench-{MARK}","userId":"u"}}"#)
}

/// What a run gave.
pub struct Outcome {
    pub events: u64,
    pub refused: u64,
    took: Duration,
    /// Milliseconds, ascending.
    latencies: Vec<f32>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    pub fn quantile(&self, q: f64) -> f32 {
        let at = ((self.latencies.len() as f64 * q) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or(0.0)
    }
}

/// One kind of request to one server.
pub struct Load {
    address: String,
    request: Vec<u8>,
    /// Where the numbers stand, and those of users.
    marks: Vec<usize>,
    user_marks: Vec<usize>,
    events: u64,
    next: AtomicU64,
}

impl Load {
    pub fn single(address: &str, key: &str) -> Self {
        Self::new(address, key, "/v1/track", &single(0), 1)
    }

    pub fn batch(address: &str, key: &str) -> Self {
        Self::batches_of(address, key, &String::from_utf8(single(0)).unwrap_or_default())
    }

    /// Batches of 100 such events; numbers differ from event to event, and the template has them all at zero.
    pub fn batches_of(address: &str, key: &str, event: &str) -> Self {
        // A request holds 500 kB.
        let events = if event.len() < 4_500 { 100 } else { 25 };
        let body = format!(r#"{{"batch":[{}],"sentAt":"2026-11-23T10:00:01.000Z"}}"#, vec![event; events].join(","));
        Self::new(address, key, "/v1/batch", body.as_bytes(), events as u64)
    }

    fn new(address: &str, key: &str, path: &str, body: &[u8], events: u64) -> Self {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{key}:"));
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {basic}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let marks = memchr::memmem::find_iter(&request, MARK).collect();
        let user_marks = memchr::memmem::find_iter(&request, USER_MARK).map(|at| at + USER_MARK.len() - 4).collect();
        Self { address: address.to_owned(), request, marks, user_marks, events, next: AtomicU64::new(1) }
    }

    /// With numbers that no other load has.
    pub fn numbered_from(self, first: u64) -> Self {
        self.next.store(first, Ordering::Relaxed);
        self
    }

    /// As fast as it goes.
    pub async fn closed(self, connections: usize, length: Duration) -> Outcome {
        let until = Instant::now() + length;
        self.run(connections, move |_, _| (Instant::now() < until).then(Instant::now)).await
    }

    /// So many events and no more, as fast as it goes.
    pub async fn count(self, connections: usize, events: u64) -> Outcome {
        let each = events / self.events / connections as u64;
        self.run(connections, move |_, sent| (sent < each).then(Instant::now)).await
    }

    /// At `rate` events a second, whatever becomes of the requests before.
    pub async fn open(self, connections: usize, length: Duration, rate: f64) -> Outcome {
        let gap = Duration::from_secs_f64(connections as f64 * self.events as f64 / rate);
        let started = Instant::now();
        self.run(connections, move |connection, sent| {
            let offset = gap.mul_f64(connection as f64 / connections as f64);
            let due = started + offset + gap.mul_f64(sent as f64);
            (due < started + length).then_some(due)
        })
        .await
    }

    /// `due` says when request number `sent` of a connection should leave; `None` ends it.
    async fn run(
        self,
        connections: usize,
        due: impl Fn(usize, u64) -> Option<Instant> + Send + Sync + 'static,
    ) -> Outcome {
        let (load, due) = (Arc::new(self), Arc::new(due));
        let started = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|connection| {
                let (load, due) = (Arc::clone(&load), Arc::clone(&due));
                tokio::spawn(async move { load.connection(connection, &*due).await })
            })
            .collect();
        let (mut latencies, mut refused) = (Vec::new(), 0);
        for task in tasks {
            let (more, bad) = task.await.expect("the task ran");
            latencies.extend(more);
            refused += bad;
        }
        let took = started.elapsed();
        latencies.sort_unstable_by(f32::total_cmp);
        Outcome { events: latencies.len() as u64 * load.events, refused, took, latencies }
    }

    async fn connection(
        &self,
        number: usize,
        due: &(impl Fn(usize, u64) -> Option<Instant> + Sync),
    ) -> (Vec<f32>, u64) {
        let mut stream = TcpStream::connect(&self.address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        let mut request = self.request.clone();
        let mut answer = vec![0; 4096];
        let (mut latencies, mut refused, mut sent) = (Vec::new(), 0, 0);
        while let Some(at) = due(number, sent) {
            tokio::time::sleep_until(at.into()).await;
            let first = self.next.fetch_add(self.events, Ordering::Relaxed);
            for (n, mark) in (first..).zip(&self.marks) {
                write_number(n, &mut request[*mark..*mark + MARK.len()]);
            }
            for (n, mark) in (first..).zip(&self.user_marks) {
                write_number(n % USERS, &mut request[*mark..*mark + 4]);
            }
            stream.write_all(&request).await.expect("the server reads");
            if read(&mut stream, &mut answer).await {
                latencies.push(at.elapsed().as_secs_f32() * 1e3);
            } else {
                refused += 1;
            }
            sent += 1;
        }
        (latencies, refused)
    }
}

fn write_number(mut n: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Reads one answer; true when it is 200.
async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let mut have = 0;
    loop {
        let got = stream.read(&mut buffer[have..]).await.expect("the server answers");
        assert!(got > 0, "the server closed the connection");
        have += got;
        let Some(head) = memchr::memmem::find(&buffer[..have], b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]);
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        if have >= head + 4 + length.unwrap_or(0) {
            return buffer.starts_with(b"HTTP/1.1 200");
        }
    }
}
