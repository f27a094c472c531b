//! E-mail over SMTP: as much of it as it takes to hand one message over.
//!
//! A name and a password go over TLS alone, or to this machine. What is in a header is one line of ASCII.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_event::time;
use tidegate_net::outbound::{Resolve as _, SystemResolver, is_global};
use tidegate_net::trust;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::channel::{AlertChannel, AlertEmail, SmtpTls};
use crate::message::AlertMessage;

/// All of it, until the message is taken.
const TIME_MAX: Duration = Duration::from_secs(20);
/// The farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Lines of one reply, and bytes of one line.
const LINES_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 2_048;
/// Of a line of a body in base64.
const BODY_LINE_BYTES: usize = 76;
/// Of a header that is encoded, in one piece.
const PIECE_CHARS: usize = 11;
/// What this program calls itself.
const OWN_NAME: &str = "tidegate";

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SmtpError {
    #[error("the mail server {host}:{port} cannot be reached: {cause}")]
    Away { host: String, port: u16, cause: std::io::Error },
    #[error(
        "{host} is at no address on the internet; add `allow_private_hosts: [\"{host}\"]` to the channel if that host is meant"
    )]
    Private { host: String },
    #[error("the mail server broke off: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the mail server does not speak TLS as it should: {0}")]
    Tls(String),
    #[error("the mail server answers {said} to {what}")]
    Refused { what: &'static str, said: String },
    #[error("the mail server takes no mail for {refused}")]
    Receivers { refused: String },
    #[error("the mail server says something that is no SMTP")]
    Strange,
    #[error("the mail server has not taken it within {} s", TIME_MAX.as_secs())]
    Slow,
}

/// A receiver whom a mail server takes no mail for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedReceiver {
    pub(crate) to: String,
    /// What the server says, with its number first.
    said: String,
}

impl RefusedReceiver {
    /// Whether the server may take it later.
    pub(crate) fn is_for_now(&self) -> bool {
        self.said.starts_with('4')
    }
}

/// Who is refused, and why.
pub(crate) fn in_words(refused: &[RefusedReceiver]) -> String {
    refused.iter().map(|one| format!("{} ({})", one.to, one.said)).collect::<Vec<String>>().join(", ")
}

/// What a connection is, with TLS or without.
trait MailStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> MailStream for S {}

/// Hands a message over. Of several receivers some may be refused: who, and why, is in the answer.
pub(crate) async fn send(
    email: &AlertEmail,
    channel: &AlertChannel,
    message: &AlertMessage,
    now_us: i64,
) -> Result<Vec<RefusedReceiver>, SmtpError> {
    let taken = timeout(TIME_MAX, exchange(email, channel, message, now_us)).await;
    let (mut session, refused) = taken.unwrap_or(Err(SmtpError::Slow))?;
    // It is taken; whether the server says farewell is its own affair.
    let _ = timeout(FAREWELL_MAX, session.say("QUIT", "QUIT", &[221])).await;
    Ok(refused)
}

async fn exchange(
    email: &AlertEmail,
    channel: &AlertChannel,
    message: &AlertMessage,
    now_us: i64,
) -> Result<(MailSession, Vec<RefusedReceiver>), SmtpError> {
    let plain = connect(email, channel).await?;
    let mut session = match email.tls {
        SmtpTls::Implicit => {
            let mut session = MailSession::new(secured(Box::new(plain), email, channel).await?);
            session.expect("the greeting", &[220]).await?;
            session
        }
        SmtpTls::None => {
            let mut session = MailSession::new(Box::new(plain));
            session.expect("the greeting", &[220]).await?;
            session
        }
        SmtpTls::StartTls => {
            let mut session = MailSession::new(Box::new(plain));
            session.expect("the greeting", &[220]).await?;
            session.say("EHLO", &format!("EHLO {OWN_NAME}"), &[250]).await?;
            session.say("STARTTLS", "STARTTLS", &[220]).await?;
            // What was said before TLS counts for nothing.
            MailSession::new(secured(session.stream, email, channel).await?)
        }
    };
    session.say("EHLO", &format!("EHLO {OWN_NAME}"), &[250]).await?;
    if let Some((user, password)) = &email.login {
        let credential = STANDARD.encode(format!("\0{user}\0{password}"));
        let login = session.say("the login", &format!("AUTH PLAIN {credential}"), &[235]).await;
        login.map_err(|error| match error {
            // Some servers repeat what they do not take.
            SmtpError::Refused { what, said } => {
                SmtpError::Refused { what, said: said.replace(&credential, "(secret)") }
            }
            error => error,
        })?;
    }
    session.say("MAIL FROM", &format!("MAIL FROM:<{}>", email.from), &[250]).await?;
    let mut refused = Vec::new();
    for to in &email.to {
        match session.say("RCPT TO", &format!("RCPT TO:<{to}>"), &[250, 251]).await {
            Ok(()) => {}
            // Somebody whom the server does not know any more keeps nobody else from being told.
            Err(SmtpError::Refused { said, .. }) => refused.push(RefusedReceiver { to: to.clone(), said }),
            Err(error) => return Err(error),
        }
    }
    if refused.len() == email.to.len() {
        return Err(SmtpError::Receivers { refused: in_words(&refused) });
    }
    session.say("DATA", "DATA", &[354]).await?;
    // A body in base64 has no line that begins with a dot.
    session.say("the message", &format!("{}\r\n.", mail(email, message, now_us)), &[250]).await?;
    Ok((session, refused))
}

async fn connect(email: &AlertEmail, channel: &AlertChannel) -> Result<TcpStream, SmtpError> {
    let AlertEmail { host, port, .. } = email;
    let away = |cause| SmtpError::Away { host: host.clone(), port: *port, cause };
    let bare = host.trim_matches(['[', ']']);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => SystemResolver.resolve(bare).await.map_err(away)?,
    };
    let is_granted = channel.private_hosts.iter().any(|granted| granted.eq_ignore_ascii_case(host));
    let was_found = !found.is_empty();
    let addresses: Vec<SocketAddr> = found
        .into_iter()
        .filter(|address| is_granted || is_global(*address))
        .map(|address| SocketAddr::new(address, *port))
        .collect();
    if addresses.is_empty() && was_found {
        return Err(SmtpError::Private { host: host.clone() });
    }
    TcpStream::connect(&*addresses).await.map_err(away)
}

async fn secured(
    stream: Box<dyn MailStream>,
    email: &AlertEmail,
    channel: &AlertChannel,
) -> Result<Box<dyn MailStream>, SmtpError> {
    let tls = |error: &dyn std::error::Error| SmtpError::Tls(error.to_string());
    let config = trust::client_config(channel.ca_file.as_deref()).map_err(|error| tls(&error))?;
    let name = ServerName::try_from(email.host.trim_matches(['[', ']']).to_owned()).map_err(|error| tls(&error))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| tls(&error))?;
    Ok(Box::new(connected))
}

struct MailSession {
    stream: Box<dyn MailStream>,
    /// What was read and belongs to the next reply.
    read: Vec<u8>,
}

impl MailSession {
    const fn new(stream: Box<dyn MailStream>) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Says a line, and reads the reply to it, which must be one of these. `what` is the line in errors: it may hold a password.
    async fn say(&mut self, what: &'static str, line: &str, wanted: &[u16]) -> Result<(), SmtpError> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.expect(what, wanted).await
    }

    async fn expect(&mut self, what: &'static str, wanted: &[u16]) -> Result<(), SmtpError> {
        for _ in 0..LINES_MAX {
            let line = self.line().await?;
            let number = line.get(..3).and_then(|digits| digits.parse::<u16>().ok()).ok_or(SmtpError::Strange)?;
            // `250-` goes on, `250 ` is the last.
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if wanted.contains(&number) {
                return Ok(());
            }
            return Err(SmtpError::Refused { what, said: line });
        }
        Err(SmtpError::Strange)
    }

    /// One line, without its end.
    async fn line(&mut self) -> Result<String, SmtpError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(SmtpError::Strange);
            }
            let mut piece = [0; 512];
            let count = self.stream.read(&mut piece).await?;
            if count == 0 {
                return Err(SmtpError::Broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.read.extend(piece.iter().take(count));
        }
    }
}

/// The whole mail, with lines that end as SMTP wants them.
fn mail(email: &AlertEmail, message: &AlertMessage, now_us: i64) -> String {
    let mut lines = vec![
        format!("From: <{}>", email.from),
        format!("To: {}", email.to.iter().map(|to| format!("<{to}>")).collect::<Vec<String>>().join(", ")),
        format!("Subject: {}", header(&format!("[tidegate] {}", message.title()))),
        format!("Date: {}", date(now_us)),
        format!("Message-ID: <{}.{}@{OWN_NAME}>", message.id, message.changes.len()),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
        String::new(),
    ];
    let body = STANDARD.encode(message.text().replace('\n', "\r\n") + "\r\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at_checked(BODY_LINE_BYTES).unwrap_or((rest, ""));
        lines.push(line.to_owned());
        rest = behind;
    }
    lines.join("\r\n")
}

/// Text for a header: as it is where it is plain, else in pieces of base64.
fn header(text: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(is_plain) && text.len() < 200 {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let pieces = chars.chunks(PIECE_CHARS).map(|piece| {
        let piece: String = piece.iter().collect();
        format!("=?UTF-8?B?{}?=", STANDARD.encode(piece))
    });
    pieces.collect::<Vec<String>>().join("\r\n ")
}

/// `30 Nov 2026 10:00:00 +0000`.
fn date(now_us: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time::format(now_us);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"Jan");
    format!("{} {month} {} {} +0000", part(8, 10), part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{AlertCondition, AlertRule};

    /// A mail server that takes everything but mail for somebody who is gone, repeats a login that it does not want, and says no farewell.
    async fn hung(listener: tokio::net::TcpListener, wants_logins: bool) {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 here\r\n").await.unwrap();
        let mut said = String::new();
        let mut piece = [0; 4_096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            said.push_str(&String::from_utf8_lossy(&piece[..count]));
            if !said.ends_with("\r\n") {
                continue;
            }
            let line = std::mem::take(&mut said);
            let reply = match line.as_str() {
                "QUIT\r\n" => continue,
                "DATA\r\n" => "354 go on\r\n".to_owned(),
                to if to.starts_with("RCPT TO:<gone") => "550 5.1.1 no such user\r\n".to_owned(),
                to if to.starts_with("RCPT TO:<full") => "452 4.2.2 no room\r\n".to_owned(),
                login if login.starts_with("AUTH") && !wants_logins => format!("535 no {login}"),
                login if login.starts_with("AUTH") => "235 in\r\n".to_owned(),
                _ => "250 fine\r\n".to_owned(),
            };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_mail_that_is_taken_is_delivered_though_nobody_says_farewell_and_no_error_repeats_a_login() {
        for wants_logins in [true, false] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let email = AlertEmail {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                tls: SmtpTls::None,
                login: Some(("tide".to_owned(), "s3cr3t-word".to_owned())),
                from: "a@example.com".to_owned(),
                to: vec!["b@example.com".to_owned()],
            };
            let server = tokio::spawn(hung(listener, wants_logins));
            let channel = AlertChannel {
                name: "mail".to_owned(),
                kind: crate::channel::ChannelKind::Email(email.clone()),
                private_hosts: vec!["127.0.0.1".to_owned()],
                ca_file: None,
            };
            let rule = AlertRule::new("late", AlertCondition::Conservation);
            let message = AlertMessage::test("7".to_owned(), "default", &rule, 0);
            let sent = send(&email, &channel, &message, 0).await.map_err(|error| error.to_string());
            if wants_logins {
                assert_eq!(sent, Ok(Vec::new()));
            } else {
                let error = sent.unwrap_err();
                assert!(error.contains("535 no AUTH PLAIN (secret)"), "{error}");
            }
            server.abort();
        }
    }

    #[tokio::test]
    async fn whoever_is_not_known_to_a_mail_server_keeps_nobody_else_from_being_told() {
        for (to, wanted) in [
            (
                vec!["gone@example.com", "b@example.com", "full@example.com"],
                Ok(("gone@example.com (550 5.1.1 no such user), full@example.com (452 4.2.2 no room)", [false, true])),
            ),
            (vec!["gone@example.com"], Err("takes no mail for gone@example.com (550 5.1.1 no such user)")),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let email = AlertEmail {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                tls: SmtpTls::None,
                login: None,
                from: "a@example.com".to_owned(),
                to: to.into_iter().map(str::to_owned).collect(),
            };
            let server = tokio::spawn(hung(listener, true));
            let channel = AlertChannel {
                name: "mail".to_owned(),
                kind: crate::channel::ChannelKind::Email(email.clone()),
                private_hosts: vec!["127.0.0.1".to_owned()],
                ca_file: None,
            };
            let rule = AlertRule::new("late", AlertCondition::Conservation);
            let message = AlertMessage::test("7".to_owned(), "default", &rule, 0);
            let sent = send(&email, &channel, &message, 0).await.map_err(|error| error.to_string());
            match wanted {
                Ok((said, are_for_now)) => {
                    let refused = sent.unwrap();
                    assert_eq!(in_words(&refused), said);
                    assert_eq!(refused.iter().map(RefusedReceiver::is_for_now).collect::<Vec<bool>>(), are_for_now);
                }
                Err(why) => assert!(sent.is_err_and(|said| said.contains(why)), "{why}"),
            }
            server.abort();
        }
    }

    #[test]
    fn a_header_is_one_line_of_ascii_whatever_is_in_it() {
        assert_eq!(header("[tidegate] FIRING a: sync b"), "[tidegate] FIRING a: sync b");
        let odd = header("caf\u{e9}\r\nBcc: <x@example.com>");
        assert!(odd.is_ascii() && odd.split("\r\n").all(|line| line.trim_start().starts_with("=?UTF-8?B?")), "{odd}");
    }

    #[test]
    fn a_mail_has_its_text_in_lines_that_every_server_takes() {
        let rule = AlertRule::new("late", AlertCondition::Conservation);
        let message = AlertMessage::test("7".to_owned(), "default", &rule, 0);
        let email = AlertEmail {
            host: "mail.example".to_owned(),
            port: 25,
            tls: SmtpTls::None,
            login: None,
            from: "a@example.com".to_owned(),
            to: vec!["b@example.com".to_owned(), "c@example.com".to_owned()],
        };
        let mail = mail(&email, &message, 1_764_496_800_000_000);
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("To: <b@example.com>, <c@example.com>") && head.contains("Subject: [tidegate] TEST late"),
            "{head}"
        );
        assert!(head.contains("Date: 30 Nov 2025 10:00:00 +0000"), "{head}");
        assert!(body.split("\r\n").all(|line| line.len() <= BODY_LINE_BYTES));
        let text = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        assert_eq!(String::from_utf8(text).unwrap().replace("\r\n", "\n").trim_end(), message.text());
    }
}
