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
        Personal::Name | Personal::City | Personal::State => Some(words(&lower)),
        Personal::Zip => Some(zip(&lower)),
        Personal::Country => (lower.len() == 2 && lower.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(lower),
        Personal::Gender => match lower.as_str() {
            "f" | "female" => Some("f".to_owned()),
            "m" | "male" => Some("m".to_owned()),
            _ => None,
        },
        Personal::DateOfBirth => date_of_birth(&lower),
        Personal::Id => Some(lower),
    }
}

/// The letters and digits of any script, and the marks on them: no white space, no punctuation, no symbols.
fn words(text: &str) -> String {
    // What an identifier may go on with, and what is alphabetic, is a letter, a digit or a mark, but for these.
    let joins = |c| matches!(c, '_' | '\u{b7}' | '\u{387}' | '\u{200c}' | '\u{200d}' | '\u{30fb}' | '\u{ff65}');
    let ties = |c| matches!(c, '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}'..='\u{fe4f}' | '\u{ff3f}');
    let symbol = |c| matches!(c, '\u{2118}' | '\u{212e}' | '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    let encloses =
        |c| matches!(c, '\u{488}' | '\u{489}' | '\u{1abe}' | '\u{20dd}'..='\u{20e4}' | '\u{a670}'..='\u{a672}');
    let fits = |c: &char| c.is_alphanumeric() || unicode_ident::is_xid_continue(*c) || encloses(*c);
    text.chars().filter(fits).filter(|c| !joins(*c) && !ties(*c) && !symbol(*c)).collect()
}

/// The five digits of a code with four more, as in the United States, else its letters and digits.
fn zip(text: &str) -> String {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(|c| matches!(c, '-' | '\u{2010}'..='\u{2015}')) {
        Some((five, four)) if digits(five, 5) && digits(four, 4) => five.to_owned(),
        _ => words(text),
    }
}

/// `1990-02-16`, with other marks or none between, and perhaps a time after it.
fn date_of_birth(text: &str) -> Option<String> {
    let date = text.split_once('t').map_or(text, |(date, _)| date);
    let mark = date.chars().nth(4).filter(|c| matches!(c, '-' | '/' | '.' | ' '));
    let (date, rest) = date.split_at_checked(if mark.is_some() { 10 } else { 8 })?;
    let parts: Vec<&str> = match mark {
        Some(mark) => date.split(mark).collect(),
        None => vec![date.get(..4)?, date.get(4..6)?, date.get(6..)?],
    };
    let [year, month, day] = parts[..] else { return None };
    let lengths_fit = (year.len(), month.len(), day.len()) == (4, 2, 2) && (rest.is_empty() || rest.starts_with(' '));
    let is_date = lengths_fit && [year, month, day].concat().bytes().all(|byte| byte.is_ascii_digit());
    let fits = is_date && ("01"..="12").contains(&month) && ("01"..="31").contains(&day);
    fits.then(|| format!("{year}{month}{day}"))
}
