//! `kind: kinesis` of a destination: which streams messages go to, and how they are reached.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::{MessageTemplate, StreamTarget};
use tidegate_stream_kinesis::{KinesisConnection, KinesisTarget, is_stream_name};

use crate::config::around::Around;
use crate::config::aws_place::aws_place;

/// None where something is wrong, or a secret is not at hand.
pub(super) fn kinesis(f: &mut Fields<'_>, around: &Around<'_>) -> Option<Arc<dyn StreamTarget>> {
    let place = aws_place(f, around.inputs, "KINESIS");
    let web = around.outgoing.of_destination(f, around.inputs);
    let mut is_right = true;
    if f.has("headers") {
        f.problem(
            "headers",
            "`headers` is there, and records of Kinesis have none",
            "take it away: the record is the whole event",
        );
        is_right = false;
    }
    // What is wrong with them as templates is told elsewhere.
    let streams = [("topic", fixed(f, "topic")), ("violations_topic", f.text("violations_topic"))];
    for (name, stream) in &streams {
        if let Some(stream) = stream.as_ref().filter(|stream| !is_stream_name(stream)) {
            let message =
                format!("`{name}` is {:?}, which is no name of a stream", shortened(stream, QUOTED_CHARS_MAX));
            f.problem(name, message, "use up to 128 of a-z, A-Z, 0-9, `.`, `_` and `-`");
            is_right = false;
        }
    }
    let place = place?;
    if !is_right {
        return None;
    }
    let connection =
        KinesisConnection { region: place.region, endpoint: place.endpoint, identity: place.identity, web };
    let streams = streams.into_iter().filter_map(|(_, stream)| stream).collect();
    Some(Arc::new(KinesisTarget { connection, streams }))
}

/// A template that says the same of every event.
fn fixed(f: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let text = f.text(name)?;
    let template = text.parse::<MessageTemplate>().ok()?;
    template.is_fixed().then_some(text)
}
