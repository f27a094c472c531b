//! Sizes and times as people write them.

use std::time::Duration;

/// `64 MiB`, for messages.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(1_u64 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(scale, _)| bytes >= *scale && bytes.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{bytes} bytes"), |(scale, name)| format!("{} {name}", bytes / scale))
}

/// The bytes that a size such as `64 MiB`, `10GB` or `512000` stands for: a whole number and a unit, `b` where there is
/// none. Large and small letters are alike; `k`, `m`, `g`, `t` and `p` stand for powers of 1,024.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "pib" | "p" => 1 << 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A length of time such as `30 s`, `24 h` or `7d`: above nothing, and a century at most.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
    // A century keeps every sum of times within range.
    (millis > 0 && millis <= 3_155_760_000_000).then(|| Duration::from_millis(millis))
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(bytes("64 MiB"), Some(64 << 20));
        assert_eq!(bytes("512000"), Some(512_000));
        assert_eq!(bytes("10GB"), Some(10_000_000_000));
        assert_eq!((bytes("1k"), bytes("1 TB")), (Some(1_024), Some(1_000_000_000_000)));
        assert_eq!((bytes("1 parsec"), bytes(""), bytes("99999999999 GiB")), (None, None, None));
        assert_eq!(duration("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!((duration("0 s"), duration("5"), duration("x s")), (None, None, None));
        assert_eq!((duration("1M"), duration("1.5 h"), duration("1 week")), (None, None, None));
    }
}
