//! A mail server that takes everything but mail for a box that is full, and keeps what it got as text.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What `tide` shows to be let in.
pub const PASSWORD: &str = "mail-s3cr3t-0123456789";

/// A mail: its receivers, and its text.
type TakenMail = (Vec<String>, String);

/// A running mail server.
pub struct MailDouble {
    pub port: u16,
    /// Whether `full@example.com` has no room.
    pub is_full: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<TakenMail>>>,
}

impl MailDouble {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, is_full) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, full) = (Arc::clone(&taken), Arc::clone(&is_full));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), kept, full) = (stream, Arc::clone(&kept), Arc::clone(&full)) else { return };
                std::thread::spawn(move || serve(stream, &kept, &full));
            }
        });
        Self { port, is_full, taken }
    }

    /// The texts of the mails.
    pub fn mails(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    /// The texts of the mails to somebody.
    pub fn mails_to(&self, receiver: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let to_it = taken.iter().filter(|(receivers, _)| receivers.iter().any(|one| one == receiver));
        to_it.map(|(_, text)| text.clone()).collect()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<TakenMail>>, is_full: &AtomicBool) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    stream.write_all(b"220 mail.example ESMTP\r\n").ok()?;
    let mut receivers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let word = line.trim_end().to_ascii_uppercase();
        let reply: &[u8] = match () {
            () if word.starts_with("EHLO") => b"250-mail.example\r\n250 8BITMIME\r\n",
            () if word.starts_with("MAIL FROM:<") => b"250 OK\r\n",
            () if word == "RCPT TO:<FULL@EXAMPLE.COM>" && is_full.load(Ordering::Relaxed) => b"452 4.2.2 no room\r\n",
            () if word.starts_with("RCPT TO:<") => {
                receivers.push(line.trim_end().trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned());
                b"250 OK\r\n"
            }
            () if line.starts_with("AUTH PLAIN ") => {
                let credential = STANDARD.decode(line.trim_end().trim_start_matches("AUTH PLAIN ")).ok()?;
                if credential == format!("\0tide\0{PASSWORD}").as_bytes() { b"235 welcome\r\n" } else { b"535 no\r\n" }
            }
            () if word == "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                let text = body(&mut reader)?;
                kept.lock().unwrap().push((std::mem::take(&mut receivers), text));
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
