//! A small HTTP server for tests: one thread for each connection, requests answered by a function.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A request, its body unpacked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the far side does.
#[derive(Debug)]
pub enum WebReply {
    Answer(u16, Vec<u8>),
    /// Takes the request and closes the connection.
    Nothing,
}

impl WebReply {
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::Answer(status, value.to_string().into_bytes())
    }
}

/// Serves until the process ends; answers the port.
pub fn serve(answer: impl Fn(&Request) -> WebReply + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || while one(&stream, &*answer).is_some() {});
        }
    });
    port
}

fn one(stream: &TcpStream, answer: &dyn Fn(&Request) -> WebReply) -> Option<()> {
    let request = read(stream)?;
    match answer(&request) {
        WebReply::Answer(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\nETag: \"etag\"\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut stream = stream;
            stream.write_all(&[head.as_bytes(), &body].concat()).ok()
        }
        WebReply::Nothing => {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            None
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    if request.body.starts_with(&[0x1f, 0x8b]) && request.header("content-encoding") == Some("gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*request.body).read_to_end(&mut plain).ok()?;
        request.body = plain;
    }
    Some(request)
}

/// Sends a request on to another server on this machine, with the headers that matter.
pub fn forward(request: &Request, port: u16) -> Option<WebReply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n", request.method, request.target);
    for name in ["authorization", "content-type", "accept"] {
        if let Some(value) = request.header(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body.len()));
    stream.write_all(&[head.as_bytes(), &request.body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()?;
    Some(WebReply::Answer(status, answer[end + 4..].to_vec()))
}
