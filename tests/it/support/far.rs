//! A far side: a real HTTP server that answers as a test tells it to, badly too, and remembers what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// What the far side does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Closes the connection without a word.
    Reset,
    /// Half of a head, then the end.
    Broken,
    /// A byte now and then, for as long as the client listens.
    Drip,
    /// Nothing, for as long as the client waits.
    Hang,
    /// A body without an end.
    Endless,
}

impl Act {
    pub fn status(status: u16) -> Self {
        Self::Reply(status, Vec::new(), b"{}".to_vec())
    }
}

type Handler = dyn Fn(&Received) -> Act + Send + Sync;

/// A running far side. Its threads end with their connections.
pub struct Far {
    pub port: u16,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Far {
    pub fn new(handler: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        Self::begin(handler, true)
    }

    /// One that keeps nothing of what it gets, for many requests.
    #[allow(dead_code, reason = "the faults use it")]
    pub fn forgetful(handler: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        Self::begin(handler, false)
    }

    fn begin(handler: impl Fn(&Received) -> Act + Send + Sync + 'static, keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, shared): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&seen));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (handler, shared) = (Arc::clone(&handler), Arc::clone(&shared));
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || serve(stream, connection, &*handler, keeps.then_some(&*shared)));
            }
        });
        Self { port, seen }
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, connection: usize, handler: &Handler, seen: Option<&Mutex<Vec<Received>>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let received = read(&mut reader, connection)?;
        let act = handler(&received);
        if let Some(seen) = seen {
            seen.lock().unwrap().push(received);
        }
        match act {
            Act::Reply(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
                stream.write_all(&body).ok()?;
            }
            Act::Reset => return None,
            Act::Broken => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").ok(),
            Act::Hang => {
                let _ = reader.read(&mut [0]);
                return None;
            }
            Act::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").ok()?;
                stream.set_read_timeout(Some(Duration::from_millis(20))).ok()?;
                // A read that times out is a pause that ends early when the client leaves.
                while !matches!(reader.read(&mut [0]), Ok(0)) {
                    stream.write_all(b"x").ok()?;
                }
                return None;
            }
            Act::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
                let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
                while stream.write_all(&chunk).is_ok() {}
                return None;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received { method, path, headers, body, connection })
}
