//! `tidegate`: parse the command line and run it.

use std::process::ExitCode;

/// Events are parsed on one thread and dropped on another, many small pieces each; the C library's allocator spends a
/// quarter of the whole path's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
