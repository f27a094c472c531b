//! What a name with a typo was meant to be.

/// The known name that `name` may have been meant to be, for a fix: at most two edits away, and less than half of it.
#[must_use]
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    const CHARS_MAX: usize = 64;
    if name.chars().nth(CHARS_MAX).is_some() {
        return None;
    }
    let far = |known: &&'n str| strsim::osa_distance(known, name);
    known.iter().copied().min_by_key(far).filter(|known| far(known) <= 2 && far(known) * 2 <= known.chars().count())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_is_known_and_another_word_is_not() {
        let known = ["format", "if", "maximum", "required"];
        for (name, meant) in
            [("fromat", Some("format")), ("requierd", Some("required")), ("fi", Some("if")), ("is", Some("if"))]
        {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
        for name in ["x", "minimum length", "", &"format".repeat(99)] {
            assert_eq!(nearest(name, &known), None, "{name}");
        }
    }
}
