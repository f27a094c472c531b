//! A mail server that takes everything, and keeps what it got as text.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What `tide` shows to be let in.
pub const PASSWORD: &str = "mail-s3cr3t-0123456789";

/// A running mail server.
pub struct MailDouble {
    pub port: u16,
    taken: Arc<Mutex<Vec<String>>>,
}

impl MailDouble {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), kept) = (stream, Arc::clone(&kept)) else { return };
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { port, taken }
    }

    /// The texts of the mails.
    pub fn mails(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    stream.write_all(b"220 mail.example ESMTP\r\n").ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let word = line.trim_end().to_ascii_uppercase();
        let reply: &[u8] = match () {
            () if word.starts_with("EHLO") => b"250-mail.example\r\n250 8BITMIME\r\n",
            () if word.starts_with("MAIL FROM:<") || word.starts_with("RCPT TO:<") => b"250 OK\r\n",
            () if line.starts_with("AUTH PLAIN ") => {
                let credential = STANDARD.decode(line.trim_end().trim_start_matches("AUTH PLAIN ")).ok()?;
                if credential == format!("\0tide\0{PASSWORD}").as_bytes() { b"235 welcome\r\n" } else { b"535 no\r\n" }
            }
            () if word == "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                kept.lock().unwrap().push(body(&mut reader)?);
                b"250 taken\r\n"
            }
            () if word == "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n");
                return Some(());
            }
            () => b"500 what?\r\n",
        };
        stream.write_all(reply).ok()?;
    }
}

/// The text of a mail, which is in base64.
fn body(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut encoded, mut is_body) = (String::new(), false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        match line.trim_end() {
            "." => return String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
            "" => is_body = true,
            text if is_body => encoded.push_str(text),
            _ => {}
        }
    }
}
