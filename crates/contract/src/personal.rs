//! Which fields look as if they held something of a person: their values are written nowhere.

use std::net::{IpAddr, SocketAddr};

/// Words of a field's name that give it away.
const WORDS: [&str; 63] = [
    "address",
    "auth",
    "authorization",
    "bearer",
    "birth",
    "birthday",
    "card",
    "city",
    "contact",
    "cookie",
    "credential",
    "cvc",
    "cvv",
    "dob",
    "email",
    "fax",
    "fingerprint",
    "firstname",
    "fullname",
    "gender",
    "geo",
    "iban",
    "idfa",
    "ip",
    "ipaddress",
    "ipv",
    "jwt",
    "key",
    "lastname",
    "lat",
    "latitude",
    "lng",
    "location",
    "login",
    "lon",
    "longitude",
    "mail",
    "mobile",
    "msisdn",
    "name",
    "nickname",
    "otp",
    "passport",
    "passwd",
    "password",
    "person",
    "phone",
    "pin",
    "postal",
    "postcode",
    "pwd",
    "recipient",
    "secret",
    "session",
    "ssn",
    "street",
    "surname",
    "tel",
    "telephone",
    "token",
    "user",
    "username",
    "zip",
];

/// Parts of words that give it away wherever they stand: `useremail`, `phonenumber`.
const STEMS: [&str; 16] = [
    "address",
    "apikey",
    "birth",
    "cardnumber",
    "creditcard",
    "email",
    "firstname",
    "fullname",
    "lastname",
    "passw",
    "phone",
    "postcode",
    "secret",
    "token",
    "username",
    "zipcode",
];

/// Whether a name says that something personal stands under it.
pub(super) fn is_name(name: &str) -> bool {
    words(name).iter().any(|word| {
        let one_of_many = [word.strip_suffix('s'), word.strip_suffix("es")];
        let mut spellings = one_of_many.into_iter().flatten().chain([word.as_str()]);
        spellings.any(|spelling| WORDS.contains(&spelling)) || STEMS.iter().any(|stem| word.contains(stem))
    })
}

/// The words of a name, in lower case: of `firstName`, `first_name` and `FIRST-NAME` the same two. Numbers are words of their own.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut word, mut before) = (Vec::new(), String::new(), None::<char>);
    for c in name.chars() {
        let is_next = before
            .is_some_and(|before| (c.is_uppercase() && before.is_lowercase()) || c.is_numeric() != before.is_numeric());
        if !c.is_alphanumeric() || is_next {
            end_word(&mut word, &mut words);
        } else if c.is_lowercase() && before.is_some_and(char::is_uppercase) {
            // The last capital of `IPAddress` begins a word.
            let first = word.pop();
            end_word(&mut word, &mut words);
            word.extend(first);
        }
        if c.is_alphanumeric() {
            word.push(c);
        }
        before = Some(c);
    }
    end_word(&mut word, &mut words);
    words
}

fn end_word(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word).to_lowercase());
    }
}

/// Whether a text itself looks like one: an address, a number to call, a token.
pub(super) fn is_text(text: &str) -> bool {
    let text = text.trim();
    // What stands behind the `?` of a link is anything.
    let is_link_with_more = text.contains("://") && text.contains(['?', '#']);
    is_of_somebody(text) || is_link_with_more || is_opaque(text)
}

/// Whether the name of a field is no name but somebody's or something's id, a day or a number, so that the next one is another one.
pub(super) fn is_id(name: &str) -> bool {
    let is_number = name.bytes().any(|byte| byte.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_digit() || b"-./:".contains(&byte));
    is_number || is_of_somebody(name) || (is_opaque(name) && !name.contains('_'))
}

/// Whether a text is an email, a number to call or of a card, a token that says so itself, an address of the network.
pub(super) fn is_of_somebody(text: &str) -> bool {
    let digits = digits_of(text);
    let is_email = text.split_once('@').or_else(|| text.split_once("%40"));
    let is_email = is_email.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    let is_phone = text.len() <= 24
        && (digits >= 9 || (digits >= 7 && text.starts_with(['+', '('])))
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-() ./".contains(&byte));
    let is_card =
        (13..=19).contains(&digits) && text.bytes().all(|byte| byte.is_ascii_digit() || b" -".contains(&byte));
    let is_token = text.starts_with("eyJ") || text.starts_with("Bearer ");
    let is_of_network = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    is_email || is_phone || is_card || is_token || is_of_network
}

fn digits_of(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

/// Long, without a space, of letters and digits mixed: a key or a hash.
fn is_opaque(text: &str) -> bool {
    let digits = digits_of(text);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+/".contains(&byte));
    text.len() >= 24 && is_plain && digits >= 4 && text.len() - digits >= 4 && !text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_that_look_personal_are_found() {
        for name in ["email", "userEmail", "first_name", "billing-address", "IP", "clientIp", "api_key", "accessToken"]
        {
            assert!(is_name(name), "{name}");
        }
        for name in ["email2", "addressLine1", "IPAddress", "phones", "addresses", "useremail", "PHONENUMBER", "ipv4"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["price", "currency", "plan", "quantity", "skip", "shipping_method", "news", "2x", "SKUList"] {
            assert!(!is_name(name), "{name}");
        }
        let token = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
        for text in ["a@example.com", "+49 30 1234567", "192.0.2.1", "2001:db8::1", "eyJhbGciOi", token] {
            assert!(is_text(text), "{text}");
        }
        let link = "https://shop.example/reset?code=7";
        for text in ["555-123-4567", "0151 23456789", "192.0.2.1:8080", "to=a%40example.com", link] {
            assert!(is_text(text), "{text}");
        }
        for text in ["EUR", "12.50", "Blue shoes", "2026-11-30", "https://example.com/a/very/long/path/1234"] {
            assert!(!is_text(text), "{text}");
        }
    }

    #[test]
    fn ids_are_told_from_names() {
        let uuid = "0e37df36-f698-11e6-8dd4-cb9ced3df976";
        for name in ["8423", "2026-11-30", "ann_b@example.com", "192.0.2.1", "507f1f77bcf86cd799439011", uuid] {
            assert!(is_id(name), "{name}");
        }
        for name in ["price", "step2", "", "-", "2x", "homepage_banner_q4_2024_clicks", "address"] {
            assert!(!is_id(name), "{name}");
        }
    }
}
