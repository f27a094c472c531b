//! `tidegate`: parse the command line and run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}
