//! What may be asked for.

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    View,
    /// To use it in a sync.
    Connect,
    Create,
    Update,
    Delete,
    Pause,
    Resume,
    Replay,
    Test,
    /// To take it over from the files of a folder, or to give it back to them.
    Adopt,
    /// To read a secret or a write key.
    Reveal,
    /// To see events: live, in quarantine, in traces.
    SeePayloads,
    ReadAudit,
    PurgeAudit,
    /// What no table here knows. Nobody may.
    Unknown,
}

const NAMES: [(Verb, &str); 15] = [
    (Verb::View, "view"),
    (Verb::Connect, "connect"),
    (Verb::Create, "create"),
    (Verb::Update, "update"),
    (Verb::Delete, "delete"),
    (Verb::Pause, "pause"),
    (Verb::Resume, "resume"),
    (Verb::Replay, "replay"),
    (Verb::Test, "test"),
    (Verb::Adopt, "adopt"),
    (Verb::Reveal, "reveal"),
    (Verb::SeePayloads, "see_payloads"),
    (Verb::ReadAudit, "read_audit"),
    (Verb::PurgeAudit, "purge_audit"),
    (Verb::Unknown, "unknown"),
];

impl Verb {
    /// Every verb, the unknown one last.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(verb, _)| *verb)
    }

    /// The verb of this name; any other text is [`Verb::Unknown`].
    #[must_use]
    pub fn named(text: &str) -> Self {
        NAMES.iter().find(|(_, name)| *name == text).map_or(Self::Unknown, |(verb, _)| *verb)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

/// A verb, done at once or proposed for somebody else to approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogAction {
    pub verb: Verb,
    pub is_proposal: bool,
}

impl From<Verb> for CatalogAction {
    fn from(verb: Verb) -> Self {
        Self { verb, is_proposal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_verbs_is_in_their_order_and_other_texts_are_unknown() {
        for (at, verb) in Verb::all().enumerate() {
            assert_eq!(verb as usize, at);
            assert_eq!(Verb::named(verb.name()), verb);
        }
        assert_eq!(Verb::named("destroy"), Verb::Unknown);
    }
}
