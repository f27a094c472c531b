//! Secrets that are typed or piped in: a terminal shows nothing of them.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::CommandFailure;

const BYTES_MAX: u64 = 4 << 10;

/// A line of standard input, without its end. A terminal is asked with `prompt` and shows nothing of the answer.
pub(super) fn read(prompt: &str) -> Result<String, CommandFailure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(line()?);
    }
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}: ")?;
    stderr.flush()?;
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // The end of the line is still shown.
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let read = line();
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    Ok(read?)
}

/// The same twice, for what is new. What is piped in is read once.
pub(super) fn read_new(prompt: &str) -> Result<String, CommandFailure> {
    let first = read(prompt)?;
    if io::stdin().is_terminal() && read(&format!("{prompt}, once more"))? != first {
        return Err(CommandFailure::Failed("the two are not the same; nothing was changed".to_owned()));
    }
    Ok(first)
}

fn line() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(BYTES_MAX).read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
