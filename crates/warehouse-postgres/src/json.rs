//! JSON that the operators of PostgreSQL can read.
//!
//! `->>` and its kin fail on a JSON text with the character U+0000 anywhere in it, and with them every query over the table.
//! So in a text or a key of JSON the character is spelled as JSON spells it, `\u0000`: a backslash, `u`, four zeros. The
//! backslashes before it, and before a `u0000` that is text of its own, are doubled. Hence it is always known which was
//! meant: before `u0000`, an odd number of backslashes ends in the character, an even number is half as many. All other JSON
//! is as it came.

use tidegate_event::json;
use tidegate_event::value::Value;

/// The character as JSON spells it, and the rest of it behind the backslash.
pub(super) const NUL: &str = "\\u0000";
const TAIL: &str = "u0000";
const DEPTH_MAX: usize = 512;

/// A JSON text in which [`NUL`] occurs, as it is written; `None` when it is written as it is.
pub(super) fn readable_text(text: &str) -> Option<String> {
    let value = json::parse(text.as_bytes(), DEPTH_MAX).ok()?;
    Some(readable(&value).to_string())
}

/// The same of a value.
pub(super) fn readable(value: &Value) -> Value {
    match value {
        Value::String(text) => spelled(text).into(),
        Value::Array(items) => Value::Array(items.iter().map(readable).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (spelled(key), readable(value))).collect())
        }
        other => other.clone(),
    }
}

fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + NUL.len());
    let mut backslashes = 0;
    for (at, letter) in text.char_indices() {
        if letter == '\0' || (letter == 'u' && text[at..].starts_with(TAIL)) {
            out.extend(std::iter::repeat_n('\\', backslashes));
        }
        match letter {
            '\0' => out.push_str(NUL),
            other => out.push(other),
        }
        backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was spelled so.
    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            let run = rest[at..].bytes().take_while(|byte| *byte == b'\\').count();
            let behind = &rest[at + run..];
            out.push_str(&rest[..at]);
            match behind.strip_prefix(TAIL) {
                Some(behind) if run % 2 == 1 => {
                    out.extend(std::iter::repeat_n('\\', run / 2).chain(['\0']));
                    rest = behind;
                }
                found => {
                    out.extend(std::iter::repeat_n('\\', if found.is_some() { run / 2 } else { run }));
                    rest = behind;
                }
            }
        }
        out + rest
    }

    #[test]
    fn only_what_concerns_the_character_is_spelled_anew() {
        for (text, expected) in [
            ("plain \\ \\n u0000", "plain \\ \\n u0000"),
            ("a\0b", "a\\u0000b"),
            ("\\u0000", "\\\\u0000"),
            ("\\\0", "\\\\\\u0000"),
            ("\0\0u0000", "\\u0000\\u0000u0000"),
            ("\\u00000", "\\\\u00000"),
            ("\\U0000 \\ud800", "\\U0000 \\ud800"),
        ] {
            assert_eq!(spelled(text), expected);
            assert_eq!(plain(expected), text);
        }
        let value = r#"{"k\u0000":["\u0000",{"n":1.50e400}],"z":"\\u0000"}"#;
        let expected = r#"{"k\\u0000":["\\u0000",{"n":1.50e400}],"z":"\\\\u0000"}"#;
        assert_eq!(readable_text(value).as_deref(), Some(expected));
        assert_eq!(readable_text("no JSON \\u0000"), None);
    }

    proptest! {
        #[test]
        fn the_text_that_was_meant_can_always_be_told(text in "(\\\\|\u{0}|u0000|u|0|é){0,12}") {
            let out = spelled(&text);
            prop_assert!(!out.contains('\0'));
            prop_assert_eq!(plain(&out), text);
        }
    }
}
