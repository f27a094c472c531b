//! How a field that is different is shown to people.

use serde_json::Value;
use tidegate_api_types::workspace::FieldDifference;

use super::style;

/// Of a value or a name that is shown.
pub(super) const VALUE_CHARS_MAX: usize = 200;

pub(super) fn print(field: &FieldDifference) {
    let shown = |value: &Value| style::plain(&value.to_string(), VALUE_CHARS_MAX);
    let name = style::plain(&field.field, VALUE_CHARS_MAX);
    match (&field.before, &field.after) {
        (Some(before), Some(after)) => println!("    {name}: {} → {}", shown(before), shown(after)),
        (None, Some(after)) => println!("    {name}: {}", shown(after)),
        (Some(before), None) => println!("    {name}: {} → nothing", shown(before)),
        (None, None) => {}
    }
}
