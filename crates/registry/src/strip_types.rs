//! Types are taken from a script in a process that may die of it, as components are compiled: the parser bounds neither its stack nor its time.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tidegate_typescript::stripped;

use super::RegistryError;
use super::compile::{CompileError, CompileLimits, answered, confined};

/// The name of the hidden command.
pub const COMMAND: &str = "strip-types";

/// More than a script needs that somebody has written; one without end or measure needs more than any.
const STACK_BYTES: usize = 256 << 20;

/// What the answer of a child begins with.
const JAVASCRIPT: u8 = 0;
const REASON: u8 = 1;

const TOO_DEEP: &str = "its types could not be taken away within the limits: something is nested too deeply; write it with less nesting, or build it \
     with `tidegate function build`";

fn limits() -> CompileLimits {
    CompileLimits {
        cpu_max: Duration::from_secs(10),
        wall_max: Duration::from_secs(60),
        code_bytes_max: 1 << 20,
        ..CompileLimits::default()
    }
}

/// The JavaScript of a script in TypeScript, by running `program` as a child. Blocks for as long as that takes.
///
/// # Errors
/// It cannot be read, something in it is more than a type, or the child cannot be run.
pub(super) fn javascript(program: &Path, script: &str) -> Result<String, RegistryError> {
    let (input, mut asked) = io::pipe().map_err(CompileError::Start)?;
    let script = script.to_owned();
    // It ends with the child, which reads all or is gone.
    thread::spawn(move || asked.write_all(script.as_bytes()));
    let answer = match answered(Command::new(program).arg(COMMAND).stdin(input), &limits()) {
        Ok(answer) => answer,
        Err(CompileError::Memory { .. } | CompileError::Cpu { .. } | CompileError::Crashed { .. }) => {
            return Err(RegistryError::TypeScript(TOO_DEEP.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let (sign, text) = answer.split_first().ok_or(CompileError::NoAnswer)?;
    let text = String::from_utf8(text.to_vec()).map_err(|_| CompileError::NoAnswer)?;
    match *sign {
        JAVASCRIPT => Ok(text),
        REASON => Err(RegistryError::TypeScript(text)),
        _ => Err(CompileError::NoAnswer.into()),
    }
}

/// What the child does: limits itself, reads, strips, writes. Answers its exit code.
#[must_use]
pub fn child(memory_bytes_max: u64, cpu_seconds_max: u64) -> u8 {
    confined(memory_bytes_max, cpu_seconds_max, answer)
}

fn answer() -> Result<(), String> {
    let mut script = String::new();
    io::stdin().lock().read_to_string(&mut script).map_err(|error| format!("the script cannot be read: {error}"))?;
    let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || stripped(&script));
    let worker = worker.map_err(|error| format!("no thread to strip on: {error}"))?;
    let (sign, text) = match worker.join() {
        Ok(Ok(javascript)) => (JAVASCRIPT, javascript),
        Ok(Err(error)) => (REASON, error.to_string()),
        Err(_) => (REASON, "the parser of TypeScript broke off on it".to_owned()),
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(&[sign]).and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush());
    written.map_err(|error| format!("the script cannot be written: {error}"))
}
