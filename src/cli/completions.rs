//! `tidegate completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::CommandDone;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell; in the first three names of a running server are completed as well
    shell: Shell,
}

/// Asks for names first, and knows the commands by itself.
const BASH: &str = r#"
_tidegate_names() {
    local name
    local -a names=()
    while IFS= read -r name; do
        names+=("$(printf '%q' "$name")")
    done < <("$1" complete-names -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#names[@]} -gt 0 ]]; then
        COMPREPLY=("${names[@]}")
    else
        _tidegate "$@"
    fi
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _tidegate_names -o nosort -o bashdefault -o default tidegate
else
    complete -F _tidegate_names -o bashdefault -o default tidegate
fi
"#;

const ZSH: &str = r#"
_tidegate_names() {
    local -a names
    names=("${(@f)$(tidegate complete-names -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    names=(${names:#})
    if (( ${#names} )); then
        compadd -- "${names[@]}"
    else
        _tidegate "$@"
    fi
}
compdef _tidegate_names tidegate
"#;

const FISH: &str = r#"
function __tidegate_names
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    tidegate complete-names -- $words "$current" 2>/dev/null
end
complete -c tidegate -a '(__tidegate_names)'
"#;

pub(super) fn run<C: CommandFactory>(args: &CompletionsArgs) -> CommandDone {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "tidegate", &mut script);
    let names = match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => "",
    };
    print!("{}{names}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
