//! One process of Python that reads lakes for all tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;
use tidegate_warehouse_suite::{cache, repository};

struct Reader {
    // Ends when its input does, which is when this process ends.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

fn start() -> Result<Mutex<Reader>, String> {
    let python = cache().join("lake/bin/python");
    if !python.exists() {
        return Err(format!("{} is not there; run tests/warehouses/setup lake", python.display()));
    }
    let script = repository().join("tests/warehouses/lake/reader.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    Ok(Mutex::new(Reader { _child: child, input, output }))
}

fn reader() -> &'static Result<Mutex<Reader>, String> {
    static READER: OnceLock<Result<Mutex<Reader>, String>> = OnceLock::new();
    READER.get_or_init(start)
}

/// Whether there is one.
pub fn ready() -> Result<(), String> {
    reader().as_ref().map(|_| ()).map_err(Clone::clone)
}

/// Asks it; what it cannot do fails the test in its own words.
pub fn ask(request: &Value) -> Value {
    let reader = reader().as_ref().unwrap_or_else(|lack| panic!("{lack}"));
    let mut line = String::new();
    {
        let mut reader = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(reader.input, "{request}").unwrap();
        reader.output.read_line(&mut line).unwrap();
    }
    let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    assert!(answer.get("error").is_none(), "{request}: {}", answer["error"].as_str().unwrap_or_default());
    answer
}
