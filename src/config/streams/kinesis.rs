//! `kind: kinesis` of a source: which stream it reads, and how it is reached.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::StreamOrigin;
use tidegate_stream_kinesis::{KinesisConnection, KinesisOrigin, KinesisStart, is_stream_name};

use crate::config::aws_place::aws_place;
use crate::config::outgoing::Outgoing;
use crate::config::surroundings::ObjectInputs;

const STARTS: [(&str, KinesisStart); 2] = [("earliest", KinesisStart::Earliest), ("latest", KinesisStart::Latest)];

/// None where something is wrong, or a secret is not at hand.
pub(super) fn kinesis(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<Arc<dyn StreamOrigin>> {
    let stream = f.required("stream", "orders");
    let start = f.word("start", &STARTS).unwrap_or_default();
    let place = aws_place(f, inputs, "KINESIS");
    let web = outgoing.of_destination(f, inputs);
    let (stream, place) = (stream?, place?);
    if !is_stream_name(&stream) {
        let message = format!("`stream` is {:?}, which is no name of a stream", shortened(&stream, QUOTED_CHARS_MAX));
        f.problem(
            "stream",
            message,
            "use up to 128 of a-z, A-Z, 0-9, `.`, `_` and `-`; of an ARN, what is behind `stream/`",
        );
        return None;
    }
    let connection =
        KinesisConnection { region: place.region, endpoint: place.endpoint, identity: place.identity, web };
    Some(Arc::new(KinesisOrigin { connection, stream, start }))
}
