//! `kind: pubsub` of a source: which subscriptions it reads, and as whom.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::StreamOrigin;
use tidegate_stream_pubsub::{PubsubOrigin, is_pubsub_name};

use crate::config::outgoing::Outgoing;
use crate::config::pubsub_connection;
use crate::config::surroundings::ObjectInputs;

/// Subscriptions that a source may name: each is pulled from by itself.
const SUBSCRIPTIONS_MAX: usize = 50;

/// None where something is wrong, or a secret is not at hand.
pub(super) fn pubsub(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<Arc<dyn StreamOrigin>> {
    let web = outgoing.of_destination(f, inputs);
    let connection = pubsub_connection::connection(f, inputs, web);
    let subscriptions = subscriptions(f);
    if f.has("start") {
        let message = "`start` is there, and a subscription of Pub/Sub has what was published since it was made";
        f.problem("start", message, "take it away; `tidegate source seek` goes to a time");
        f.json("start");
    }
    Some(Arc::new(PubsubOrigin { connection: connection?, subscriptions: subscriptions? }))
}

/// `subscription` or `subscriptions`.
fn subscriptions(f: &mut Fields<'_>) -> Option<Vec<String>> {
    const FIX: &str =
        "write `subscription: orders-tidegate`, the name in the project, or `subscriptions: [..]` for several";
    let line = f.line_of("subscription");
    let one = f.text("subscription");
    let several = f.texts_and_lines("subscriptions");
    let (field, written) = match (f.has("subscription"), f.has("subscriptions")) {
        (true, true) => {
            f.problem("subscriptions", "`subscription` and `subscriptions` are both there", "take one of them away");
            return None;
        }
        (false, false) => {
            f.problem("subscription", "nothing says which subscription is read", FIX);
            return None;
        }
        (true, false) => ("subscription", vec![(one?, line)]),
        (false, true) => ("subscriptions", several),
    };
    if written.is_empty() || written.len() > SUBSCRIPTIONS_MAX {
        let message = format!("`{field}` names {} subscriptions", written.len());
        f.problem(field, message, format!("{FIX}; at most {SUBSCRIPTIONS_MAX} are read by one source"));
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(written.len());
    let mut is_right = true;
    for (name, line) in written {
        if !is_pubsub_name(&name, "subscriptions") {
            let message = format!("`{field}` has {:?}, which is no subscription", shortened(&name, QUOTED_CHARS_MAX));
            f.problem_at(field, line, message, FIX);
            is_right = false;
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    is_right.then_some(names)
}
