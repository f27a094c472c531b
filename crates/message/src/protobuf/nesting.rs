//! How deep the blocks of a text are nested. Whoever compiles it goes down as deep, so it is asked before.

/// Blocks within blocks of a `.proto`.
pub(super) const NESTING_MAX: usize = 100;

/// Whether blocks, lists and messages in options are nested no deeper than that. What is in quotes or comments does not count.
pub(super) fn is_shallow(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        match (byte, next) {
            (b'/', Some(b'/')) => at = behind(bytes, at, b"\n"),
            (b'/', Some(b'*')) => at = behind(bytes, at + 2, b"*/"),
            (b'"' | b'\'', _) => at = behind_quotes(bytes, at + 1, *byte),
            (b'{' | b'[' | b'<' | b'(', _) => {
                depth += 1;
                if depth > NESTING_MAX {
                    return false;
                }
                at += 1;
            }
            (b'}' | b']' | b'>' | b')', _) => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
    }
    true
}

/// Behind the next `end`, or the end of all.
fn behind(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = rest.windows(end.len()).position(|part| part == end);
    found.map_or(bytes.len(), |at| from + at + end.len())
}

/// Behind the quote that ends a text; a text ends with its line at the latest.
fn behind_quotes(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'\n' => return at,
            _ if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_and_texts_and_comments_do_not() {
        let nested = |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times));
        assert!(is_shallow(&nested("message A {", "}", 100)));
        assert!(!is_shallow(&nested("message A {", "}", 101)));
        assert!(!is_shallow(&nested("[{<(", ")>}]", 26)));
        let many = "{".repeat(200);
        for text in [
            format!("// {many}\n"),
            format!("/* {many} */ {{}}"),
            format!("\"{many}\""),
            format!("'\\'{many}'"),
            format!("/* {many}"),
            "{}".repeat(200),
        ] {
            assert!(is_shallow(&text), "{text}");
        }
        assert!(!is_shallow(&format!("/* */ {many}")));
        assert!(!is_shallow(&format!("\"\n{many}")));
    }
}
