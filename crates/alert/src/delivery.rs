//! One message to one channel.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tidegate_net::outbound::{
    AllowedOrigin, Method, OutboundClient, OutboundRequest, OutboundRule, OutboundSettings, Policy,
};
use tokio::time::timeout;

use crate::channel::{AlertChannel, ChannelKind};
use crate::message::{AlertMessage, harmless};
use crate::{smtp, wire};

/// One exchange over HTTP.
const TIME_MAX: Duration = Duration::from_secs(10);
/// All exchanges of a message.
const ALL_MAX: Duration = Duration::from_secs(30);
/// Requests of one message that are under way at once.
const AT_ONCE_MAX: usize = 8;
/// Of an answer that says no, this much is told.
const ANSWER_CHARS_MAX: usize = 200;

/// Why a message has not arrived. No secret of the channel is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UndeliveredMessage(String);

/// A message that has arrived, at some of its receivers at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveredMessage {
    /// Who of several receivers has not got it, and why. No secret of the channel is in it.
    pub missed: Option<String>,
    /// Those of them whose mail is not taken for now: it may be sent to them again.
    pub for_now: Vec<String>,
}

/// Delivers a message to a channel, within half a minute.
///
/// # Errors
/// It has not arrived, or not all of it: it may be sent again, under the same id.
pub async fn deliver(
    channel: &AlertChannel,
    message: &AlertMessage,
    now_us: i64,
) -> Result<DeliveredMessage, UndeliveredMessage> {
    let said = |text: &str| harmless(&channel.without_secrets(text));
    let done = match &channel.kind {
        ChannelKind::Email(email) => {
            smtp::send(email, channel, message, now_us).await.map_err(|error| error.to_string())
        }
        kind => {
            let sent = timeout(ALL_MAX, over_http(channel, kind, message, now_us)).await;
            let sent =
                sent.unwrap_or_else(|_| Err(format!("it has not taken all of it within {} s", ALL_MAX.as_secs())));
            sent.map(|()| Vec::new())
        }
    };
    let refused = done.map_err(|why| UndeliveredMessage(said(&why)))?;
    let for_now = refused.iter().filter(|one| one.is_for_now()).map(|one| one.to.clone()).collect();
    let missed = smtp::in_words(&refused);
    let missed = (!refused.is_empty()).then(|| said(&format!("the mail server takes no mail for {missed}")));
    Ok(DeliveredMessage { missed, for_now })
}

async fn over_http(
    channel: &AlertChannel,
    kind: &ChannelKind,
    message: &AlertMessage,
    now_us: i64,
) -> Result<(), String> {
    let groups = wire::requests(kind, message, now_us);
    let Some(first) = groups.iter().flatten().next() else { return Ok(()) };
    let origin = AllowedOrigin::of_url(&first.url).ok_or_else(|| "its address is no http or https URL".to_owned())?;
    let policy = Policy {
        asked: vec![OutboundRule { origin: origin.clone(), methods: vec![Method::POST] }],
        granted: vec![origin],
        private_hosts: channel.private_hosts.clone(),
        ca_file: channel.ca_file.clone(),
    };
    let client = OutboundClient::open(OutboundSettings::new(policy, TIME_MAX)).map_err(|error| error.to_string())?;
    let sent: Vec<_> = groups.iter().map(|requests| in_turn(channel, &client, requests)).collect();
    // All of it is tried: one that is not taken, or takes long, keeps no other one.
    let sent: Vec<Result<(), String>> = stream::iter(sent).buffer_unordered(AT_ONCE_MAX).collect().await;
    sent.into_iter().collect()
}

/// Sends requests one after another, until one is not taken.
async fn in_turn(channel: &AlertChannel, client: &OutboundClient, requests: &[OutboundRequest]) -> Result<(), String> {
    for request in requests {
        // What it says of destinations holds for channels.
        let sent = client.send(request).await;
        let answer = sent.map_err(|error| error.to_string().replace("the destination", "the channel"))?;
        if !(200..300).contains(&answer.status) {
            // Before it is cut: of half a secret nobody would know that it is one.
            let body = channel.without_secrets(&String::from_utf8_lossy(&answer.body));
            let body: String = body.chars().take(ANSWER_CHARS_MAX).collect();
            return Err(format!("it answers {}: {body}", answer.status));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::message::AlertChange;
    use crate::rule::{AlertCondition, AlertRule};

    /// Answers a request; what is about `slow` only after something else has come.
    async fn answer(mut stream: TcpStream, others: Arc<Semaphore>) -> Option<()> {
        let (mut read, mut piece) = (String::new(), [0; 4_096]);
        let is_whole = |read: &str| {
            let body = read.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str::<serde_json::Value>(body));
            body.is_some_and(|body| body.is_ok())
        };
        while !is_whole(&read) {
            let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
            read.push_str(&String::from_utf8_lossy(piece.get(..count)?));
        }
        if read.contains("sync slow") {
            others.acquire().await.ok()?.forget();
        } else {
            others.add_permits(1);
        }
        stream.write_all(b"HTTP/1.1 202 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok()
    }

    #[tokio::test]
    async fn an_event_that_is_answered_late_holds_up_no_other_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v2/enqueue", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let others = Arc::new(Semaphore::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&others)));
            }
        });
        let channel = AlertChannel {
            name: "duty".to_owned(),
            kind: ChannelKind::PagerDuty { url, routing_key: "key".to_owned() },
            private_hosts: vec!["127.0.0.1".to_owned()],
            ca_file: None,
        };
        let rule = AlertRule::new("late", AlertCondition::SyncFailing { sync: None });
        let change =
            |object: &str| AlertChange { object: object.to_owned(), is_firing: true, ..AlertChange::default() };
        let message = AlertMessage {
            id: "7".to_owned(),
            environment: "default".to_owned(),
            rule,
            changes: vec![change("sync slow"), change("sync quick")],
            is_test: false,
        };
        assert_eq!(deliver(&channel, &message, 0).await, Ok(DeliveredMessage::default()));
        server.abort();
    }
}
