//! Which formats all texts of a field have, asked of the validator that judges contracts, so that what is proposed for a field
//! holds for every text that it was proposed from.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// Texts beyond this many bytes have no format.
const FORMATTED_BYTES_MAX: usize = 2_048;

/// Draft-7 knows no format `uuid`, so a pattern stands for it.
const UUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";

/// A format that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextFormat {
    Instant,
    Date,
    Uuid,
    Email,
    Uri,
}

impl TextFormat {
    const ALL: [Self; 5] = [Self::Instant, Self::Date, Self::Uuid, Self::Email, Self::Uri];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The keyword that asks for it, and its value.
    pub(super) const fn keyword(self) -> (&'static str, &'static str) {
        match self {
            Self::Instant => ("format", "date-time"),
            Self::Date => ("format", "date"),
            Self::Uuid => ("pattern", UUID),
            Self::Email => ("format", "email"),
            Self::Uri => ("format", "uri"),
        }
    }

    /// Whether a text is worth the question; any other one has not this format as people use it.
    fn may_be(self, text: &str) -> bool {
        match self {
            Self::Instant | Self::Date => text.starts_with(|c: char| c.is_ascii_digit()),
            Self::Uuid => text.len() == 36,
            Self::Email => text.contains('@'),
            // `a:b` is one by the grammar.
            Self::Uri => text.contains("://"),
        }
    }
}

static CHECKS: LazyLock<Vec<(TextFormat, Validator)>> = LazyLock::new(|| {
    let check = |format: TextFormat| {
        let (keyword, value) = format.keyword();
        let schema = json!({ (keyword): value });
        Some((format, jsonschema::draft7::options().offline().build(&schema).ok()?))
    };
    TextFormat::ALL.into_iter().filter_map(check).collect()
});

/// The formats that every text so far has; all of them before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SharedFormats(u8);

impl Default for SharedFormats {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl SharedFormats {
    /// Those that `text` has too.
    pub(super) fn narrowed(self, text: &str) -> Self {
        let asked: u8 = TextFormat::ALL.into_iter().map(TextFormat::bit).fold(0, |all, bit| all | bit);
        if self.0 & asked == 0 || text.len() > FORMATTED_BYTES_MAX {
            return Self(0);
        }
        let mut value: Option<Value> = None;
        let mut left = 0;
        for (format, validator) in CHECKS.iter() {
            if self.0 & format.bit() == 0 || !format.may_be(text) {
                continue;
            }
            let value = &*value.get_or_insert_with(|| Value::from(text));
            if validator.is_valid(value) {
                left |= format.bit();
            }
        }
        Self(left)
    }

    /// What both have.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The most telling one that is left, of texts of which there was at least one.
    pub(super) fn best(self) -> Option<TextFormat> {
        TextFormat::ALL.into_iter().find(|format| self.0 & format.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<&'static str> {
        let shared = texts.iter().fold(SharedFormats::default(), |shared, text| shared.narrowed(text));
        shared.best().map(|format| format.keyword().1)
    }

    #[test]
    fn a_format_is_one_that_every_text_has() {
        assert_eq!(of(&["2026-11-30T08:00:00Z", "2026-11-30T08:00:00.123+01:00"]), Some("date-time"));
        assert_eq!(of(&["2026-11-30"]), Some("date"));
        assert_eq!(of(&["2026-11-30", "2026-13-45"]), None);
        assert_eq!(of(&["0e37df36-f698-11e6-8dd4-cb9ced3df976"]), Some(UUID));
        assert_eq!(of(&["a@example.com", "b@example.com"]), Some("email"));
        assert_eq!(of(&["https://example.com/a?b=c"]), Some("uri"));
        assert_eq!(of(&["a:b"]), None);
        assert_eq!(of(&["https://example.com", ""]), None);
    }

    #[test]
    fn the_order_of_texts_makes_no_difference() {
        let (one, other) = (SharedFormats::default().narrowed("2026-11-30"), SharedFormats::default().narrowed("x"));
        assert_eq!(one.and(other), other.and(one));
        assert_eq!(one.and(other).best(), None);
    }
}
