//! Text from a guest, which ends up in logs, error messages and terminals.

/// Longest name of a counter, and of a code that a guest made up.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Longest message of a guest, and about it.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// `text` cut to `bytes_max` bytes, with everything escaped that could move a terminal's cursor or turn the order of
/// its letters round.
#[must_use]
pub fn legible(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let escape = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let bytes = if escape { c.escape_default().len() } else { c.len_utf8() };
        if out.len() + bytes > bytes_max {
            break;
        }
        if escape { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legible_text_is_cut_at_a_character_and_escaped() {
        assert_eq!(legible("a\u{1b}[31mb\n", 100), "a\\u{1b}[31mb\\n");
        assert_eq!(legible("\u{202e}evil", 100), "\\u{202e}evil");
        assert_eq!(legible("ééé", 5), "éé");
        assert_eq!(legible("ab\n", 3), "ab");
        assert_eq!(legible("", 0), "");
    }
}
