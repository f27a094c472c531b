//! Phone numbers and hashed personal data.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::id;

/// A phone number as E.164, such as `+15550100200`. `None` when it names no country: none is ever assumed.
pub fn phone(value: Option<&Value>) -> Option<String> {
    // The zero in +49 (0) 30 is dialled at home only.
    let text = value?.as_str()?.replacen("(0)", "", 1);
    let is_mark = |c: char| c.is_whitespace() || matches!(c, '-' | '.' | '(' | ')' | '[' | ']');
    let text: String = text.chars().filter(|c| !is_mark(*c)).collect();
    let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00"))?;
    let fits = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    (fits && (8..=15).contains(&digits.len())).then(|| format!("+{digits}"))
}

/// An email address without the white space around it; `None` for anything that is none.
pub fn email(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?.trim();
    let (user, domain) = text.split_once('@')?;
    let (host, last) = domain.rsplit_once('.')?;
    let parts_fit = [user, host, last].iter().all(|part| !part.is_empty()) && !domain.contains('@');
    (parts_fit && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

/// How a personal text is normalised before it is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personal {
    Email,
    Phone,
    Name,
    City,
    State,
    Zip,
    Country,
    Gender,
    DateOfBirth,
    Id,
}

/// The SHA-256 of a personal text in lower-case hexadecimal, normalised for its kind.
///
/// What already is 64 hexadecimal digits is a hash and only brought into lower case. `None` when there is nothing to hash,
/// or when it is none of its kind: a phone number without a country, a country that is no code of two letters.
pub fn hashed(value: Option<&Value>, kind: Personal) -> Option<String> {
    let text = id(value)?.trim().to_owned();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text.to_ascii_lowercase());
    }
    let text = normalized(&text, kind).filter(|text| !text.is_empty())?;
    Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn normalized(text: &str, kind: Personal) -> Option<String> {
    let lower = text.to_lowercase();
    match kind {
        Personal::Email => email(Some(&Value::from(lower))),
        Personal::Phone => Some(phone(Some(&Value::from(text)))?.trim_start_matches('+').to_owned()),
        // Letters, digits, and what belongs to letters in some scripts; not spaces and punctuation.
        Personal::Name | Personal::City | Personal::State => Some(lower.chars().filter(|c| is_of_word(*c)).collect()),
        Personal::Zip => Some(zip(&lower)),
        Personal::Country => (lower.len() == 2 && lower.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(lower),
        Personal::Gender => match lower.as_str() {
            "f" | "female" => Some("f".to_owned()),
            "m" | "male" => Some("m".to_owned()),
            _ => None,
        },
        Personal::DateOfBirth => date_of_birth(text),
        Personal::Id => Some(lower),
    }
}

/// Letters and digits of any script; beyond ASCII also the marks that vowels are written with.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}' | '\u{93c}' | '\u{94d}')
}

/// Without spaces and dashes, and of nine digits as in the United States the first five.
fn zip(text: &str) -> String {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = match text.split_once('-') {
        Some((five, four)) if digits(five, 5) && digits(four, 4) => five,
        _ => text,
    };
    text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect()
}

/// `1990-02-16`, `19900216`, and either with a time after it.
fn date_of_birth(text: &str) -> Option<String> {
    let date = text.split_once('T').map_or(text, |(date, _)| date);
    let digits = date.replace('-', "");
    let dashes: Vec<usize> = date.match_indices('-').map(|(at, _)| at).collect();
    let shape_fits = dashes.is_empty() || dashes == [4, 7];
    if !shape_fits || digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fits = ("01"..="12").contains(&&digits[4..6]) && ("01"..="31").contains(&&digits[6..8]);
    fits.then_some(digits)
}
