//! A batch in hand of which somebody withdraws the consent: it is gathered anew, as if it had never been.

use super::super::gather::JudgedConsents;
use super::Deliverer;

impl Deliverer {
    /// Whether consent to an event of a batch was withdrawn since it was gathered. A batch of which a part is at the destination stays as it is.
    pub(super) fn has_withdrawn(&self, judged: &mut JudgedConsents) -> bool {
        let Some(before) = judged.generation.filter(|_| !self.destination.holds_part()) else { return false };
        // What cannot be read is asked for again with the next try.
        let Ok(now) = self.state.consent_generation() else { return false };
        if now == before {
            return false;
        }
        let bodies = judged.events.iter().map(|event| (event.id, &event.body));
        let Ok(known) = self.state.known_consents(bodies, &self.consent.categories) else { return false };
        judged.generation = Some(known.generation);
        judged.events.iter().any(|event| !self.consent.allows(event, known.of(event.id)))
    }
}
