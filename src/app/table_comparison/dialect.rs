//! How other products name the tables and columns of the same events: what is documented or in the open, and nothing that is guessed.

/// Whose tables they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignDialect {
    Segment,
    RudderStack,
    Hightouch,
}

/// Columns that only the router makes; `message_...` are fields beside those of the protocol, which no other stores.
const ONLY_OURS: [&str; 3] = ["_overflow", "context_timestamp_read_as", "context_sent_at_read_as"];

impl ForeignDialect {
    pub const ALL: [Self; 3] = [Self::Segment, Self::RudderStack, Self::Hightouch];

    /// The word for it on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::RudderStack => "rudderstack",
            Self::Hightouch => "hightouch",
        }
    }

    /// The dialect of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == word)
    }

    /// Whether a table is the product's own, and holds no events of its own.
    pub(super) fn has_table(self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match self {
            // The latest traits, which the router has as views.
            Self::Segment => matches!(&*name, "users" | "accounts"),
            Self::RudderStack => name == "users" || name.starts_with("rudder_") || name.starts_with("wh_"),
            // Who breaks a contract is told apart there by other columns.
            Self::Hightouch => name == "event_violations",
        }
    }

    /// Tables of ours that the other side is not expected to have.
    pub(super) fn lacks_table(self, name: &str) -> bool {
        matches!(name, "event_violations" | "_overflow")
    }

    /// Columns that the other side is not expected to have.
    pub(super) fn is_only_ours(self, column: &str) -> bool {
        // What is the channel of an event has a column of its own there.
        let has_channel = self == Self::RudderStack && column == "message_channel";
        ONLY_OURS.contains(&column) || (column.starts_with("message_") && !has_channel)
    }

    /// Columns that the router is not expected to have: how and by what the product has loaded a row.
    pub(super) fn is_only_theirs(self, column: &str) -> bool {
        match self {
            Self::Segment => matches!(column, "uuid" | "uuid_ts" | "loaded_at"),
            Self::RudderStack => matches!(
                column,
                "uuid_ts"
                    | "loaded_at"
                    | "record_id"
                    | "rudder_event"
                    | "context_request_ip"
                    | "context_passed_ip"
                    | "context_source_id"
                    | "context_source_type"
                    | "context_destination_id"
                    | "context_destination_type"
            ),
            Self::Hightouch => false,
        }
    }

    /// Other names under which the other side may have what the router calls so: with and without the `_` of a reserved word, and
    /// those that are known.
    pub(super) fn spellings(self, name: &str) -> Vec<String> {
        let own = (self == Self::RudderStack && name == "message_channel").then(|| "channel".to_owned());
        let bare = name.strip_prefix('_').map(str::to_owned);
        own.into_iter().chain(bare).chain([format!("_{name}")]).collect()
    }

    /// Whether it leaves empty texts and lists out, so that NULL stands for them.
    pub(super) const fn empty_is_null(self) -> bool {
        matches!(self, Self::RudderStack)
    }
}
