//! What a compiling process may still ask of the kernel: memory, threads, its pipes, the time.
//!
//! The filter is put on before the first byte of a component is read. Everything else is answered as if the kernel had no
//! such call: no file is opened, no socket made, no program run, no other process traced or signalled.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls without which no thread computes.
const ALLOWED: [i64; 33] = [
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_membarrier,
];

/// Takes everything else away from this process, for good.
///
/// # Errors
/// The kernel or the machine has no such filter.
pub(super) fn enter() -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let filter = filter().map_err(|error| said(&error))?;
    seccompiler::apply_filter_all_threads(&filter).map_err(|error| said(&error))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Threads, and no processes. Flags of `clone3` lie in memory where no filter sees them; without it `clone` is used.
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or(0);
    rules.insert(libc::SYS_clone, only(0, SeccompCmpOp::MaskedEq(thread), thread)?);
    // What aborts signals itself.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, only(0, SeccompCmpOp::Eq, own)?);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let denied = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(0));
    SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()
}

fn only(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}

/// In builds for tests, a child whose component ends with these bytes tries what it may do, and says it.
pub(super) const SELF_TEST: &[u8] = b"try what you may";

/// Tries what must not be; answers what could be done.
pub(super) fn self_test() -> String {
    let mut done = Vec::new();
    let mut tried = |what: &str, could: bool| {
        if could {
            done.push(what.to_owned());
        }
    };
    tried("read a file", std::fs::read("/etc/passwd").is_ok());
    tried("list a folder", std::fs::read_dir("/").is_ok());
    tried("make a file", std::fs::write("/tmp/tidegate-jail", "x").is_ok());
    tried("make a socket", std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    tried("make a local socket", std::os::unix::net::UnixStream::pair().is_ok());
    tried("run a program", std::process::Command::new("/bin/true").status().is_ok());
    tried(
        "signal its parent",
        rustix::process::getppid().is_some_and(|it| rustix::process::test_kill_process(it).is_ok()),
    );
    let variables = std::env::vars_os().count();
    tried("read the environment", variables > 0);
    let computed = std::thread::spawn(|| 6 * 7).join().unwrap_or(0);
    format!(
        "could {}; a thread computed {computed}",
        if done.is_empty() { "nothing".to_owned() } else { done.join(", ") }
    )
}
