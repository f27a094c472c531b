//! From where a shard is read on, and what the checkpoints keep of it.
//!
//! A mark is text: `SHARD_END`; `TRIM_HORIZON`; `time:` and microseconds since the Unix epoch; `SEQUENCE`, which is in the log as a whole;
//! `SEQUENCE:SUB`, an aggregate that is in the log up to that one; `at:SEQUENCE`, which comes next.

use std::fmt;

const END: &str = "SHARD_END";
const HORIZON: &str = "TRIM_HORIZON";
const SEQUENCE_CHARS_MAX: usize = 130;

/// From where a shard is read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShardPlace {
    /// From the oldest record that is kept.
    Horizon,
    /// Behind everything that is there; when that was asked for, in microseconds since the Unix epoch.
    Latest {
        since_us: i64,
    },
    /// From the first record of that time, in microseconds since the Unix epoch.
    Time(i64),
    /// From this record on; the first of an aggregate that is wanted.
    At {
        sequence: String,
        sub: u64,
    },
    After {
        sequence: String,
    },
}

impl ShardPlace {
    /// What Kinesis calls it.
    pub(crate) const fn iterator_type(&self) -> &'static str {
        match self {
            Self::Horizon => HORIZON,
            Self::Latest { .. } => "LATEST",
            Self::Time(_) => "AT_TIMESTAMP",
            Self::At { .. } => "AT_SEQUENCE_NUMBER",
            Self::After { .. } => "AFTER_SEQUENCE_NUMBER",
        }
    }

    /// Whether something of the shard was read, or is to be read whatever became of its parents.
    pub(crate) const fn has_begun(&self) -> bool {
        matches!(self, Self::At { .. } | Self::After { .. })
    }

    /// Where a shard goes on of which an iterator was had once: what came since then counts, though nothing was read.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Latest { since_us } => Self::Time(*since_us),
            other => other.clone(),
        }
    }
}

/// What is kept of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShardMark {
    Place(ShardPlace),
    /// All of it is in the log.
    End,
}

impl ShardMark {
    /// The mark of a text; none where it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let place = match text {
            END => return Some(Self::End),
            HORIZON => ShardPlace::Horizon,
            _ => match (text.strip_prefix("time:"), text.strip_prefix("at:")) {
                (Some(at_us), _) => ShardPlace::Time(at_us.parse().ok()?),
                (_, Some(sequence)) => ShardPlace::At { sequence: sequence_of(sequence)?, sub: 0 },
                (None, None) => match position(text)? {
                    (sequence, None) => ShardPlace::After { sequence },
                    (sequence, Some(sub)) => ShardPlace::At { sequence, sub: sub.checked_add(1)? },
                },
            },
        };
        Some(Self::Place(place))
    }
}

impl fmt::Display for ShardMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str(END),
            Self::Place(ShardPlace::Horizon) => f.write_str(HORIZON),
            Self::Place(ShardPlace::Latest { since_us: at_us } | ShardPlace::Time(at_us)) => write!(f, "time:{at_us}"),
            Self::Place(ShardPlace::After { sequence }) => f.write_str(sequence),
            Self::Place(ShardPlace::At { sequence, sub }) => match sub.checked_sub(1) {
                None => write!(f, "at:{sequence}"),
                Some(last) => write!(f, "{sequence}:{last}"),
            },
        }
    }
}

/// A sequence number, and the number in an aggregate, of `SEQUENCE` or `SEQUENCE:SUB`.
pub(crate) fn position(text: &str) -> Option<(String, Option<u64>)> {
    match text.split_once(':') {
        None => Some((sequence_of(text)?, None)),
        Some((sequence, sub)) => Some((sequence_of(sequence)?, Some(sub.parse().ok()?))),
    }
}

fn sequence_of(text: &str) -> Option<String> {
    let is_one = (1..=SEQUENCE_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        for text in ["SHARD_END", "TRIM_HORIZON", "time:1700000000000000", "4959", "4959:0", "4959:17", "at:4959"] {
            assert_eq!(ShardMark::parse(text).unwrap().to_string(), text);
        }
        let within = ShardMark::parse("4959:3");
        assert_eq!(within, Some(ShardMark::Place(ShardPlace::At { sequence: "4959".to_owned(), sub: 4 })));
        let longest = "9".repeat(131);
        for text in ["", "abc", "1:", "1:x", ":1", "time:", "at:", "at:1:2", "1:18446744073709551615", "-1", &longest] {
            assert_eq!(ShardMark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_shard_that_was_read_from_its_end_loses_nothing_when_it_is_read_anew() {
        let latest = ShardPlace::Latest { since_us: 5 };
        assert_eq!((latest.again(), ShardMark::Place(latest).to_string()), (ShardPlace::Time(5), "time:5".to_owned()));
        assert_eq!(ShardPlace::Horizon.again(), ShardPlace::Horizon);
    }
}
