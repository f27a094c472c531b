//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`SnowflakeError::failure`], which alone decides between trying again and stopping.
//! Snowflake's own words are kept; requests, whose headers hold secrets, are never shown.

use tidegate_event::destination::Failure;
use tidegate_net::trust::RefusedCertificate;
use tidegate_warehouse::loader::LoadError;
use tidegate_warehouse::schema_cache::NameTaken;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum SnowflakeError {
    #[error("{doing}: {source}")]
    Http { doing: &'static str, source: reqwest::Error },
    #[error("{doing}: Snowflake answers with HTTP status {status}{}", shown(.body))]
    Status { doing: &'static str, status: u16, body: String },
    /// Snowflake understood and refused.
    #[error("{doing}: {message} (code {code:06})")]
    Refused { doing: &'static str, code: u32, message: String },
    #[error("{doing}: the answer cannot be read: {problem}")]
    Answer { doing: &'static str, problem: String },
    #[error("{doing}: no result after {seconds} seconds")]
    Late { doing: &'static str, seconds: u64 },
    #[error("uploading a file: {problem}")]
    Upload { problem: String, lasting: bool },
    #[error("{name} exists but is not a table of this warehouse")]
    Taken { name: String },
    #[error("somebody has altered table {table}")]
    Altered { table: String },
    #[error("the ledger moved or a file was not loaded as a whole")]
    Fenced,
    #[error("the ledger holds an offset that is no offset")]
    Ledger,
    #[error("a channel of table {table} must be opened anew: {problem}")]
    Channel { table: String, problem: String },
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: String },
    #[error("{problem}")]
    Key { problem: String },
}

fn shown(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

/// Names what was being done when the connection failed. The address is taken out, for a signed one opens a door.
pub(super) fn doing(doing: &'static str) -> impl Fn(reqwest::Error) -> SnowflakeError {
    move |source| SnowflakeError::Http { doing, source: source.without_url() }
}

impl From<NameTaken> for SnowflakeError {
    fn from(NameTaken(name): NameTaken) -> Self {
        Self::Taken { name }
    }
}

impl LoadError for SnowflakeError {
    /// Snowflake refused a value, and would take others.
    fn is_of_row(&self) -> bool {
        matches!(self, Self::Refused { code: 100_000..=100_999, .. })
    }

    fn is_of_schema(&self) -> bool {
        match self {
            Self::Altered { .. } | Self::Fenced | Self::Channel { .. } => true,
            // Does not exist, exists already, invalid identifier, wrong number of columns.
            Self::Refused { code, .. } => matches!(code, 904 | 1430 | 2002 | 2003 | 2025 | 2043 | 2049 | 2057 | 22_000),
            _ => false,
        }
    }

    /// A new one may end in the middle of its first batch too.
    fn is_of_session(&self, _reused: bool) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(code, 390_104 | 390_110..=390_115 | 390_195 | 390_303 | 390_318),
            Self::Status { status, .. } => *status == 401,
            _ => false,
        }
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

impl SnowflakeError {
    /// Whether the far side may or may not have done what it was asked: the same request may be sent again.
    pub(super) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Http { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Said of a statement that alters a table: whether something of somebody else is in its way, and rows can be written
    /// without it.
    pub(super) fn is_of_alteration(&self) -> bool {
        let is_lasting = |code| code < 300_000 && refused(code).is_some();
        matches!(self, Self::Refused { code, .. } if is_lasting(*code)) && !self.is_of_schema()
    }

    /// Said of a view: whether Snowflake does not make it, and rows can be written all the same.
    pub(super) fn is_of_a_view(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code < 300_000) && !self.is_of_session(true)
    }

    /// The failure to report for the warehouse of this name.
    pub(super) fn failure(self, warehouse: &str) -> Failure {
        let reason = format!("warehouse {warehouse}: {self}");
        let advice = self.advice();
        let cause: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(self));
        match advice {
            None => Failure::Retry { reason, cause },
            Some(advice) => Failure::Stop { reason, advice, cause },
        }
    }

    /// What an operator should do; `None` where waiting may help.
    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Refused { code, .. } => return refused(*code).map(str::to_owned),
            Self::Status { status, .. } => match status {
                400 => "report the answer: the request was not understood",
                403 => {
                    "let the network policy of the account and of the user admit this machine, and look at `account`"
                }
                404 => "look at `account` (and `endpoint`) of the destination: no such account answers there",
                _ => return None,
            },
            Self::Upload { lasting: true, .. } => {
                "drop the stage _TIDEGATE_FILES so that it is made anew with ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE'), and let \
                 this machine reach the account's stage storage (SELECT SYSTEM$ALLOWLIST() lists its hosts)"
            }
            Self::Taken { name } => return Some(format!("rename {name}, or give the sync a schema of its own")),
            // A certificate does not become trusted by waiting; whatever else is on the way may pass.
            Self::Http { source, .. } => return Some(RefusedCertificate::in_causes(source)?.advice("`ca_file`")),
            Self::Ledger => "correct the row of this sync in _TIDEGATE_LEDGER",
            Self::Settings { .. } => "correct the settings of the warehouse",
            Self::Key { .. } => "correct `auth` of the destination",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// What to do about a code of Snowflake's; `None` where waiting may help.
fn refused(code: u32) -> Option<&'static str> {
    Some(match code {
        // Sessions that ended, locks that were not given in time, cancelled and timed out statements, error inside.
        390_104 | 390_110..=390_115 | 390_195 | 390_303 | 390_318 | 390_400..=390_419 => return None,
        604 | 605 | 625 | 627 | 630 | 707 | 709 | 90_073 => return None,
        300_000..=389_999 => return None,
        390_144 => {
            "give the user this key with ALTER USER ... SET RSA_PUBLIC_KEY, and look at `account`, `user` and the machine's \
             clock"
        }
        390_420..=390_432 => "let the network policy of the account and of the user admit this machine",
        390_189 | 390_186 => "grant the user the role that `role` names: GRANT ROLE ... TO USER ...",
        390_100..=390_399 => {
            "correct `account`, `user` and `auth` of the destination, and see that the user is not disabled"
        }
        606 => {
            "name a `warehouse` in the destination and let the role use it: GRANT USAGE ON WAREHOUSE ... TO ROLE ..."
        }
        3_001 => {
            "let the role do it: GRANT USAGE ON DATABASE and USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA to it, and \
             OWNERSHIP of the tables of that schema"
        }
        2_003 | 2_043 => {
            "see that the database exists and that the role may use it and its schema: GRANT USAGE ON DATABASE ... and ON \
             SCHEMA ... TO ROLE ..."
        }
        2_002 => "look for a view or another object that has the name of a table of the router's, and rename it",
        100_000..=100_999 => "report the message: a row that no event brought was refused",
        _ => "look the message up; the sync goes on once its cause is mended",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u32) -> Failure {
        SnowflakeError::Refused { doing: "loading", code, message: "in its own words".to_owned() }.failure("acme")
    }

    #[test]
    fn what_an_operator_must_mend_stops_and_says_how() {
        for (code, hint) in [
            (390_100, "`user`"),
            (390_144, "RSA_PUBLIC_KEY"),
            (3_001, "GRANT"),
            (606, "`warehouse`"),
            (2_003, "GRANT USAGE"),
        ] {
            let failure = of(code);
            assert!(failure.to_string().contains("in its own words"), "{failure}");
            assert!(matches!(failure, Failure::Stop { advice, .. } if advice.contains(hint)), "{code}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        for code in [390_112, 390_114, 625, 630, 370_001] {
            assert!(matches!(of(code), Failure::Retry { .. }), "{code}");
        }
        for status in [429, 500, 503] {
            let error = SnowflakeError::Status { doing: "loading", status, body: String::new() };
            assert!(matches!(error.failure("acme"), Failure::Retry { .. }), "{status}");
        }
    }
}
