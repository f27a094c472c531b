//! One message to one channel.

use std::time::Duration;

use tidegate_net::outbound::{AllowedOrigin, Method, OutboundClient, OutboundRule, OutboundSettings, Policy};
use tokio::time::timeout;

use crate::channel::{AlertChannel, ChannelKind};
use crate::message::{AlertMessage, harmless};
use crate::{smtp, wire};

/// One exchange over HTTP.
const TIME_MAX: Duration = Duration::from_secs(10);
/// All exchanges of a message.
const ALL_MAX: Duration = Duration::from_secs(30);
/// Of an answer that says no, this much is told.
const ANSWER_CHARS_MAX: usize = 200;

/// Why a message has not arrived. No secret of the channel is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UndeliveredMessage(String);

/// Delivers a message to a channel, within half a minute. Of several receivers some may not have got it: who, and why, is in the answer, without
/// secrets of the channel.
///
/// # Errors
/// It has not arrived, or not all of it: it may be sent again, under the same id.
pub async fn deliver(
    channel: &AlertChannel,
    message: &AlertMessage,
    now_us: i64,
) -> Result<Option<String>, UndeliveredMessage> {
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
    let missed = done.map_err(|why| UndeliveredMessage(said(&why)))?;
    Ok((!missed.is_empty()).then(|| said(&format!("the mail server takes no mail for {}", missed.join(", ")))))
}

async fn over_http(
    channel: &AlertChannel,
    kind: &ChannelKind,
    message: &AlertMessage,
    now_us: i64,
) -> Result<(), String> {
    let requests = wire::requests(kind, message, now_us);
    let Some(first) = requests.first() else { return Ok(()) };
    let origin = AllowedOrigin::of_url(&first.url).ok_or_else(|| "its address is no http or https URL".to_owned())?;
    let policy = Policy {
        asked: vec![OutboundRule { origin: origin.clone(), methods: vec![Method::POST] }],
        granted: vec![origin],
        private_hosts: channel.private_hosts.clone(),
        ca_file: channel.ca_file.clone(),
    };
    let client = OutboundClient::open(OutboundSettings::new(policy, TIME_MAX)).map_err(|error| error.to_string())?;
    for request in &requests {
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
