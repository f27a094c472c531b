//! What a name with a typo was meant to be.

/// The known name that `name` may have been meant to be, for a fix: at most two edits away and no more than half of it, or
/// three and no more than a third; large and small letters are alike.
#[must_use]
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    const CHARS_MAX: usize = 64;
    if name.chars().nth(CHARS_MAX).is_some() {
        return None;
    }
    let small = name.to_lowercase();
    let far = |known: &&'n str| strsim::osa_distance(&known.to_lowercase(), &small);
    let is_near = |known: &&'n str| {
        let (far, chars) = (far(known), known.chars().count());
        (far <= 2 && far * 2 <= chars) || (far == 3 && far * 3 <= chars)
    };
    known.iter().copied().min_by_key(|known| (far(known), strsim::osa_distance(known, name))).filter(is_near)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_is_known_and_another_word_is_not() {
        let known = ["format", "if", "maximum", "required", "categories"];
        for (name, meant) in [
            ("fromat", Some("format")),
            ("requierd", Some("required")),
            ("fi", Some("if")),
            ("is", Some("if")),
            ("FORMAT", Some("format")),
            ("category", Some("categories")),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
        for name in ["x", "minimum length", "", &"format".repeat(99)] {
            assert_eq!(nearest(name, &known), None, "{name}");
        }
    }
}
