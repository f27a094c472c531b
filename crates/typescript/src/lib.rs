//! TypeScript without its types: where one was there are spaces, so that every line and column stays what it was.
//!
//! Noun: to **strip** a text is to put a space in the place of everything that is there for the compiler alone.
//!
//! What holds: what is left has the same lines, each as long as it was, and is JavaScript when the text is TypeScript. Every character of it is
//! the text's or a space, but for three: `;` where a type kept two statements apart, and `(` or `)` where a type has a line break
//! at which JavaScript allows none. What does something when it runs, as an `enum` does, is an error that says what to write instead.
//!
//! No type is checked. The parser bounds neither its stack nor its time: whoever strips a text of others does so where both are bounded.

mod marks;
mod stripper;
mod type_only;

use oxc_allocator::Allocator;
use oxc_ast_visit::Visit as _;
use oxc_parser::Parser;
use oxc_span::SourceType;

use marks::Marks;
use stripper::Stripper;

/// Why a text cannot be stripped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (script.ts:{line}:{column})")]
pub struct StripError {
    pub reason: String,
    /// Counted from 1.
    pub line: usize,
    /// In UTF-16 units, counted from 1.
    pub column: usize,
}

impl StripError {
    fn at(text: &str, position: u32, reason: String) -> Self {
        let before = text.get(..position as usize).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Self { reason, line: before.matches('\n').count() + 1, column: in_line.encode_utf16().count() + 1 }
    }
}

/// The JavaScript of a module that is written in TypeScript.
///
/// # Errors
/// It cannot be read, or something in it is more than a type.
pub fn stripped(text: &str) -> Result<String, StripError> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts().with_module(true)).parse();
    if let Some(found) = parsed.diagnostics.errors().next() {
        let labels = &found.labels;
        let label = labels.iter().find(|label| label.primary()).or_else(|| labels.first());
        let position = label.map_or(0, |label| label.offset());
        let help = found.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        return Err(StripError::at(text, position, format!("{}{help}", found.message)));
    }
    let mut stripper = Stripper::of(Marks::of(text));
    stripper.visit_program(&parsed.program);
    match stripper.not_types.into_iter().min_by_key(|(position, _)| *position) {
        Some((position, reason)) => Err(StripError::at(text, position, reason.to_owned())),
        None => Ok(stripper.marks.text()),
    }
}
