//! Which fields hold personal data, and of which class.

use serde::Deserialize;

/// A class of personal data, as settings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Email,
    Phone,
    Name,
    Ip,
    Card,
}

/// Names of fields, lower case and without separators: `first_name`, `firstName` and `First Name` are one.
const NAMES: [(&str, Class); 22] = [
    ("email", Class::Email),
    ("emailaddress", Class::Email),
    ("useremail", Class::Email),
    ("phone", Class::Phone),
    ("phonenumber", Class::Phone),
    ("mobile", Class::Phone),
    ("mobilenumber", Class::Phone),
    ("telephone", Class::Phone),
    ("firstname", Class::Name),
    ("middlename", Class::Name),
    ("lastname", Class::Name),
    ("fullname", Class::Name),
    ("surname", Class::Name),
    ("givenname", Class::Name),
    ("familyname", Class::Name),
    ("ip", Class::Ip),
    ("ipaddress", Class::Ip),
    ("card", Class::Card),
    ("cardnumber", Class::Card),
    ("creditcard", Class::Card),
    ("creditcardnumber", Class::Card),
    ("pan", Class::Card),
];

/// The class of a field by its name. A bare `name` is a person's only among traits: elsewhere it is a product's, a
/// page's or a campaign's.
#[must_use]
pub fn by_name(field: &str, among_traits: bool) -> Option<Class> {
    let plain: String = field.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if among_traits && plain == "name" {
        return Some(Class::Name);
    }
    NAMES.iter().find(|(name, _)| *name == plain).map(|(_, class)| *class)
}

/// The class of a text by its looks, whatever its field is called: an e-mail address or a card number and nothing else.
#[must_use]
pub fn by_looks(text: &str) -> Option<Class> {
    let text = text.trim();
    if looks_like_email(text) {
        Some(Class::Email)
    } else if looks_like_card(text) {
        Some(Class::Card)
    } else {
        None
    }
}

fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '@' | '/' | ':' | '?' | '=' | '<' | '>' | '"' | ',' | ';');
    let dotted = domain.split_once('.').is_some_and(|(host, rest)| !host.is_empty() && !rest.is_empty());
    !local.is_empty() && dotted && text.len() <= 254 && local.chars().all(plain) && domain.chars().all(plain)
}

/// 14 to 16 digits, perhaps in groups, that begin as cards do and end in the Luhn check digit. Shorter and longer cards
/// exist; to look for them would take bar codes and order numbers for cards.
fn looks_like_card(text: &str) -> bool {
    if text.len() > 40 || !text.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '-') {
        return false;
    }
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let luhn = digits.iter().rev().enumerate().map(|(i, digit)| match (i % 2, digit * 2) {
        (0, _) => *digit,
        (_, double) if double > 9 => double - 9,
        (_, double) => double,
    });
    let begins_as_card = digits.first().is_some_and(|digit| (2..=6).contains(digit));
    (14..=16).contains(&digits.len()) && begins_as_card && luhn.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_by_name_in_any_spelling() {
        for field in ["firstName", "first_name", "First Name", "FIRSTNAME"] {
            assert_eq!(by_name(field, false), Some(Class::Name), "{field}");
        }
        assert_eq!(by_name("name", true), Some(Class::Name));
        assert_eq!(by_name("name", false), None);
        assert_eq!(by_name("zip", false), None);
    }

    #[test]
    fn texts_are_known_by_their_looks() {
        assert_eq!(by_looks("ada@example.com"), Some(Class::Email));
        assert_eq!(by_looks(" 4111 1111 1111 1111 "), Some(Class::Card));
        assert_eq!(by_looks("4111-1111-1111-1112"), None, "wrong check digit");
        assert_eq!(by_looks("https://a@example.com/"), None);
        assert_eq!(by_looks("0000 0000 0000 0000"), None);
        assert_eq!(by_looks("a@b"), None);
    }
}
