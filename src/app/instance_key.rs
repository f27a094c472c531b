//! The key that secrets of the catalog are sealed under: the one that the workspace names, or that of the data directory, which is made once.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tidegate_catalog::InstanceKey;
use tidegate_process::{clock, whole_file};
use zeroize::Zeroizing;

use super::{AppError, paths};
use crate::config::{InstanceKeySetting, Workspace, instance_key_of};

const KEY_BYTES: usize = 32;
/// For a command that says the key.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// What is read of what it says.
const COMMAND_BYTES_MAX: u64 = 1 << 10;

/// The key of a workspace. A command that says it is run by this.
pub(super) fn instance_key(workspace: &Workspace) -> Result<InstanceKey, AppError> {
    match &workspace.instance_key {
        Some(InstanceKeySetting::Known(key)) => return Ok(key.clone()),
        Some(InstanceKeySetting::Command(words)) => {
            let program = words.first().map(String::as_str).unwrap_or_default();
            return said_by(words).map_err(|reason| AppError::Foreign { path: program.into(), reason });
        }
        None => {}
    }
    let path = paths::instance_key(&workspace.data);
    let io = |action| {
        let path = path.clone();
        move |cause| AppError::Io { action, path, cause }
    };
    let foreign = |reason: &str| AppError::Foreign { path: path.clone(), reason: reason.to_owned() };
    match std::fs::read(&path) {
        Ok(bytes) => match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(InstanceKey::new(bytes)),
            Err(_) => Err(foreign("the instance key has not 32 bytes. Nothing was changed. Put the right file back")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if paths::catalog(&workspace.data).exists() {
                return Err(foreign(
                    "the instance key is not there, and the catalog is sealed under it. Nothing was changed. Put the file \
                     back, or name the key by `instance_key` in tidegate.yaml",
                ));
            }
            let bytes = clock::random::<KEY_BYTES>();
            whole_file::create(&path, &bytes).map_err(io("could not write"))?;
            Ok(InstanceKey::new(bytes))
        }
        Err(error) => Err(io("could not read")(error)),
    }
}

/// What a command said, and how it ended.
type CommandSaid = (Zeroizing<Vec<u8>>, io::Result<ExitStatus>);

/// The key that a command says. No shell reads it, and nothing of what it says is told: its standard error may hold the key as well.
fn said_by(words: &[String]) -> Result<InstanceKey, String> {
    let again = "run it by hand to see why; nothing was started";
    let (program, arguments) = words.split_first().ok_or("`instance_key.command` has no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // With what it starts itself.
    let child = command.process_group(0).spawn();
    let mut child = child.map_err(|error| {
        format!("the command of `instance_key` could not be started: {error}; name a program that is there")
    })?;
    let pid = Pid::from_child(&child);
    let (say, said) = mpsc::channel::<CommandSaid>();
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = child.stdout.take().map(|output| output.take(COMMAND_BYTES_MAX).read_to_end(&mut bytes));
        let ended = read.transpose().and_then(|_| child.wait());
        // Whoever asked may have given up.
        let _ = say.send((bytes, ended));
    });
    match said.recv_timeout(COMMAND_MAX) {
        Ok((bytes, Ok(status))) if status.success() => {
            let found = instance_key_of(&bytes).map(|bytes| InstanceKey::new(*bytes));
            found.ok_or_else(|| {
                let count = bytes.len();
                format!(
                    "the command of `instance_key` wrote {count} bytes to its standard output that are no key: it writes 32 bytes or \
                     their 64 hexadecimal digits; {again}"
                )
            })
        }
        Ok((_, Ok(status))) => Err(format!("the command of `instance_key` ended with {status}; {again}")),
        Ok((_, Err(error))) => Err(format!("the command of `instance_key` could not be read: {error}; {again}")),
        Err(_) => {
            // Whether it was there to be killed makes no difference.
            let _ = kill_process_group(pid, Signal::KILL);
            let seconds = COMMAND_MAX.as_secs();
            Err(format!(
                "the command of `instance_key` has not ended within {seconds} seconds, and was killed; {again}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_command_says_the_key_and_nothing_of_what_is_wrong_is_told() {
        let key = said_by(&words("printf '%064d\n' 7")).unwrap();
        let mut bytes = [0; 32];
        bytes[31] = 7;
        assert_eq!(key.id(), InstanceKey::new(bytes).id());
        for script in ["echo hunter2", "echo hunter2; exit 3", "echo hunter2 >&2; exit 1", "exit 0"] {
            let error = said_by(&words(script)).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("instance_key"), "{error}");
        }
        let absent = said_by(&["/nowhere/kms".to_owned()]).unwrap_err();
        assert!(absent.contains("could not be started"), "{absent}");
    }
}
