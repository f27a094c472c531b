//! Compiling in a process that may die of it.
//!
//! What a compiler does with hostile bytes cannot be bounded from within, so the program runs itself as a child: no
//! environment, the root as its folder, limits on memory, CPU time and files, no new privileges, a filter that leaves it
//! nothing of the kernel but memory, threads and its pipes, and a wall clock after which it is killed. It reads the component and writes the code; it never sees the key that seals it. Whatever goes
//! wrong is an error with a cause that a person can read.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, kill_process, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use tidegate_wasm::{self as wasm, legible};

use super::jail;

/// Bounds on one compilation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child. Default 4 GiB.
    pub memory_bytes_max: u64,
    /// CPU time. Default 60 s.
    pub cpu_max: Duration,
    /// Wall time; more than the CPU time, so that a busy machine does not make an honest component look guilty. Default
    /// 300 s.
    pub wall_max: Duration,
    /// The compiled code. Default 256 MiB.
    pub code_bytes_max: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 4 << 30,
            cpu_max: Duration::from_secs(60),
            wall_max: Duration::from_secs(300),
            code_bytes_max: 256 << 20,
        }
    }
}

/// Why there is no code. Each says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("the compiling process could not be started: {0}")]
    Start(#[source] io::Error),
    /// The compiler's own words.
    #[error("{0}")]
    Refused(String),
    #[error(
        "compiling needed more than {} MiB of memory; make the component smaller, above all its largest functions", bytes_max >> 20
    )]
    Memory { bytes_max: u64 },
    #[error("compiling took more than {} s of CPU time; make the component smaller, above all its largest functions", max.as_secs())]
    Cpu { max: Duration },
    #[error("compiling took more than {} s; try again when the machine is less busy, or make the component smaller", max.as_secs())]
    Wall { max: Duration },
    #[error("the compiled code is larger than {} MiB; make the component smaller", bytes_max >> 20)]
    CodeTooLarge { bytes_max: u64 },
    #[error(
        "the compiler crashed on this component (signal {signal}); it was contained, but the component is not taken"
    )]
    Crashed { signal: i32 },
    #[error("the compiling process ended without an answer")]
    NoAnswer,
}

/// The name of the hidden command.
pub const COMMAND: &str = "compile-component";

/// The exit code of a child that has words of its own on its standard error.
const REFUSED: u8 = 4;

const REASON_BYTES_MAX: u64 = 4 << 10;

/// Begins the first line of a child that has no filter.
const UNFILTERED: &str = "no filter for system calls: ";

/// What a child says and how it ends, in whatever order.
enum Said {
    Output(io::Result<Vec<u8>>),
    Words(Vec<u8>),
    Ended(io::Result<ExitStatus>),
}

/// Compiles the component in `file` by running `program` as a child. Blocks for as long as that takes.
///
/// # Errors
/// See [`CompileError`].
pub(super) fn compile(program: &Path, file: &Path, limits: &CompileLimits) -> Result<(u64, Vec<u8>), CompileError> {
    let component = File::open(file).map_err(CompileError::Start)?;
    let output = answered(Command::new(program).arg(COMMAND).stdin(component), limits)?;
    let (compiler, code) = output.split_first_chunk().ok_or(CompileError::NoAnswer)?;
    Ok((u64::from_le_bytes(*compiler), code.to_vec()))
}

/// What a child answers that is run within limits. The command names the work, and has what it is about as its input.
///
/// # Errors
/// See [`CompileError`].
pub(super) fn answered(command: &mut Command, limits: &CompileLimits) -> Result<Vec<u8>, CompileError> {
    command.arg(limits.memory_bytes_max.to_string()).arg(limits.cpu_max.as_secs().max(1).to_string());
    command.env_clear().current_dir("/");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(CompileError::Start)?;
    let pid = Pid::from_child(&child);
    let said = listen(child, limits.code_bytes_max);
    let (mut output, mut words, mut ended, mut late) = (None, None, None, false);
    let mut deadline = Instant::now() + limits.wall_max;
    while output.is_none() || words.is_none() || ended.is_none() {
        match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Said::Output(bytes)) => output = Some(bytes),
            Ok(Said::Words(bytes)) => words = Some(bytes),
            Ok(Said::Ended(status)) => ended = Some(status),
            // What does not even die is left behind; nobody waits for it.
            Err(_) if late => break,
            Err(_) => {
                late = true;
                deadline = Instant::now() + Duration::from_secs(5);
                // Whether it was there to be killed shows in how it ends.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    if late {
        return Err(CompileError::Wall { max: limits.wall_max });
    }
    let status = ended.ok_or(CompileError::NoAnswer)?.map_err(CompileError::Start)?;
    let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
    let words = heard_of_filter(&words);
    let output = output.ok_or(CompileError::NoAnswer)?.map_err(|_| CompileError::NoAnswer)?;
    // Such a child fails too, because nobody reads any more.
    if output.len() as u64 > limits.code_bytes_max {
        return Err(CompileError::CodeTooLarge { bytes_max: limits.code_bytes_max });
    }
    if !status.success() {
        return Err(cause(status, words, limits));
    }
    Ok(output)
}

/// Says once that children have no filter, if this one said so; answers the rest of its words.
fn heard_of_filter(words: &str) -> &str {
    static TELL: Once = Once::new();
    let Some(reason) = words.strip_prefix(UNFILTERED) else { return words };
    let (reason, rest) = reason.split_once('\n').unwrap_or((reason, ""));
    TELL.call_once(|| {
        tracing::warn!(
            reason,
            "this kernel gives the compiling process no filter for system calls; its other limits hold. Allow seccomp, or \
             take only components that you built"
        );
    });
    rest
}

/// A thread for each thing that a child may say, so that no full pipe holds it up.
fn listen(mut child: Child, code_bytes_max: u64) -> Receiver<Said> {
    let (sender, said) = channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let send = |sender: &Sender<Said>, message| {
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(message);
    };
    let sender2 = sender.clone();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map_or(Ok(0), |out| out.take(code_bytes_max + 1).read_to_end(&mut bytes));
        send(&sender2, Said::Output(read.map(|_| bytes)));
    });
    let sender2 = sender.clone();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut words) = stderr {
            let _ = words.by_ref().take(REASON_BYTES_MAX).read_to_end(&mut bytes);
            let _ = io::copy(&mut words, &mut io::sink());
        }
        send(&sender2, Said::Words(bytes));
    });
    std::thread::spawn(move || send(&sender, Said::Ended(child.wait())));
    said
}

fn cause(status: ExitStatus, words: &str, limits: &CompileLimits) -> CompileError {
    let memory = ["memory allocation of", "annot allocate memory", "out of memory", "no thread to compile on"];
    if memory.iter().any(|sign| words.contains(sign)) {
        return CompileError::Memory { bytes_max: limits.memory_bytes_max };
    }
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(REFUSED) => CompileError::Refused(legible(words.trim(), 2_048)),
        (_, Some(24 | 9)) => CompileError::Cpu { max: limits.cpu_max },
        (_, Some(signal)) => CompileError::Crashed { signal },
        _ => CompileError::NoAnswer,
    }
}

/// The program that compiles, which is this one.
#[must_use]
pub fn own_program() -> PathBuf {
    // Whatever the file is called by now, and even if it was replaced since: this very program.
    PathBuf::from("/proc/self/exe")
}

/// What the child does: limits itself, reads, compiles, writes. Answers its exit code.
#[must_use]
pub fn child(memory_bytes_max: u64, cpu_seconds_max: u64) -> u8 {
    confined(memory_bytes_max, cpu_seconds_max, answer)
}

/// The same for any work that reads its input and writes its output.
pub(super) fn confined(memory_bytes_max: u64, cpu_seconds_max: u64, answer: fn() -> Result<(), String>) -> u8 {
    let done = confine(memory_bytes_max, cpu_seconds_max).map_err(|error| format!("no limits could be set: {error}"));
    match done.and_then(|()| answer()) {
        Ok(()) => 0,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "{reason}");
            REFUSED
        }
    }
}

fn confine(memory_bytes_max: u64, cpu_seconds_max: u64) -> io::Result<()> {
    let limit = |resource, current: u64, maximum: u64| {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
    };
    limit(Resource::As, memory_bytes_max, memory_bytes_max)?;
    // The signal at the soft limit says which limit it was; the hard one cannot be caught.
    limit(Resource::Cpu, cpu_seconds_max, cpu_seconds_max.saturating_add(2))?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, 16, 16)?;
    rustix::thread::set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Err(reason) = jail::enter() {
        // Whoever started this says it; without its reader nothing is lost.
        let _ = writeln!(io::stderr(), "{UNFILTERED}{reason}");
    }
    Ok(())
}

fn answer() -> Result<(), String> {
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).map_err(|error| format!("the component cannot be read: {error}"))?;
    if fail::has_failpoints() && component.ends_with(jail::SELF_TEST) {
        return Err(jail::self_test());
    }
    let code = wasm::precompile(&component).map_err(|error| error.to_string())?;
    let compiler = wasm::compiler_id().map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    let written = out.write_all(&compiler.to_le_bytes()).and_then(|()| out.write_all(&code)).and_then(|()| out.flush());
    written.map_err(|error| format!("the code cannot be written: {error}"))
}
