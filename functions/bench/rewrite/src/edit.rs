//! The work itself, free of any binding, so that a benchmark can run the very same source natively.

use serde_json::Value;

/// Parses `event`, renames `properties.order_id` to `orderId`, adds `properties.processed` and serialises.
pub fn edit(event: &str) -> Result<String, serde_json::Error> {
    let mut event: Value = serde_json::from_str(event)?;
    if let Some(properties) = event.get_mut("properties").and_then(Value::as_object_mut) {
        if let Some(order) = properties.remove("order_id") {
            properties.insert("orderId".to_owned(), order);
        }
        properties.insert("processed".to_owned(), Value::Bool(true));
    }
    serde_json::to_string(&event)
}
