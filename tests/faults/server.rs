//! The program under test, with its log in a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::pass;
use crate::support::held::HeldByProcess;
use crate::support::tidegate;

/// A running server; killed when dropped.
pub struct ServerProcess {
    child: Child,
    pub address: String,
    /// The address of the admin API.
    pub admin: String,
    /// From the start of the process to its word that it is ready.
    pub start_up: Duration,
}

impl ServerProcess {
    /// Starts a server on a workspace; answers the end of its log when it ended before it was ready.
    pub fn start(workspace: &Path, failpoints: &str) -> Result<Self, String> {
        let log = log_file(workspace);
        let stderr = File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let started = Instant::now();
        let mut command = tidegate();
        command.arg("serve").arg(workspace).args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--json", "--log", "warn"]).env("FAILPOINTS", failpoints);
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().map_err(|error| error.to_string())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let read = BufReader::new(stdout).read_line(&mut line);
        let ready: Option<serde_json::Value> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
        let Some(url) = ready.as_ref().and_then(|ready| ready["url"].as_str()) else {
            let _ = child.kill();
            let status = child.wait();
            return Err(format!("{status:?}: {line}{}", tail(&log)));
        };
        let address = url.trim_start_matches("http://").to_owned();
        let admin = ready.as_ref().and_then(|ready| ready["admin"].as_str()).unwrap_or_default();
        let admin = admin.trim_start_matches("http://").to_owned();
        Ok(Self { child, address, admin, start_up: started.elapsed() })
    }

    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
    }

    /// True when the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    pub fn kill(mut self) {
        self.kill_at_once();
    }

    /// SIGKILL.
    pub fn kill_at_once(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then the end; `None` when it did not end within `patience` and was killed.
    pub fn stop(mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal("TERM");
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            pass(Duration::from_millis(10));
        }
        None
    }

    /// Resident memory in bytes and open files.
    pub fn usage(&self) -> (u64, u64) {
        let pid = self.child.id();
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64);
        (pages * 4096, files)
    }

    pub fn held(&self) -> HeldByProcess {
        HeldByProcess::of(self.child.id())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn log_file(workspace: &Path) -> PathBuf {
    workspace.join("server.log")
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
