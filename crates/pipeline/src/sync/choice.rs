//! What the sender of an event, and the person it is about, allow: `integrations` and `context.consent`.

use tidegate_event::Event;
use tidegate_event::value::{JsonObject, Value};
use tidegate_state::{KnownConsent, SaidBy};

use crate::consents::{preferences, says};

/// Whether `integrations` of an event lets it go to a destination with one of these [`spelling`]s. `All` says what holds
/// for destinations that it does not name; `false` alone forbids (and its text, for a pixel has no other values), `null` says
/// nothing, everything else (options, too) allows. What is said twice in two spellings holds where it forbids.
/// Source: <https://segment.com/docs/connections/spec/integrations/>.
#[must_use]
pub(super) fn integrations_allow(event: &Event, spellings: &[String]) -> bool {
    let Some(Value::Object(integrations)) = event.body.get("integrations") else { return true };
    let mut all = true;
    let mut named = None;
    for (key, value) in integrations {
        if value.is_null() {
            continue;
        }
        let allowed = !says(value, false);
        if key.eq_ignore_ascii_case("all") {
            all &= allowed;
        } else if spellings.contains(&spelling(key)) {
            named = Some(named.unwrap_or(true) && allowed);
        }
    }
    named.unwrap_or(all)
}

/// A name as it compares: letters and digits alone, in small letters, without the words that vendors put around the
/// name of a tool (`Actions Amplitude`, `Braze Cloud Mode (Actions)`).
#[must_use]
pub fn spelling(name: &str) -> String {
    const AROUND: [&str; 5] = ["actions", "cloud", "device", "web", "mode"];
    let lower = name.to_lowercase();
    let words = || lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let short: String = words().filter(|word| !AROUND.contains(word)).collect();
    if short.is_empty() { words().collect() } else { short }
}

/// Categories that a sync needs consent to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// All of them are needed; none means that nothing is asked.
    pub categories: Vec<String>,
    /// Whether an event goes on that does not say what was consented to. A category that it does not name is one of these.
    pub without: bool,
}

impl Consent {
    /// Whether the event's `context.consent.categoryPreferences` allow it, and what is `known` of its person. Only `true` is consent, and its
    /// text.
    pub(super) fn allows(&self, event: &Event, known: &[KnownConsent]) -> bool {
        let own = (&event.body, event.received_at_us);
        self.categories.iter().all(|category| verdict(category, own, known).unwrap_or(self.without))
    }

    /// Whether consent to any of the categories is denied, by the event with this body or by what is `known` of its person. That nobody says
    /// anything is no denial.
    #[must_use]
    pub fn is_denied(&self, body: &JsonObject, received_at_us: i64, known: &[KnownConsent]) -> bool {
        self.categories.iter().any(|category| verdict(category, (body, received_at_us), known) == Some(false))
    }
}

/// What is to be held of consent to a category, for an event with this body.
fn verdict(category: &str, (body, received_at_us): (&JsonObject, i64), known: &[KnownConsent]) -> Option<bool> {
    let own = preferences(body).and_then(|preferences| preferences.get(category)).map(|value| says(value, true));
    newest((own, received_at_us), known.iter().filter(|known| known.category == category))
}

/// What is to be held of an event's own word, and of what else is known of its person. Who denies it in the event itself has denied it for that
/// event; what an operator denies is denied; otherwise what was said last counts. `None` where nobody has said anything.
fn newest<'k>(
    (own, received_at_us): (Option<bool>, i64),
    known: impl Iterator<Item = &'k KnownConsent>,
) -> Option<bool> {
    if own == Some(false) {
        return own;
    }
    let mut newest: Option<&KnownConsent> = None;
    for one in known {
        if one.by == SaidBy::Operator && !one.is_granted {
            return Some(false);
        }
        if newest.is_none_or(|before| before.at_us <= one.at_us) {
            newest = Some(one);
        }
    }
    match newest {
        Some(known) if own.is_none() || known.at_us >= received_at_us => Some(known.is_granted),
        Some(_) | None => own,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tidegate_event::{EventId, EventKind};

    fn event(json: &str) -> Event {
        let body = json.parse().unwrap();
        Event { source: Arc::from("web"), id: EventId::default(), kind: EventKind::Track, received_at_us: 0, body }
    }

    #[test]
    fn integrations_are_obeyed_in_every_spelling() {
        let spellings: Vec<String> = ["my-ga", "ga4", "Google Analytics 4"].map(spelling).into();
        for (integrations, allowed) in [
            ("{}", true),
            ("null", true),
            ("[]", true),
            (r#"{"All":true}"#, true),
            (r#"{"All":false}"#, false),
            (r#"{"all":false}"#, false),
            (r#"{"All":false,"GA4":true}"#, true),
            (r#"{"All":false,"Google Analytics 4":{"clientId":"1"}}"#, true),
            (r#"{"All":true,"Google Analytics 4":false}"#, false),
            (r#"{"google_analytics_4":false}"#, false),
            (r#"{"Google Analytics 4 Cloud":false}"#, false),
            (r#"{"Actions Google Analytics 4":false}"#, false),
            (r#"{"Google Analytics 4 Web (Actions)":false}"#, false),
            (r#"{"my-ga":false,"GA4":true}"#, false),
            (r#"{"Google Analytics":false}"#, true),
            (r#"{"Segment.io":{"x":1},"Slack":false}"#, true),
            (r#"{"GA4":null}"#, true),
            (r#"{"All":false,"GA4":null}"#, false),
            (r#"{"All":false,"all":true}"#, false),
            (r#"{"All":true,"all":false}"#, false),
            (r#"{"All":"false"}"#, false),
            (r#"{"GA4":"False"}"#, false),
            (r#"{"GA4":"no"}"#, true),
            (r#"{"All":0,"GA4":[]}"#, true),
        ] {
            let event = event(&format!(r#"{{"integrations":{integrations}}}"#));
            assert_eq!(integrations_allow(&event, &spellings), allowed, "{integrations}");
        }
    }

    #[test]
    fn consent_is_asked_for_every_category_and_only_true_is_consent() {
        let consent = |without| Consent { categories: vec!["Advertising".into(), "Analytics".into()], without };
        for (preferences, open, closed) in [
            (r#"{"Advertising":true,"Analytics":true}"#, true, true),
            (r#"{"Advertising":true,"Analytics":false}"#, false, false),
            (r#"{"Advertising":true}"#, true, false),
            (r#"{"Advertising":"yes","Analytics":true}"#, false, false),
            (r#"{"Advertising":"true","Analytics":true}"#, true, true),
            (r#"{"Advertising":1,"Analytics":true}"#, false, false),
            (r#"{"Advertising":null,"Analytics":true}"#, false, false),
            ("null", true, false),
            ("[]", true, false),
        ] {
            let event = event(&format!(r#"{{"context":{{"consent":{{"categoryPreferences":{preferences}}}}}}}"#));
            assert_eq!(consent(true).allows(&event, &[]), open, "{preferences}");
            assert_eq!(consent(false).allows(&event, &[]), closed, "{preferences}");
        }
        assert!(Consent::default().allows(&event("{}"), &[]) && !consent(false).allows(&event("{}"), &[]));
    }

    #[test]
    fn what_was_said_last_counts_but_for_what_the_event_or_an_operator_denies() {
        let known = |is_granted, at_us, by| KnownConsent { category: "Ads".to_owned(), is_granted, at_us, by };
        let (operator, event) = (SaidBy::Operator, SaidBy::Event);
        for (own, known, held) in [
            (None, vec![], None),
            (Some(true), vec![], Some(true)),
            (Some(true), vec![known(false, 4, event)], Some(true)),
            (Some(true), vec![known(false, 5, event)], Some(false)),
            (Some(true), vec![known(false, 9, event)], Some(false)),
            (Some(true), vec![known(false, 4, operator)], Some(false)),
            (Some(true), vec![known(false, 7, event), known(true, 8, event)], Some(true)),
            (Some(false), vec![known(true, 9, operator)], Some(false)),
            (None, vec![known(false, 4, event)], Some(false)),
            (None, vec![known(true, 4, event)], Some(true)),
        ] {
            assert_eq!(newest((own, 5), known.iter()), held, "{own:?} {known:?}");
        }
    }
}
