//! `kind: pubsub` of a destination: to which project its messages go, and as whom.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_stream::StreamTarget;
use tidegate_stream_pubsub::{PubsubTarget, is_pubsub_name};

use crate::config::around::Around;
use crate::config::pubsub_connection;

/// None where something is wrong, or a secret is not at hand.
pub(super) fn pubsub(f: &mut Fields<'_>, around: &Around<'_>) -> Option<Arc<dyn StreamTarget>> {
    let web = around.outgoing.of_destination(f, around.inputs);
    let connection = pubsub_connection::connection(f, around.inputs, web);
    let ordering = f.flag("ordering").unwrap_or(true);
    let mut topics = Vec::new();
    for field in ["topic", "violations_topic"] {
        // One with braces is another for each event.
        let Some(topic) = f.text(field).filter(|topic| !topic.contains(['{', '}'])) else { continue };
        if !is_pubsub_name(&topic, "topics") {
            let fix = "write the name of a topic, of 3 to 255 letters, digits and -_.~+%, beginning with a letter";
            f.problem(field, format!("`{field}` is no name of a topic of Pub/Sub"), fix);
        } else if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Some(Arc::new(PubsubTarget { connection: connection?, ordering, topics }))
}
