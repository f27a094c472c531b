//! `tidegate completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::CommandDone;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

pub(super) fn run<C: CommandFactory>(args: &CompletionsArgs) -> CommandDone {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "tidegate", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
