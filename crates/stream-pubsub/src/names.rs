//! What Pub/Sub takes for a name.

const CHARS: std::ops::RangeInclusive<usize> = 3..=255;

/// Whether Pub/Sub takes it for the name of a topic or a subscription, in a project or whole (`projects/P/topics/T`); `kind` is `topics` or
/// `subscriptions`.
#[must_use]
pub fn is_pubsub_name(name: &str, kind: &str) -> bool {
    let short = match name.strip_prefix("projects/") {
        None => name,
        Some(rest) => match rest.split_once('/') {
            Some((project, rest)) if !project.is_empty() => {
                rest.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
            }
            _ => "",
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '%');
    CHARS.contains(&short.len())
        && short.starts_with(|c: char| c.is_ascii_alphabetic())
        && short.chars().all(fits)
        && !short.starts_with("goog")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_or_whole() {
        for name in ["orders", "orders-2.x~y+%20", "projects/p/topics/orders"] {
            assert!(is_pubsub_name(name, "topics"), "{name}");
        }
        for name in [
            "",
            "or",
            "1orders",
            "google",
            "a b c",
            "orders/x",
            "projects/p/subscriptions/orders",
            "projects//topics/orders",
        ] {
            assert!(!is_pubsub_name(name, "topics"), "{name}");
        }
    }
}
