//! Where a record lies in the log, and which event is which.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A place in the log: a partition, and the number of a record in it.
///
/// Positions of one partition are ordered as its records are; between partitions the order means nothing. Only the log
/// and the methods here do arithmetic on offsets: they grow, and they need not be dense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub partition: u16,
    /// Below [`Position::OFFSETS`].
    pub offset: u64,
}

impl Position {
    /// Offsets that a partition has: 2^48, which is nine years of a million records a second.
    pub const OFFSETS: u64 = 1 << 48;

    #[must_use]
    pub const fn new(partition: u16, offset: u64) -> Self {
        Self { partition, offset }
    }

    /// The position behind this one: the end of a range that it is the last of.
    #[must_use]
    pub const fn behind(self) -> Self {
        Self { partition: self.partition, offset: self.offset + 1 }
    }

    /// Both in one number, in the order of positions: the partition above, the offset in the lower 48 bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        let offset = if self.offset < Self::OFFSETS { self.offset } else { Self::OFFSETS - 1 };
        ((self.partition as u64) << 48) | offset
    }

    /// The position that has these [`Position::bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { partition: (bits >> 48) as u16, offset: bits & (Self::OFFSETS - 1) }
    }
}

/// `7` in the first partition, `2/7` in the third.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => write!(f, "{}", self.offset),
            partition => write!(f, "{partition}/{}", self.offset),
        }
    }
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is the offset of an event in the log, as in 7, or its partition and offset, as in 2/7")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (partition, offset) = text.split_once('/').unwrap_or(("0", text));
        let partition = partition.parse().map_err(|_| PositionError)?;
        let offset = offset.parse().ok().filter(|offset| *offset < Self::OFFSETS).ok_or(PositionError)?;
        Ok(Self { partition, offset })
    }
}

/// Which event it is: what a record holds, and what functions made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    pub position: Position,
    /// 0 for the event itself; 1, 2, ... for further events that a function made of it.
    pub part: u32,
}

impl EventId {
    #[must_use]
    pub const fn new(position: Position, part: u32) -> Self {
        Self { position, part }
    }
}

/// What is kept under `name` for a partition is kept under this: `crm` in the first partition, `crm/2` in the third. No name
/// has a slash.
#[must_use]
pub fn in_partition(name: &str, partition: u16) -> Cow<'_, str> {
    match partition {
        0 => name.into(),
        partition => format!("{name}/{partition}").into(),
    }
}

/// The name and the partition that [`in_partition`] has put together.
#[must_use]
pub fn partition_of(key: &str) -> (&str, u16) {
    let parted = key.rsplit_once('/').and_then(|(name, partition)| Some((name, partition.parse().ok()?)));
    parted.unwrap_or((key, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_position_is_written_as_people_read_it() {
        assert_eq!(Position::new(0, 7).to_string(), "7");
        assert_eq!(Position::new(2, 7).to_string(), "2/7");
        for text in ["", "a", "-1", "1/", "/1", "1/2/3", "65536/1", "281474976710656", "1/281474976710656"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }

    #[test]
    fn a_key_has_a_name_and_a_partition() {
        for (name, partition, key) in [("crm", 0, "crm"), ("crm", 2, "crm/2")] {
            assert_eq!((&*in_partition(name, partition), partition_of(key)), (key, (name, partition)));
        }
    }

    proptest! {
        #[test]
        fn bits_and_text_keep_a_position_and_its_order(a: (u16, u64), b: (u16, u64)) {
            let of = |(partition, offset): (u16, u64)| Position::new(partition, offset % Position::OFFSETS);
            let (a, b) = (of(a), of(b));
            prop_assert_eq!(Position::from_bits(a.bits()), a);
            prop_assert_eq!(a.to_string().parse::<Position>(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.bits().cmp(&b.bits()));
        }
    }
}
