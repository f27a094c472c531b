//! Checksums of rows, because SQLite has none: a flipped bit inside a value is found when the row is read.
//!
//! CRC-32C over everything that a row means, its key included. It finds accidents, not forgers.

use std::path::Path;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use tidegate_event::{EventId, Position};

use super::StateError;

/// A checksum on its way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u32);

impl Sum {
    #[must_use]
    pub(super) fn text(self, text: impl AsRef<[u8]>) -> Self {
        let bytes = text.as_ref();
        // With its length, so that bytes cannot move from one field to the next.
        let sum = crc32c::crc32c_append(self.0, &(bytes.len() as u64).to_le_bytes());
        Self(crc32c::crc32c_append(sum, bytes))
    }

    #[must_use]
    pub(super) fn number(self, number: i64) -> Self {
        Self(crc32c::crc32c_append(self.0, &number.to_le_bytes()))
    }

    #[must_use]
    pub(super) fn event(self, id: EventId) -> Self {
        self.number(super::signed(id.position.bits())).number(id.part.into())
    }

    #[must_use]
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// As it stands in a column.
    #[must_use]
    pub(super) fn value(self) -> i64 {
        self.0.into()
    }
}

/// Of when a pending event is tried next.
pub(super) fn next_try(id: EventId, attempts: u32, next_at_us: i64) -> Sum {
    Sum::default().event(id).number(attempts.into()).number(next_at_us)
}

/// Of a number under a name: a cursor.
pub(super) fn named(name: &str, number: u64) -> Sum {
    Sum::default().text(name).number(super::signed(number))
}

/// Of a log range with the revision that judged it and the duplicates in it. A build before revisions left them out.
pub(super) fn log_range(
    partition: u16,
    range: &std::ops::Range<u64>,
    revision: u64,
    duplicates: impl IntoIterator<Item = u64>,
) -> Sum {
    let column = |offset| super::signed(Position::new(partition, offset).bits());
    let sum = Sum::default().number(column(range.start)).number(column(range.end));
    // Below any offset, so that it is not taken for a duplicate.
    let sum = if revision == 0 { sum } else { sum.number(-super::signed(revision)) };
    duplicates.into_iter().fold(sum, |sum, offset| sum.number(column(offset)))
}

/// The same with the events in it that were left out. Where there are none it is what it was.
pub(super) fn with_suppressed(sum: Sum, partition: u16, suppressed: impl IntoIterator<Item = u64>) -> Sum {
    let column = |offset| super::signed(Position::new(partition, offset).bits());
    // Below zero, so that none is taken for a duplicate.
    suppressed.into_iter().fold(sum, |sum, offset| sum.number(!column(offset)))
}

/// A text of `meta` with its checksum behind it.
pub(super) fn sealed(key: &str, text: &str) -> String {
    format!("{text} #{:08x}", Sum::default().text(key).text(text).0)
}

/// The text that [`sealed`] sealed; `None` when it is another one now.
pub(super) fn unsealed<'t>(key: &str, sealed_text: &'t str) -> Option<&'t str> {
    let (text, _) = sealed_text.rsplit_once(" #")?;
    (sealed(key, text) == sealed_text).then_some(text)
}

/// Whether each column has the type of its letter: `i` integer, `t` text, `b` bytes, `o` text or nothing. A flipped bit
/// can turn text into the same bytes as a blob, which no lookup finds.
pub(super) fn types_are(row: &Row<'_>, letters: &str) -> rusqlite::Result<bool> {
    for (column, letter) in letters.bytes().enumerate() {
        let right = matches!(
            (letter, row.get_ref(column)?),
            (b'i', ValueRef::Integer(_))
                | (b't' | b'o', ValueRef::Text(_))
                | (b'b', ValueRef::Blob(_))
                | (b'o', ValueRef::Null)
        );
        if !right {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A number of a row that may be damaged: where it is something else, the checksum tells.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        _ => 0,
    })
}

/// The same for a number of 32 bits.
pub(super) fn small(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(u32::try_from(number(row, column)?).unwrap_or(u32::MAX))
}

/// The same for bytes.
pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

/// The same for text.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    bytes(row, column).map(|bytes| String::from_utf8(bytes).unwrap_or_else(|error| error.to_string()))
}

/// The same for text that may be missing.
pub(super) fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => text(row, column).map(Some),
    }
}

/// The error for a row whose checksum is wrong.
pub(super) fn damaged(path: &Path, what: impl Into<String>) -> StateError {
    StateError::Damaged { path: path.to_owned(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_of_a_sealed_text_is_found() {
        let text = sealed("refined_to", "1234");
        assert_eq!(unsealed("refined_to", &text), Some("1234"));
        assert_eq!(unsealed("seen", &text), None);
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(unsealed("refined_to", &flipped), None, "{flipped}");
        }
    }
}
