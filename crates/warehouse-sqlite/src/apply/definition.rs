//! The text of a `CREATE TABLE` statement, read closely enough to replace the type of one column.

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Word,
    /// In any of SQLite's four quotes.
    Quoted,
    Mark(u8),
}

#[derive(Clone, Copy)]
struct DdlToken {
    kind: TokenKind,
    start: usize,
    end: usize,
}

/// `sql` with the declared type of `column` replaced by `wanted`. `None` unless exactly one column has that name.
pub(super) fn retyped(sql: &str, column: &str, wanted: &str) -> Option<String> {
    let tokens = tokens(sql)?;
    let open = tokens.iter().position(|token| token.kind == TokenKind::Mark(b'('))?;
    let mut depth = 0_usize;
    let mut first = false;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            TokenKind::Mark(b'(') => {
                depth += 1;
                first = depth == 1;
                continue;
            }
            TokenKind::Mark(b')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    break;
                }
            }
            TokenKind::Mark(b',') if depth == 1 => {
                first = true;
                continue;
            }
            TokenKind::Word | TokenKind::Quoted if first && depth == 1 && names(sql, *token, column) => found.push(at),
            _ => {}
        }
        first = false;
    }
    let [at] = found[..] else { return None };
    let start = tokens[at].end;
    let end = type_end(sql, &tokens[at..]);
    Some(format!("{} {wanted}{}{}", &sql[..start], if end == start { " " } else { "" }, &sql[end..]))
}

/// Where the type behind a column's name ends: words up to the first constraint, then perhaps sizes in parentheses.
fn type_end(sql: &str, tokens: &[DdlToken]) -> usize {
    let mut end = tokens[0].end;
    let mut depth = 0_usize;
    for token in &tokens[1..] {
        match token.kind {
            TokenKind::Word if depth == 0 && is_constraint(&sql[token.start..token.end]) => break,
            TokenKind::Mark(b',' | b')') if depth == 0 => break,
            TokenKind::Mark(b'(') => depth += 1,
            TokenKind::Mark(b')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            end = token.end;
        }
    }
    end
}

fn is_constraint(word: &str) -> bool {
    const WORDS: [&str; 11] = [
        "CONSTRAINT",
        "PRIMARY",
        "NOT",
        "NULL",
        "UNIQUE",
        "CHECK",
        "DEFAULT",
        "COLLATE",
        "REFERENCES",
        "GENERATED",
        "AS",
    ];
    WORDS.iter().any(|constraint| constraint.eq_ignore_ascii_case(word))
}

fn names(sql: &str, token: DdlToken, column: &str) -> bool {
    let text = &sql[token.start..token.end];
    let plain = match (token.kind, text.as_bytes().first()) {
        (TokenKind::Quoted, Some(b'[')) => text[1..text.len() - 1].to_owned(),
        (TokenKind::Quoted, Some(quote)) => {
            let quote = char::from(*quote).to_string();
            text[1..text.len() - 1].replace(&quote.repeat(2), &quote)
        }
        _ => text.to_owned(),
    };
    plain.eq_ignore_ascii_case(column)
}

/// The tokens of `sql` without comments; `None` when a quote or comment does not end.
fn tokens(sql: &str) -> Option<Vec<DdlToken>> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let start = at;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = sql[at..].find('\n').map_or(bytes.len(), |line| at + line);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at += 2 + sql[at + 2..].find("*/")? + 2;
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at += 1;
                loop {
                    at += bytes[at..].iter().position(|other| *other == byte)? + 1;
                    if bytes.get(at) != Some(&byte) {
                        break;
                    }
                    at += 1;
                }
                tokens.push(DdlToken { kind: TokenKind::Quoted, start, end: at });
            }
            b'[' => {
                at += bytes[at..].iter().position(|other| *other == b']')? + 1;
                tokens.push(DdlToken { kind: TokenKind::Quoted, start, end: at });
            }
            byte if is_word(byte) => {
                at += bytes[at..].iter().position(|byte| !is_word(*byte)).unwrap_or(bytes.len() - at);
                tokens.push(DdlToken { kind: TokenKind::Word, start, end: at });
            }
            mark => {
                at += 1;
                tokens.push(DdlToken { kind: TokenKind::Mark(mark), start, end: at });
            }
        }
    }
    Some(tokens)
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_one_column_is_replaced_and_nothing_else() {
        for (before, after) in [
            (
                r#"CREATE TABLE "t" ("id" TEXT, "a" INTEGER, "b" TEXT)"#,
                r#"CREATE TABLE "t" ("id" TEXT, "a" TEXT, "b" TEXT)"#,
            ),
            ("CREATE TABLE t (id TEXT, a INTEGER)", "CREATE TABLE t (id TEXT, a TEXT)"),
            ("CREATE TABLE t (id TEXT, [A] int NOT NULL)", "CREATE TABLE t (id TEXT, [A] TEXT NOT NULL)"),
            ("CREATE TABLE t (`a` NUMERIC (10, 2) DEFAULT (1))", "CREATE TABLE t (`a` TEXT DEFAULT (1))"),
            ("CREATE TABLE t (id TEXT, a)", "CREATE TABLE t (id TEXT, a TEXT )"),
            (
                "CREATE TABLE t (a DEFAULT ', \"a\" INTEGER', b)",
                "CREATE TABLE t (a TEXT  DEFAULT ', \"a\" INTEGER', b)",
            ),
            ("CREATE TABLE t (-- a INTEGER,\n a /* x */ BIG INT)", "CREATE TABLE t (-- a INTEGER,\n a TEXT)"),
            ("CREATE TABLE a (x INT CHECK (x > 1, a), a INT)", "CREATE TABLE a (x INT CHECK (x > 1, a), a TEXT)"),
        ] {
            assert_eq!(retyped(before, "a", "TEXT").as_deref(), Some(after));
        }
        for refused in
            ["CREATE TABLE t (b INT)", "CREATE TABLE t (a INT, A INT)", "CREATE TABLE t (a 'INT)", "nonsense"]
        {
            assert_eq!(retyped(refused, "a", "TEXT"), None, "{refused}");
        }
        let quoted = r#"CREATE TABLE t ("a""b" INT)"#;
        assert_eq!(retyped(quoted, "a\"b", "TEXT").as_deref(), Some(r#"CREATE TABLE t ("a""b" TEXT)"#));
    }
}
