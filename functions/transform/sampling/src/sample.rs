//! Who is kept.

use serde::Deserialize;
use tidegate_sdk::event;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many of a hundred are kept.
    pub percent: f64,
    #[serde(default)]
    pub by: By,
    #[serde(default)]
    pub salt: String,
    /// Names of events that are always kept.
    #[serde(default)]
    pub always: Vec<String>,
}

/// What is kept or dropped as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    #[default]
    User,
    Event,
}

impl By {
    /// Where its id stands; the first that is there counts.
    #[must_use]
    pub const fn pointers(self) -> &'static [&'static str] {
        match self {
            Self::User => &["/userId", "/anonymousId"],
            Self::Event => &["/messageId"],
        }
    }

    /// The id that stands there as JSON: text, or a number by its digits. `None` for what is blank, and for a user that code
    /// writes where it has nobody: all of them would be kept or dropped as one.
    #[must_use]
    pub fn id(self, json: &str) -> Option<String> {
        let value = serde_json::from_str(json).ok();
        match self {
            Self::User => event::somebody(value.as_ref()),
            Self::Event => event::id(value.as_ref()),
        }
    }
}

impl Settings {
    /// Settings from JSON, or a sentence about what is wrong with them.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if (0.0..=100.0).contains(&settings.percent) {
            Ok(settings)
        } else {
            Err(format!("`percent` is {}; write 0 to 100", settings.percent))
        }
    }

    /// Whether whoever has this id is kept.
    #[must_use]
    pub fn keeps(&self, id: &str) -> bool {
        // 53 bits are what a float holds exactly: a place in 0..1.
        let place = (hash(&self.salt, id) >> 11) as f64 / (1_u64 << 53) as f64;
        place * 100.0 < self.percent
    }
}

/// FNV-1a, and then the bits stirred as MurmurHash3 does, because FNV leaves the high ones too much alike.
fn hash(salt: &str, id: &str) -> u64 {
    let bytes = salt.bytes().chain([0]).chain(id.bytes());
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(percent: f64, salt: &str) -> Settings {
        Settings { percent, salt: salt.to_owned(), ..Settings::default() }
    }

    #[test]
    fn about_the_share_is_kept_and_more_keep_more() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("user-{n}")).collect();
        let kept = |percent, salt: &str| ids.iter().filter(|id| settings(percent, salt).keeps(id)).collect::<Vec<_>>();
        let (ten, twenty) = (kept(10.0, ""), kept(20.0, ""));
        assert!((1_800..2_200).contains(&ten.len()), "{}", ten.len());
        assert!(ten.iter().all(|id| twenty.contains(id)));
        let other = kept(10.0, "another");
        let both = ten.iter().filter(|id| other.contains(id)).count();
        assert!((120..280).contains(&both), "{both}: another salt chooses others");
        assert_eq!((kept(0.0, "").len(), kept(100.0, "").len()), (0, 20_000));
    }

    #[test]
    fn an_id_is_text_or_a_number_and_that_of_somebody() {
        for (json, user, event) in [
            (r#""u-1""#, Some("u-1"), Some("u-1")),
            (r#""利用者 \"1\"""#, Some(r#"利用者 "1""#), Some(r#"利用者 "1""#)),
            ("12345", Some("12345"), Some("12345")),
            ("9007199254740993", Some("9007199254740993"), Some("9007199254740993")),
            ("1.2345e4", Some("12345"), Some("12345")),
            (r#""  ""#, None, None),
            (r#""undefined""#, None, Some("undefined")),
            ("0", None, Some("0")),
            ("true", None, None),
            (r#"{"id":1}"#, None, None),
            ("null", None, None),
        ] {
            assert_eq!(By::User.id(json).as_deref(), user, "{json}");
            assert_eq!(By::Event.id(json).as_deref(), event, "{json}");
        }
    }

    #[test]
    fn the_choice_never_changes() {
        assert_eq!(hash("", "user-1"), hash("", "user-1"));
        assert_ne!(hash("a", "b"), hash("ab", ""), "salt and id do not run together");
        // Written down: another number here drops whom yesterday's events kept.
        assert_eq!(format!("{:016x}", hash("", "user-1")), "8dcd1b302f5da28d");
    }

    #[test]
    fn wrong_settings_are_explained() {
        for (json, part) in [(r#"{"percent":101}"#, "0 to 100"), ("{}", "percent"), (r#"{"percent":1,"per":2}"#, "per")]
        {
            assert!(Settings::parse(json).unwrap_err().contains(part), "{json}");
        }
        assert_eq!(Settings::parse(r#"{"percent":5,"by":"event"}"#).unwrap().by, By::Event);
    }
}
