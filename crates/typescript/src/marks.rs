//! What becomes of each character of a text, and how it is found where the parser says nothing of its place.

use oxc_span::Span;

/// What becomes of a byte. Of a character its first byte counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharMark {
    Kept,
    Blank,
    Put(char),
}

/// A text with its marks. Places are those of the parser: bytes from the beginning.
pub(super) struct Marks<'t> {
    source: &'t str,
    marks: Vec<CharMark>,
}

impl<'t> Marks<'t> {
    pub(super) fn of(source: &'t str) -> Self {
        Self { source, marks: vec![CharMark::Kept; source.len()] }
    }

    /// Leaves spaces there.
    pub(super) fn blank(&mut self, from: u32, to: u32) {
        if let Some(marks) = self.marks.get_mut(from as usize..to as usize) {
            marks.fill(CharMark::Blank);
        }
    }

    /// Writes a character over the one that is there.
    pub(super) fn put(&mut self, at: u32, c: char) {
        if let Some(mark) = self.marks.get_mut(at as usize) {
            *mark = CharMark::Put(c);
        }
    }

    /// Leaves nothing of a statement or a member but a semicolon: without one, what stands before it could go on behind it.
    pub(super) fn remove(&mut self, span: Span) {
        self.blank(span.start, span.end);
        self.put(span.start, ';');
    }

    /// Ends a statement or a member by a semicolon where its last part is gone: what comes next could go on with what is left.
    pub(super) fn end(&mut self, span: Span) {
        let (start, end) = (span.start as usize, span.end as usize);
        let Some(marks) = self.marks.get_mut(start..end) else { return };
        let kept = marks.iter().rposition(|mark| *mark != CharMark::Blank).map_or(0, |last| last + 1);
        let is_ended = kept.checked_sub(1).is_some_and(|last| marks.get(last) == Some(&CharMark::Put(';')));
        if let (Some(first), false) = (marks.get_mut(kept), is_ended) {
            *first = CharMark::Put(';');
        }
    }

    /// Where the next token begins: behind spaces and comments.
    pub(super) fn token(&self, at: u32) -> u32 {
        let mut rest = self.rest(at);
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let end = if rest.starts_with("//") {
                rest.find(is_line_break)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.find("*/").map(|end| end + 4)
            } else {
                return u32::try_from(self.source.len() - rest.len()).unwrap_or(u32::MAX);
            };
            rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
        }
    }

    /// The word that begins there, which is empty where none does; and the place behind it, or behind one other character.
    pub(super) fn word(&self, at: u32) -> (&'t str, u32) {
        let rest = self.rest(at);
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$')).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        (word, at.saturating_add(u32::try_from(end.max(1)).unwrap_or(u32::MAX)))
    }

    pub(super) fn is_at(&self, at: u32, c: char) -> bool {
        self.rest(at).starts_with(c)
    }

    pub(super) fn has_line_break(&self, from: u32, to: u32) -> bool {
        self.source.get(from as usize..to as usize).is_some_and(|part| part.contains(is_line_break))
    }

    /// Where the last character before a place begins.
    pub(super) fn before(&self, at: u32) -> u32 {
        let last = self.source.get(..at as usize).and_then(|part| part.char_indices().next_back());
        last.and_then(|(at, _)| u32::try_from(at).ok()).unwrap_or_default()
    }

    /// What is left. A character that takes two units of UTF-16 leaves two spaces, since columns are counted in those.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.source.len());
        for (at, c) in self.source.char_indices() {
            let left = match self.marks.get(at) {
                Some(CharMark::Blank) if !is_line_break(c) => ' ',
                Some(CharMark::Put(put)) => *put,
                _ => {
                    text.push(c);
                    continue;
                }
            };
            text.push(left);
            if c.len_utf16() > 1 {
                text.push(' ');
            }
        }
        text
    }

    fn rest(&self, at: u32) -> &'t str {
        self.source.get(at as usize..).unwrap_or_default()
    }
}

/// Whether JavaScript ends a line at it.
fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}
