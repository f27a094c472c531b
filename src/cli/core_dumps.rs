//! What is left of the memory of a process that crashes.

use rustix::process::{Resource, Rlimit, setrlimit};

/// The memory of the program holds personal data and secrets; none of it goes into a file when it crashes. It holds for programs that it
/// starts as well. Where the system does not allow to say so, nothing changes.
///
/// The process stays one that its own user may look at below `/proc`: it reads its own memory map there, which slots of functions may be reset by.
pub(super) fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // A limit may always be lowered.
    let _ = setrlimit(Resource::Core, none);
    // The limit does not count where dumps go to a program; no kind of memory is in them then.
    let _ = std::fs::write("/proc/self/coredump_filter", "0");
}
