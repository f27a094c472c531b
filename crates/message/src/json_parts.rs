//! Where the values of a JSON text lie that holds several: a malformed one has bounds all the same.

use std::ops::Range;

use tidegate_event::json::{self, JsonError};

/// The elements of an array, as long as there are no more than `most`, and one more otherwise.
///
/// # Errors
/// The text is no array, or one without readable bounds.
pub(crate) fn elements(bytes: &[u8], most: usize) -> Result<Vec<Range<usize>>, JsonError> {
    let mut found = Vec::new();
    let start = json::space(bytes, 0);
    if bytes.get(start) != Some(&b'[') {
        return Err(JsonError::Malformed(start));
    }
    let mut at = json::space(bytes, start + 1);
    let mut more = bytes.get(at) != Some(&b']');
    while more && found.len() <= most {
        let end = element_end(bytes, at)?;
        found.push(at..end);
        let next = json::space(bytes, end);
        more = match bytes.get(next) {
            Some(b',') => true,
            Some(b']') => false,
            _ => return Err(JsonError::Malformed(next)),
        };
        at = if more { json::space(bytes, next + 1) } else { next };
    }
    let behind = json::space(bytes, at + 1);
    if !more && behind < bytes.len() {
        return Err(JsonError::Malformed(behind));
    }
    Ok(found)
}

/// Where an element ends, malformed or not.
fn element_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let error = match json::scan(bytes, at) {
        Ok(seen) if matches!(bytes.get(json::space(bytes, seen.end)), Some(b',' | b']')) => return Ok(seen.end),
        Ok(seen) => JsonError::Malformed(seen.end),
        Err(error) => error,
    };
    let next = json::skip_malformed(bytes, at).ok_or(error)?;
    Ok(json::trim_end(bytes.get(..next).unwrap_or(bytes), at))
}

/// The lines that hold something, as long as there are no more than `most`, and one more otherwise.
pub(crate) fn lines(bytes: &[u8], most: usize) -> Vec<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).take(most.saturating_add(1)).collect()
}
