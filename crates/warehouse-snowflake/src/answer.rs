//! What a statement answers: rows of texts.
//!
//! The session asks for JSON, and Snowflake sends numbers, booleans and texts as JSON strings. An account may insist on
//! Arrow; columns of text are then read too, which is all that this warehouse ever selects. Missing fields are no error:
//! Snowflake adds and leaves out what it likes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::SnowflakeError;

/// Rows of one answer; `None` is NULL.
pub(super) type AnswerRows = Vec<Vec<Option<String>>>;

/// One statement's answer.
#[derive(Debug, Default)]
pub(super) struct SnowflakeAnswer {
    /// Names of the columns.
    pub(super) columns: Vec<String>,
    pub(super) rows: AnswerRows,
    /// There are rows that are not texts. Nobody may need them.
    is_unreadable: bool,
    /// The whole of `data`, for what is no table (the answer to PUT).
    pub(super) data: Value,
}

impl SnowflakeAnswer {
    /// Reads `data` of an answer, without further chunks.
    pub(super) fn of(data: Value, doing: &'static str) -> Result<Self, SnowflakeError> {
        let unreadable = |problem: &str| SnowflakeError::Answer { doing, problem: problem.to_owned() };
        let columns: Vec<String> = data["rowtype"].as_array().map_or(Vec::new(), |types| {
            types.iter().map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect()
        });
        let rows = match (&data["rowset"], data["rowsetBase64"].as_str()) {
            (Value::Array(rows), _) => Some(json_rows(rows)),
            (_, Some(text)) if !text.is_empty() => {
                let bytes = STANDARD.decode(text).map_err(|_| unreadable("no base64"))?;
                arrow_rows(&bytes, columns.len())
            }
            _ => Some(AnswerRows::new()),
        };
        Ok(Self { columns, is_unreadable: rows.is_none(), rows: rows.unwrap_or_default(), data })
    }

    /// The answer of a statement that selects texts.
    pub(super) fn texts(self, doing: &'static str) -> Result<Self, SnowflakeError> {
        if self.is_unreadable {
            return Err(SnowflakeError::Answer {
                doing,
                problem: "it is Arrow with other columns than texts".to_owned(),
            });
        }
        Ok(self)
    }

    /// The first number of the first row: how many rows a statement has written.
    pub(super) fn count(&self) -> Option<u64> {
        self.rows.first()?.first()?.as_deref()?.parse().ok()
    }

    /// The cell of `row` in the column of this name.
    pub(super) fn cell<'a>(&self, row: &'a [Option<String>], name: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))?;
        row.get(at)?.as_deref()
    }
}

/// Rows as Snowflake spells them in JSON.
pub(super) fn json_rows(rows: &[Value]) -> AnswerRows {
    let cell = |cell: &Value| match cell {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    rows.iter().map(|row| row.as_array().map_or(Vec::new(), |row| row.iter().map(cell).collect())).collect()
}

/// Rows of an Arrow stream all of whose columns are text.
fn arrow_rows(stream: &[u8], columns: usize) -> Option<AnswerRows> {
    let mut rows = AnswerRows::new();
    let mut at = 0;
    while let Some(length) = number(stream, at + 4).filter(|length| *length > 0) {
        let message = Message(stream.get(at + 8..at + 8 + length)?);
        let root = number(message.0, 0)?;
        let body_at = at + 8 + length;
        let body_length = message.field(root, 10).map_or(Some(0), |field| long(message.0, field))?;
        let body = stream.get(body_at..body_at + body_length)?;
        const RECORD_BATCH: u8 = 3;
        if message.field(root, 6).and_then(|field| message.0.get(field)) == Some(&RECORD_BATCH) {
            let batch = message.pointed(message.field(root, 8)?)?;
            rows.extend(batch_rows(&message, batch, body, columns)?);
        }
        at = body_at + body_length;
    }
    Some(rows)
}

fn batch_rows(message: &Message<'_>, batch: usize, body: &[u8], columns: usize) -> Option<AnswerRows> {
    // A compressed body would have a fourth field.
    if message.field(batch, 10).is_some() {
        return None;
    }
    let length = message.field(batch, 4).map_or(Some(0), |field| long(message.0, field))?;
    let buffers = message.pointed(message.field(batch, 8)?)?;
    // Each column of text has three: which are there, where each begins, the bytes.
    if number(message.0, buffers)? != 3 * columns || length > body.len() * 8 + 1 {
        return None;
    }
    let buffer = |n: usize| {
        let at = buffers + 4 + 16 * n;
        let (start, length) = (long(message.0, at)?, long(message.0, at + 8)?);
        body.get(start..start.checked_add(length)?)
    };
    let mut rows = vec![Vec::with_capacity(columns); length];
    for column in 0..columns {
        let (there, starts, bytes) = (buffer(3 * column)?, buffer(3 * column + 1)?, buffer(3 * column + 2)?);
        for (n, row) in rows.iter_mut().enumerate() {
            let is_there = there.is_empty() || there.get(n / 8)? >> (n % 8) & 1 == 1;
            let text = if is_there {
                let text = bytes.get(number(starts, 4 * n)?..number(starts, 4 * n + 4)?)?;
                Some(String::from_utf8(text.to_vec()).ok()?)
            } else {
                None
            };
            row.push(text);
        }
    }
    Some(rows)
}

/// A FlatBuffers table, read as far as it is needed; whatever is out of bounds is `None`.
struct Message<'a>(&'a [u8]);

impl Message<'_> {
    /// Where the field is that the table at `table` has in its slot `slot` (4 for the first, 6 for the second).
    fn field(&self, table: usize, slot: usize) -> Option<usize> {
        let back = i32::from_le_bytes(self.0.get(table..table + 4)?.try_into().ok()?);
        let slots = usize::try_from(i64::try_from(table).ok()? - i64::from(back)).ok()?;
        let size = short(self.0, slots)?;
        let offset = if slot < size { short(self.0, slots + slot)? } else { 0 };
        (offset > 0).then_some(table + offset)
    }

    fn pointed(&self, at: usize) -> Option<usize> {
        at.checked_add(number(self.0, at)?)
    }
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?).into())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?).try_into().ok()
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two rows of two texts, ("a", null) and ("é", ""), as pyarrow writes them.
    const ARROW: &str = include_str!("testdata/texts.arrow.base64");

    #[test]
    fn texts_come_out_of_arrow_as_they_went_in() {
        let data = serde_json::json!({ "rowtype": [{"name": "X"}, {"name": "Y"}], "rowsetBase64": ARROW.trim() });
        let answer = SnowflakeAnswer::of(data, "testing").unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(answer.rows, [vec![text("a"), None], vec![text("é"), text("")]]);
        assert_eq!(answer.cell(&answer.rows[1], "x"), Some("é"));
    }

    #[test]
    fn bytes_that_are_no_arrow_are_refused_without_a_panic() {
        let good = STANDARD.decode(ARROW.trim()).unwrap();
        assert!(arrow_rows(&good, 3).is_none(), "another number of columns");
        for at in 0..good.len() {
            let _ = arrow_rows(&good[..at], 2);
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = arrow_rows(&bad, 2);
        }
    }
}
