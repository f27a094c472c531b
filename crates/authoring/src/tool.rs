//! Tools of other languages: found, installed at a pinned version, run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Where tools are kept and where build output goes.
#[derive(Debug, Clone)]
pub struct Workbench {
    /// Installed tools; shared by all projects.
    pub tools: PathBuf,
    /// Cargo's target folder; its own choice when it is `None`.
    pub target_dir: Option<PathBuf>,
}

/// Lines of a tool's output that are kept; the last ones say what went wrong.
const LINES_MAX: usize = 400;
const LINE_BYTES_MAX: usize = 4 << 10;

/// A tool is missing or cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{tool} is missing; {fix}")]
    Missing { tool: &'static str, fix: &'static str },
    #[error("{tool} could not be installed into {}:\n{reason}", dir.display())]
    Install { tool: &'static str, dir: PathBuf, reason: String },
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// Packages of npm, exact.
const NPM: [(&str, &str); 3] = [("componentize-qjs", "0.4.5"), ("esbuild", "0.28.2"), ("acorn", "8.19.0")];
pub(super) const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const ZIG: &str = "ziglang==0.17.1";

/// What stands before the C library of a tool that keeps an interpreter's memory.
const STEADY: &str = include_str!("guest/steady/steady.c");

impl Workbench {
    /// `node_modules` with what JavaScript and TypeScript need.
    pub(super) fn npm(&self, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ToolError> {
        let version: Vec<String> = NPM.iter().map(|(name, version)| format!("{name}@{version}")).collect();
        let dir = self.installed("javascript", &version.join(" "), |dir| {
            progress("Installing componentize-qjs and esbuild (npm)");
            let package: serde_json::Map<_, _> =
                NPM.iter().map(|(name, version)| ((*name).to_owned(), (*version).into())).collect();
            let package = serde_json::json!({"private": true, "dependencies": package});
            write(&dir.join("package.json"), &package.to_string())?;
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]);
            install(npm.current_dir(dir), "componentize-qjs", NODE, dir, progress)
        })?;
        Ok(dir.join("node_modules"))
    }

    /// A Python with componentize-py.
    pub(super) fn python(&self, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ToolError> {
        self.venv("python", COMPONENTIZE_PY, "componentize-py", progress)
    }

    /// A Python whose `-m ziglang` is a C compiler for WebAssembly with a C library.
    pub(super) fn zig(&self, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ToolError> {
        self.venv("zig", ZIG, "zig", progress)
    }

    /// A library that makes clock and randomness the same in every run of a tool that is started with it as `LD_PRELOAD`.
    /// None where there is no compiler to make it with, or no such way: then a component in JavaScript has other bytes each
    /// time that it is built.
    pub(super) fn steady(&self, progress: &mut dyn FnMut(&str)) -> Option<PathBuf> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let dir = self.installed("steady", STEADY, |dir| {
            let (source, library) = (dir.join("steady.c"), dir.join("steady.so"));
            write(&source, STEADY)?;
            let arguments = ["-shared", "-fPIC", "-O1", "-o"];
            let mut cc = Command::new("cc");
            if run(cc.args(arguments).arg(&library).arg(&source), progress).is_ok_and(|ran| ran.status.success()) {
                return Ok(());
            }
            let mut zig = Command::new(self.zig(progress)?);
            zig.args(["-m", "ziglang", "cc"]).args(arguments).arg(&library).arg(&source);
            install(&mut zig, "zig", PYTHON, dir, progress)
        });
        match dir {
            Ok(dir) => Some(dir.join("steady.so")),
            Err(error) => {
                progress(&format!("Other bytes in each build, for want of a C compiler: {error}"));
                None
            }
        }
    }

    fn venv(
        &self,
        name: &str,
        package: &str,
        tool: &'static str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, ToolError> {
        let dir = self.installed(name, package, |dir| {
            progress(&format!("Installing {package} (PyPI)"));
            let venv = dir.join("venv");
            let mut python = Command::new("python3");
            install(python.args(["-m", "venv"]).arg(&venv), tool, PYTHON, dir, progress)?;
            let mut pip = Command::new(venv.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
            install(&mut pip, tool, PYTHON, dir, progress)
        })?;
        Ok(dir.join("venv/bin/python"))
    }

    /// The folder of a tool, made by `install` when it is not there in this `version`. Two processes never install at
    /// once.
    fn installed(
        &self,
        name: &str,
        version: &str,
        install: impl FnOnce(&Path) -> Result<(), ToolError>,
    ) -> Result<PathBuf, ToolError> {
        let dir = self.tools.join(name);
        let marker = dir.join("installed");
        if std::fs::read_to_string(&marker).is_ok_and(|found| found == version) {
            return Ok(dir);
        }
        let failed = |cause| ToolError::File { path: dir.clone(), cause };
        std::fs::create_dir_all(&self.tools).map_err(failed)?;
        let lock = File::create(self.tools.join(format!("{name}.lock"))).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if !std::fs::read_to_string(&marker).is_ok_and(|found| found == version) {
            // What an interrupted installation left is in the way.
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(failed)?;
            }
            std::fs::create_dir_all(&dir).map_err(failed)?;
            install(&dir)?;
            write(&marker, version)?;
        }
        Ok(dir)
    }
}

pub(super) const NODE: &str = "install Node.js 20 or later with npm (https://nodejs.org)";
pub(super) const PYTHON: &str = "install Python 3.10 or later with venv (on Debian: apt-get install python3-venv)";

fn install(
    command: &mut Command,
    tool: &'static str,
    fix: &'static str,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), ToolError> {
    let ran = run(command, progress).map_err(|_| ToolError::Missing { tool, fix })?;
    if ran.status.success() {
        return Ok(());
    }
    let reason = ran.last_lines(12);
    let reason = if reason.contains("ensurepip") { format!("{fix}\n{reason}") } else { reason };
    Err(ToolError::Install { tool, dir: dir.to_owned(), reason })
}

fn write(path: &Path, text: &str) -> Result<(), ToolError> {
    std::fs::write(path, text).map_err(|cause| ToolError::File { path: path.to_owned(), cause })
}

/// What a tool said.
pub(super) struct ToolRan {
    pub(super) status: ExitStatus,
    /// Standard output, whole.
    pub(super) stdout: String,
    /// Standard error, its last lines.
    pub(super) stderr: VecDeque<String>,
}

impl ToolRan {
    /// What it said last, wherever it said it.
    pub(super) fn last_lines(&self, count: usize) -> String {
        let out: Vec<&str> = self.stdout.lines().collect();
        let all: Vec<&str> = out.into_iter().chain(self.stderr.iter().map(String::as_str)).collect();
        all[all.len().saturating_sub(count)..].join("\n").trim().to_owned()
    }
}

/// Runs a tool to its end; each line of its standard error goes to `progress` too.
pub(super) fn run(command: &mut Command, progress: &mut dyn FnMut(&str)) -> std::io::Result<ToolRan> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // An end before its time shows in the status.
        let _ = stdout.map(|out| out.take(64 << 20).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut stderr = VecDeque::new();
    if let Some(err) = child.stderr.take() {
        let mut err = BufReader::new(err);
        let mut line = Vec::new();
        while err.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            progress(&text);
            stderr.push_back(text);
            if stderr.len() > LINES_MAX {
                stderr.pop_front();
            }
            line.clear();
        }
    }
    let status = child.wait()?;
    Ok(ToolRan { status, stdout: reader.join().unwrap_or_default(), stderr })
}
