//! `tidegate completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::Done;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

pub(super) fn run<C: CommandFactory>(args: &Args) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "tidegate", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
