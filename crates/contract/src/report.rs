//! The sentences of a violation: bounded in number and in length, however hostile the event.

use std::fmt::{self, Write};

use super::{VIOLATION_BYTES_MAX, VIOLATIONS_MAX};

const CUT: &str = "...";

/// Sentences gathered so far and the number of those that found no room.
#[derive(Default)]
pub(super) struct ContractReport {
    sentences: Vec<String>,
    more: usize,
}

impl ContractReport {
    /// Adds one sentence. `write` does not run when there is no room left, and it is stopped by an error as soon as
    /// it has written too much, so that a huge value costs no huge sentence.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut ReportLine) -> fmt::Result) {
        if self.sentences.len() == VIOLATIONS_MAX {
            self.more += 1;
            return;
        }
        self.sentences.push(Self::line(write));
    }

    /// One sentence for itself, cut at its limit.
    pub(super) fn line(write: impl FnOnce(&mut ReportLine) -> fmt::Result) -> String {
        let mut line = ReportLine::default();
        let _stopped_early = write(&mut line);
        line.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    pub(super) fn into_sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences.push(format!("... and {} more", self.more));
        }
        self.sentences
    }
}

/// One sentence, cut at its limit.
#[derive(Default)]
pub(super) struct ReportLine {
    text: String,
    cut: bool,
}

impl Write for ReportLine {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.cut {
            return Err(fmt::Error);
        }
        if self.text.len() + part.len() <= VIOLATION_BYTES_MAX {
            self.text.push_str(part);
            return Ok(());
        }
        self.cut = true;
        let room = VIOLATION_BYTES_MAX - CUT.len();
        if self.text.len() < room {
            let end = part.floor_char_boundary(room - self.text.len());
            self.text.push_str(&part[..end]);
        } else {
            self.text.truncate(self.text.floor_char_boundary(room));
        }
        self.text.push_str(CUT);
        Err(fmt::Error)
    }
}

/// One step of a JSON pointer.
#[derive(Clone, Copy)]
pub(super) enum ReportStep<'a> {
    Key(&'a str),
    Index(usize),
}

/// Writes `steps` as a JSON pointer.
pub(super) fn write_pointer(line: &mut ReportLine, steps: &[ReportStep<'_>]) -> fmt::Result {
    for step in steps {
        match step {
            ReportStep::Key(key) => {
                line.write_char('/')?;
                write_escaped(line, key)?;
            }
            ReportStep::Index(index) => write!(line, "/{index}")?,
        }
    }
    Ok(())
}

/// Writes `steps` as a JSON pointer with a star for each item of a list: one name for the same field of all items.
pub(super) fn write_place(line: &mut ReportLine, steps: &[ReportStep<'_>]) -> fmt::Result {
    for step in steps {
        match step {
            ReportStep::Key(_) => write_pointer(line, std::slice::from_ref(step))?,
            ReportStep::Index(_) => line.write_str("/*")?,
        }
    }
    Ok(())
}

fn write_escaped(line: &mut ReportLine, key: &str) -> fmt::Result {
    let mut rest = key;
    while let Some(at) = rest.find(['~', '/']) {
        line.write_str(&rest[..at])?;
        line.write_str(if rest.as_bytes()[at] == b'~' { "~0" } else { "~1" })?;
        rest = &rest[at + 1..];
    }
    line.write_str(rest)
}
