//! What a compiling process can do beside computing: nothing.

use std::io::Write as _;
use std::process::Stdio;

use crate::conformance::skipped;
use crate::support::tidegate;

/// Asks the child of a build for tests to try whatever it may; answers what it says.
fn child(arguments: &[&str]) -> String {
    let mut command = tidegate();
    command.arg("compile-component").args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"try what you may").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_compiling_process_opens_no_file_and_no_socket_runs_no_program_and_signals_nobody() {
    let said = child(&["4294967296", "60"]);
    if said.starts_with("no filter for system calls") {
        return skipped("process::jail", &format!("this kernel has no seccomp: {}", said.trim()));
    }
    assert_eq!(said.trim(), "could nothing; a thread computed 42");
}
