//! When a certificate ends.

use tidegate_event::time;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate (DER) ends, microseconds since the epoch; none for what is no certificate.
#[must_use]
pub fn ends_us(der: &[u8]) -> Option<i64> {
    let (whole, _) = within(der, SEQUENCE)?;
    let (body, _) = within(whole, SEQUENCE)?;
    // A version, a number, an algorithm and an issuer come before the times.
    let (tag, _, behind) = element(body)?;
    let (_, _, rest) = if tag == VERSION { element(behind)? } else { (tag, body, behind) };
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (times, _) = within(rest, SEQUENCE)?;
    let (_, _, rest) = element(times)?;
    let (tag, end, _) = element(rest)?;
    instant(tag, std::str::from_utf8(end).ok()?)
}

/// `261130100000Z` or `20261130100000Z`.
fn instant(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    let whole = match tag {
        UTC_TIME if digits.len() == 12 => {
            let century = if digits.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{digits}")
        }
        GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    time::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// What is in an element that has this tag, and what is behind it.
fn within(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, inner, rest) = element(bytes)?;
    (tag == wanted).then_some((inner, rest))
}

/// The first element: its tag, what is in it, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((*tag, inner, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found_and_a_torn_one_has_none() {
        let mut asked = rcgen::CertificateParams::new(vec!["far.example".to_owned()]).unwrap();
        asked.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = asked.self_signed(&key).unwrap();
        let der: &[u8] = made.der();
        assert_eq!(ends_us(der), time::parse("2031-02-03T00:00:00Z"));
        for end in 0..der.len() {
            assert_eq!(ends_us(&der[..end]), None, "{end}");
        }
        assert_eq!(instant(GENERALIZED_TIME, "20510203040506Z"), time::parse("2051-02-03T04:05:06Z"));
        assert_eq!(
            (instant(UTC_TIME, "5102"), instant(UTC_TIME, "510203040506Z")),
            (None, time::parse("1951-02-03T04:05:06Z"))
        );
    }
}
