//! One JSON value, within bounds.

use tidegate_event::decode::DEPTH_MAX;
use tidegate_event::json;
use tidegate_event::value::Value;

use crate::limits::MessageLimits;

/// The value of a text that has nothing else.
///
/// # Errors
/// It is not JSON, or has more than is read, and this is why.
pub(crate) fn json_value(bytes: &[u8], limits: &MessageLimits) -> Result<Value, String> {
    // What a value would take is known before any of it is built.
    let seen = json::scan(bytes, 0).map_err(|error| format!("it is {error}"))?;
    if seen.keys > limits.keys_max {
        return Err(format!("it has more than {} keys", limits.keys_max));
    }
    json::parse(bytes, limits.depth_max.min(DEPTH_MAX)).map_err(|error| format!("it is {error}"))
}
