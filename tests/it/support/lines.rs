//! Programs of tests that take one line and answer one, and end when their input does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A program that runs until this is dropped.
pub struct LineProgram {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl LineProgram {
    /// Starts it. It talks to servers on this machine, never through a proxy of the environment.
    pub fn start(mut command: Command) -> Result<Self, String> {
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Ok(Self { child, input, output })
    }

    /// The next line that it says, without its end; empty when it says nothing more.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Tells it something, and takes its answer.
    pub fn tell(&mut self, line: &str) -> String {
        let mut input = self.input.as_ref().unwrap();
        // One that has ended says nothing more.
        let _ = writeln!(input, "{line}");
        self.line()
    }

    /// The same in JSON; what it cannot do fails the test in its own words.
    #[track_caller]
    pub fn ask(&mut self, request: &Value) -> Value {
        let line = self.tell(&request.to_string());
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{request}: {line:?}: {error}"));
        assert!(answer.get("error").is_none(), "{request}: {}", answer["error"].as_str().unwrap_or_default());
        answer
    }
}

impl Drop for LineProgram {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
