//! Functions of SQLite that take as long as two texts are long, one multiplied by the other, for statements of somebody else: nothing interrupts a
//! function, so the second text is short here. What they answer is SQLite's own answer.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::FunctionFlags;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, params_from_iter};

/// Bytes of the second text.
const SECOND_BYTES_MAX: usize = 256;
/// By the number of their arguments, each as it is asked for what it answers.
const FUNCTIONS: [(&str, i32, &str); 5] = [
    ("instr", 2, "SELECT instr(?1, ?2)"),
    ("replace", 3, "SELECT replace(?1, ?2, ?3)"),
    ("trim", 2, "SELECT trim(?1, ?2)"),
    ("ltrim", 2, "SELECT ltrim(?1, ?2)"),
    ("rtrim", 2, "SELECT rtrim(?1, ?2)"),
];

/// Bounds these functions of a connection, of which no value has more bytes.
pub(super) fn bound_functions(connection: &Connection, value_bytes_max: i32) -> rusqlite::Result<()> {
    // Views are trusted with as little as any other statement.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    let original = Connection::open_in_memory()?;
    original.set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes_max)?;
    let original = Arc::new(Mutex::new(original));
    for (name, arguments, sql) in FUNCTIONS {
        let original = Arc::clone(&original);
        connection.create_scalar_function(name, arguments, flags, move |context| {
            let is_long = match context.get_raw(1) {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() > SECOND_BYTES_MAX,
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => false,
            };
            if is_long {
                let problem = format!("the second text of {name}() has more than {SECOND_BYTES_MAX} bytes");
                return Err(Error::UserFunctionError(problem.into()));
            }
            let given = (0..context.len()).map(|at| ToSqlOutput::Borrowed(context.get_raw(at)));
            let original = original.lock().unwrap_or_else(PoisonError::into_inner);
            let mut statement = original.prepare_cached(sql)?;
            let answered = statement.query_row(params_from_iter(given), |row| row.get_ref(0).map(owned));
            // With its sentence it would be any error.
            answered.map_err(|error| match error {
                Error::SqliteFailure(code, _) => Error::SqliteFailure(code, None),
                other => other,
            })
        })?;
    }
    Ok(())
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_answer_as_those_of_sqlite_do() {
        let (plain, bounded) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        bound_functions(&bounded, 1 << 18).unwrap();
        for sql in [
            "instr('naïve', 'v')",
            "instr('a', '')",
            "instr(x'0102', x'02')",
            "instr(NULL, 'a')",
            "instr(12.5, '.')",
            "replace('a-b-c', '-', '')",
            "replace(1.0, 1, 2)",
            "replace('a', '', 'b')",
            "replace('a', NULL, 'b')",
            "trim('xxaxx', 'x')",
            "trim('  a ')",
            "ltrim('xyax', 'yx')",
            "rtrim(x'6161', 'a')",
        ] {
            let asked = |connection: &Connection| -> Value {
                connection.query_row(&format!("SELECT {sql}"), [], |row| row.get(0)).unwrap()
            };
            assert_eq!(asked(&bounded), asked(&plain), "{sql}");
        }
        let long = bounded.query_row("SELECT trim('a', hex(zeroblob(200)))", [], |row| row.get::<_, Value>(0));
        assert!(long.unwrap_err().to_string().contains("the second text of trim() has more than 256 bytes"));
        let huge = "SELECT replace(hex(zeroblob(1000)), '0', hex(zeroblob(1000)))";
        let huge = bounded.query_row(huge, [], |row| row.get::<_, Value>(0)).unwrap_err();
        assert_eq!(huge.sqlite_error_code(), Some(rusqlite::ErrorCode::TooBig));
    }
}
