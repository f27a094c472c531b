//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`ClickHouseError::failure`], which alone decides between trying again and stopping.

use tidegate_event::destination::Failure;
use tidegate_net::trust::RefusedCertificate;
use tidegate_process::telemetry::with_causes;
use tidegate_warehouse::loader::LoadError;
use tidegate_warehouse::schema_cache::NameTaken;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// The server's own words, with its number for them.
    #[error("{doing}: {text}")]
    Server { doing: &'static str, code: u32, text: String },
    /// An answer that is not from ClickHouse: a proxy, another program.
    #[error("{doing}: HTTP status {status}: {text}")]
    Http { doing: &'static str, status: u16, text: String },
    #[error("{doing}: {}", with_causes(source))]
    Net { doing: &'static str, source: reqwest::Error },
    #[error("{doing}: the answer cannot be read")]
    Answer { doing: &'static str },
    #[error("{doing}: the answer is longer than {bytes} bytes")]
    Long { doing: &'static str, bytes: usize },
    #[error("{doing}: a task ended before its time")]
    Task { doing: &'static str },
    #[error("table {table} is still being rewritten by a mutation")]
    Mutating { table: String },
    #[error("{name} exists but is not a table of this warehouse")]
    Taken { name: String },
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: String },
}

/// The server has no such thing, or another than it had: somebody changed it.
const CHANGED: [u32; 9] = [10, 16, 36, 47, 48, 60, 81, 117, 218];
/// One row is at fault: it does not parse, does not fit, violates a constraint, or a view that reads it throws.
const OF_A_ROW: [u32; 11] = [6, 27, 53, 69, 72, 131, 321, 349, 395, 407, 469];
/// Overload, limits that pass, lost connections, replicas that are behind.
const PASSING: [u32; 37] = [
    3, 23, 24, 32, 33, 74, 75, 76, 159, 160, 198, 201, 202, 203, 209, 210, 216, 225, 236, 241, 242, 243, 252, 279, 285,
    286, 305, 319, 341, 373, 394, 425, 439, 473, 517, 999, 1002,
];

impl From<NameTaken> for ClickHouseError {
    fn from(NameTaken(name): NameTaken) -> Self {
        Self::Taken { name }
    }
}

impl LoadError for ClickHouseError {
    fn is_of_row(&self) -> bool {
        self.code().is_some_and(|code| OF_A_ROW.contains(&code))
    }

    fn is_of_schema(&self) -> bool {
        self.code().is_some_and(|code| CHANGED.contains(&code))
    }

    /// Each request stands alone.
    fn is_of_session(&self, _reused: bool) -> bool {
        false
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

impl ClickHouseError {
    fn code(&self) -> Option<u32> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// There is no such database or table.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.code(), Some(60 | 81))
    }

    /// The user may not do this.
    pub(super) fn is_of_permission(&self) -> bool {
        self.code() == Some(497)
    }

    /// Said of a statement that alters a table: whether something of somebody else is in its way, and rows can be written
    /// without it.
    pub(super) fn is_of_alteration(&self) -> bool {
        // Another look tells; nobody is let in; the user only reads.
        let others = [10, 16, 60, 81, 218, 192, 193, 194, 516, 164, 452];
        self.code().is_some_and(|code| !PASSING.contains(&code) && !others.contains(&code))
    }

    /// The failure to report for the server at `place`.
    pub(super) fn failure(self, place: &str) -> Failure {
        let reason = format!("warehouse {place}: {self}");
        let advice = self.advice(place);
        let cause: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(self));
        match advice {
            None => Failure::Retry { reason, cause },
            Some(advice) => Failure::Stop { reason, advice, cause },
        }
    }

    /// What an operator must do; `None` when waiting will do.
    fn advice(&self, place: &str) -> Option<String> {
        let advice = match self {
            Self::Server { code, .. } => match code {
                code if PASSING.contains(code) || matches!(code, 60 | 81) => return None,
                497 => {
                    "grant the user of this destination SELECT, INSERT, ALTER, CREATE TABLE and CREATE DATABASE on its \
                        databases, for example GRANT SELECT, INSERT, ALTER, CREATE ON events.* TO tidegate; `tidegate check \
                        --connect` says what is missing"
                        .to_owned()
                }
                192 | 193 | 194 | 516 => "correct user and password of this destination".to_owned(),
                164 | 452 => {
                    "let the user change settings: give it a profile without readonly and without constraints \
                              on the settings that the message names"
                        .to_owned()
                }
                115 => "the server is too old; tidegate needs ClickHouse 23.8 or later".to_owned(),
                _ => {
                    "look the message up, and for constraints, views or types that are not the router's own".to_owned()
                }
            },
            Self::Http { status, .. } => match status {
                408 | 425 | 429 | 500.. => return None,
                401 | 403 => format!("let what stands before {place} pass the requests, or correct user and password"),
                _ => format!("{place} does not answer as ClickHouse does; correct the url of this destination"),
            },
            // A certificate does not become trusted by waiting; whatever else is on the way may pass.
            Self::Net { source, .. } => return Some(RefusedCertificate::in_causes(source)?.advice("`ca_file`")),
            Self::Task { .. } | Self::Mutating { .. } | Self::Answer { .. } => return None,
            Self::Long { .. } => {
                "the database holds more tables than one sync can oversee; give the sync a schema of its \
                                  own"
                .to_owned()
            }
            Self::Taken { name } => format!("rename {name}, or give the sync a schema of its own"),
            Self::Settings { .. } => "correct the settings of the warehouse".to_owned(),
        };
        Some(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_says_what_to_do() {
        let of =
            |code| ClickHouseError::Server { doing: "inserting", code, text: "words".to_owned() }.failure("ch:8123");
        for code in [241, 252, 159, 210, 202, 216, 60] {
            assert!(matches!(of(code), Failure::Retry { .. }), "{code}");
        }
        for (code, word) in [(497, "GRANT"), (516, "password"), (115, "too old"), (62, "message")] {
            assert!(matches!(of(code), Failure::Stop { advice, .. } if advice.contains(word)), "{code}");
        }
        assert!(CHANGED.iter().all(|code| !OF_A_ROW.contains(code)));
        let proxy =
            |status| ClickHouseError::Http { doing: "inserting", status, text: String::new() }.failure("ch:8123");
        assert!(matches!((proxy(503), proxy(404)), (Failure::Retry { .. }, Failure::Stop { .. })));
    }
}
