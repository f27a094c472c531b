//! What waits, held against what people consent to.

use tidegate_event::value::JsonObject;
use tidegate_state::{KnownConsent, State, StateError};

use super::WorkspaceNames;

/// Takes what is pending out of each sync that needs a consent which its person has withdrawn: it is filtered. Answers how many events.
///
/// # Errors
/// Some of it may be taken out; all of it is when it is asked for again.
pub fn withhold_pending(state: &mut State, names: &WorkspaceNames, now_us: i64) -> Result<u64, StateError> {
    let mut withheld = 0;
    for (sync, consent) in &names.consents {
        let is_withdrawn = |body: &JsonObject, received_at_us: i64, known: &[KnownConsent]| {
            consent.is_denied(body, received_at_us, known)
        };
        withheld += state.withhold_pending(sync, (&consent.categories, &is_withdrawn), now_us)?;
    }
    Ok(withheld)
}
