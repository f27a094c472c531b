//! The command line of somebody who keeps contexts in a home of their own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use super::tidegate;

/// Commands of somebody with a home of their own.
pub struct HomeCommands<'a> {
    pub home: &'a Path,
}

impl HomeCommands<'_> {
    pub fn run(&self, words: &[&str], typed: &str) -> Output {
        let mut child = self.spawn(words);
        // One that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Starts a command and does not wait for its end.
    pub fn spawn(&self, words: &[&str]) -> Child {
        let mut command = tidegate();
        command.args(words).env("XDG_CONFIG_HOME", self.home).env_remove("TIDEGATE_ADMIN_TOKEN");
        command.env_remove("TIDEGATE_CONTEXT").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[track_caller]
    pub fn json(&self, words: &[&str], typed: &str) -> Value {
        let output = self.run(&[words, &["--json"]].concat(), typed);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {}", said(&output)))
    }

    #[track_caller]
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.run(words, "");
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
        said(&output)
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
