//! What is wrong with a document, for the people who wrote it.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with what somebody wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Empty when it is no file that was read.
    pub file: PathBuf,
    /// From 1; 0 when it is about the document as a whole, or one without lines.
    pub line: usize,
    /// The names of fields from the top, joined by dots; empty when it is about none of them.
    pub place: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// A problem of a file that is not about one of its fields.
    #[must_use]
    pub fn of_file(file: impl Into<PathBuf>, line: usize, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.into(), line, place: String::new(), message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}", self.file.display())?;
            if self.line > 0 {
                write!(f, ":{}", self.line)?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}\n  fix: {}", self.message, self.fix)
    }
}

/// Characters of a name that stand in a message.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of anything else that is quoted in a message.
pub const QUOTED_CHARS_MAX: usize = 300;

/// Somebody's text as it may stand in a message: at most so many characters of it, and those that a terminal would obey are
/// written out.
#[must_use]
pub fn shortened(text: &str, chars_max: usize) -> String {
    let mut short = String::new();
    for c in text.chars().take(chars_max) {
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    if text.chars().nth(chars_max).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_it_is_as_far_as_that_is_known() {
        let of = |file: &str, line| Problem::of_file(file, line, "it is wrong", "mend it").to_string();
        assert_eq!(of("a.yaml", 3), "a.yaml:3: it is wrong\n  fix: mend it");
        assert_eq!(of("a.yaml", 0), "a.yaml: it is wrong\n  fix: mend it");
        assert_eq!(of("", 0), "it is wrong\n  fix: mend it");
    }

    #[test]
    fn what_somebody_wrote_is_cut_and_cannot_move_the_cursor() {
        assert_eq!(shortened("größe\u{1b}[31m\n", 64), "größe\\u{1b}[31m\\n");
        assert_eq!(shortened(&"é".repeat(65), 64), "é".repeat(64) + "…");
        assert_eq!(shortened(&"é".repeat(64), 64), "é".repeat(64));
    }
}
