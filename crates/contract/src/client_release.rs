//! Which release of an app or a library sent an event, as far as its context says.

use tidegate_event::value::Value;

/// What it is a release of, and its version: of an app that says its version the operating system (`iOS`, `4.2`), else its name; otherwise the library
/// and its own version. `context` is that of the event.
#[must_use]
pub fn client_release(context: Option<&Value>) -> Option<(&str, &str)> {
    let context = context?;
    let app = text(context, "app", "version").map(|version| {
        let family = text(context, "os", "name").or_else(|| text(context, "app", "name"));
        (family.unwrap_or("app"), version)
    });
    app.or_else(|| text(context, "library", "name").zip(text(context, "library", "version")))
}

fn text<'v>(context: &'v Value, part: &str, field: &str) -> Option<&'v str> {
    let value = context.get(part)?.get(field)?;
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_is_told_before_its_library() {
        let library = json!({"name": "events-sdk-ios", "version": "1.0"});
        for (context, release) in [
            (json!({"os": {"name": "iOS"}, "app": {"version": "4.2"}, "library": library}), Some(("iOS", "4.2"))),
            (json!({"app": {"name": "Shop", "version": "4.2"}, "library": library}), Some(("Shop", "4.2"))),
            (json!({"app": {"version": "4.2"}}), Some(("app", "4.2"))),
            (
                json!({"os": {"name": "iOS"}, "app": {"version": ""}, "library": library}),
                Some(("events-sdk-ios", "1.0")),
            ),
            (json!({"library": {"name": "events-sdk-js"}}), None),
            (json!({"app": {"version": 4}}), None),
            (json!("none"), None),
        ] {
            let context = Value::from(context);
            assert_eq!(client_release(Some(&context)), release, "{context}");
        }
        assert_eq!(client_release(None), None);
    }
}
