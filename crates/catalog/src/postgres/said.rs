//! Errors, in the words of the server.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// An error of the server, in its own words.
pub(super) fn plain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}

pub(super) fn described(error: &tokio_postgres::Error, place: &str) -> StoreError {
    let (place, cause) = (place.to_owned(), plain(error));
    match error.code() {
        Some(code) if *code == SqlState::UNIQUE_VIOLATION => StoreError::Taken { place, cause },
        _ => StoreError::Failed { place, action: "could not be read or written", cause },
    }
}
