//! HTTP by hand, so that a test can say exactly what goes over the wire.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and code of an error, or just the status.
    pub fn code(&self) -> String {
        let code = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        match code.as_ref().and_then(|body| body["code"].as_str()) {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// `Basic` of a write key, as most server SDKs send it.
pub fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
}

/// One request on a connection of its own.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    try_request(address, method, path, headers, body).unwrap()
}

pub fn try_request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    ask(&mut stream, (method, path, address), headers, body)
}

/// One request, the last on a connection; `host` stands in its head.
pub fn ask(
    stream: &mut (impl Read + Write),
    (method, path, host): (&str, &str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    // A server that refuses early may close before it has read everything; its answer is what counts.
    let _ = stream.write_all(body);
    read(stream)
}

/// Reads a reply to the end of the connection.
pub fn read(stream: &mut impl Read) -> std::io::Result<Reply> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        ended?;
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    Ok(parse(&bytes, end))
}

/// A connection that is kept alive, for one request after another.
pub struct Kept {
    stream: TcpStream,
}

impl Kept {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads one reply, whose length its head declares.
    pub fn read(&mut self) -> Reply {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if bytes.len() >= end + 4 + length.map_or(0, |length| length.trim().parse().unwrap()) {
                    return parse(&bytes, end);
                }
            }
            match self.stream.read(&mut piece).unwrap() {
                0 => panic!("the connection ended after {:?}", String::from_utf8_lossy(&bytes)),
                read => bytes.extend_from_slice(&piece[..read]),
            }
        }
    }
}

fn parse(bytes: &[u8], end: usize) -> Reply {
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    Reply { status: status.unwrap_or(0), headers: headers.collect(), body: bytes[end + 4..].to_vec() }
}
