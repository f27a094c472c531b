//! Whether a text is one statement, told before SQLite reads it: it reads what stands behind a statement by calling itself, once for each.

/// Bytes of a statement.
pub const STATEMENT_BYTES_MAX: usize = 16 << 10;

/// Why a text is not one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementProblem {
    #[error("there is no statement in the text")]
    Empty,
    #[error("the text has more than {} bytes", STATEMENT_BYTES_MAX)]
    TooLong,
    #[error("the text has a character U+0000")]
    Nul,
    #[error("there are several statements in the text")]
    Several,
    #[error("the character {0:?} stands outside of quotation marks: it begins a parameter, and there are none")]
    Parameter(char),
}

/// Refuses what is not one statement. What stands in quotation marks or in comments counts for nothing.
///
/// # Errors
/// Why it is none.
pub fn one_statement(text: &str) -> Result<(), StatementProblem> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(StatementProblem::TooLong);
    }
    if text.contains('\0') {
        return Err(StatementProblem::Nul);
    }
    let mut rest = text.as_bytes();
    let (mut has_begun, mut is_over) = (false, false);
    while let Some((&first, behind_first)) = rest.split_first() {
        rest = behind_first;
        match (first, rest.first()) {
            (b' ' | b'\t' | b'\n' | b'\r' | 0x0c, _) => continue,
            (b'-', Some(b'-')) => {
                rest = behind(rest, b"\n");
                continue;
            }
            (b'/', Some(b'*')) => {
                rest = behind(rest.get(1..).unwrap_or_default(), b"*/");
                continue;
            }
            (b';', _) => {
                is_over |= has_begun;
                continue;
            }
            _ => {}
        }
        if is_over {
            return Err(StatementProblem::Several);
        }
        has_begun = true;
        match first {
            // A quotation mark that stands twice closes and opens again.
            b'\'' | b'"' | b'`' => rest = behind(rest, &[first]),
            b'[' => rest = behind(rest, b"]"),
            b'$' | b'@' | b'#' | b':' | b'?' => return Err(StatementProblem::Parameter(char::from(first))),
            _ => {}
        }
    }
    if has_begun { Ok(()) } else { Err(StatementProblem::Empty) }
}

/// What stands behind the first `end`; nothing where there is none.
fn behind<'t>(text: &'t [u8], end: &[u8]) -> &'t [u8] {
    let at = text.windows(end.len()).position(|part| part == end);
    at.and_then(|at| text.get(at + end.len()..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_may_end_with_a_semicolon_and_have_comments() {
        for text in [
            "SELECT 1",
            "SELECT 1;",
            "SELECT 1; -- done",
            "/* ; */ SELECT ';' || \";\" FROM [a;b] -- ;",
            "SELECT 'it''s; so' ;;; /* end",
            ";SELECT 1",
            "SELECT payload ->> '$.a:b' FROM t",
        ] {
            assert_eq!(one_statement(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_said() {
        use StatementProblem::{Empty, Nul, Parameter, Several, TooLong};
        for (text, problem) in [
            ("", Empty),
            (" ; -- nothing", Empty),
            ("/* SELECT 1 */", Empty),
            ("SELECT 1; SELECT 2", Several),
            ("SELECT 1;/**/DELETE FROM t", Several),
            ("SELECT 1 -- ;\n; DELETE FROM t", Several),
            ("SELECT 'a'';' ; DROP TABLE t", Several),
            ("SELECT ?", Parameter('?')),
            ("SELECT $x('); SELECT 1; SELECT 2", Parameter('$')),
            ("SELECT :a", Parameter(':')),
            ("SELECT 1\0; DELETE FROM t", Nul),
        ] {
            assert_eq!(one_statement(text), Err(problem), "{text:?}");
        }
        assert_eq!(one_statement(&"SELECT 1;".repeat(10_000)), Err(TooLong));
    }
}
