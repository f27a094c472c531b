//! Comma-separated values as RFC 4180 has them: quoted fields may hold commas, line ends and doubled quotes.

use tidegate_document::file;

/// The rows of `text`, with the line (from 1) on which each begins. Empty lines are none.
pub(super) fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    // A byte order mark is what some spreadsheets begin with.
    let mut rest = file::without_mark(text);
    let (mut rows, mut row, mut line, mut began) = (Vec::new(), Vec::new(), 1, 1);
    while !rest.is_empty() || !row.is_empty() {
        let (field, lines, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or_else(|| format!("line {line}: a quote is not closed"))?,
            None => {
                let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
                (rest[..end].to_owned(), 0, &rest[end..])
            }
        };
        line += lines;
        row.push(field);
        if let Some(next) = after.strip_prefix(',') {
            rest = next;
            if rest.is_empty() {
                row.push(String::new());
            } else {
                continue;
            }
        } else if let Some(next) = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\n', '\r'])) {
            rest = next;
        } else if after.is_empty() {
            rest = after;
        } else {
            return Err(format!("line {line}: something follows a closing quote"));
        }
        let done = std::mem::take(&mut row);
        if done != [""] {
            rows.push((began, done));
        }
        line += 1;
        began = line;
    }
    Ok(rows)
}

/// A field after its opening quote: its text, how many line ends it holds, and what follows the closing quote.
fn quoted_field(text: &str) -> Option<(String, usize, &str)> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field.clone(), field.matches('\n').count(), after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        rows(text).unwrap().into_iter().map(|(_, row)| row).collect()
    }

    #[test]
    fn fields_are_read_as_the_rfc_has_them() {
        assert_eq!(
            texts("a,b\r\n1,\"x, \"\"y\"\"\n z\"\n\n,\n"),
            [vec!["a", "b"], vec!["1", "x, \"y\"\n z"], vec!["", ""]]
        );
        assert_eq!(texts("\u{feff}a,b"), [["a", "b"]]);
        assert_eq!(texts(""), Vec::<Vec<String>>::new());
        assert_eq!(rows("a\n\"x\ny\"\nz").unwrap().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(rows("a\n\"b").unwrap_err(), "line 2: a quote is not closed");
        assert_eq!(rows("\"a\"b").unwrap_err(), "line 1: something follows a closing quote");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(table in prop::collection::vec(prop::collection::vec("[a\",\n\r ]{0,4}", 2..4), 0..5)) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
            let text: String = table.iter().map(line).collect();
            prop_assert_eq!(texts(&text), table);
        }

        #[test]
        fn any_text_ends(text in "[a\",\n\r]{0,40}") {
            let _ = rows(&text);
        }
    }
}
