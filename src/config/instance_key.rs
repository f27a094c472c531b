//! `instance_key` of `tidegate.yaml`: where the key is that secrets of the catalog are sealed under.

use data_encoding::HEXLOWER_PERMISSIVE;
use tidegate_catalog::InstanceKey;
use tidegate_document::fields::Fields;
use zeroize::Zeroizing;

use super::surroundings::ObjectInputs;

const FILE_BYTES_MAX: u64 = 1 << 10;
const FIX: &str = "write 32 random bytes, or their 64 hexadecimal digits, e.g. from `openssl rand -hex 32`";

/// Where the instance key is.
#[derive(Debug, Clone)]
pub enum InstanceKeySetting {
    /// In a file or a variable, which was read.
    Known(InstanceKey),
    /// On the standard output of a program, with its arguments. A server runs it when it starts; nobody else does.
    Command(Vec<String>),
}

impl InstanceKeySetting {
    /// What tells one from another, and nothing of the key.
    #[must_use]
    pub fn print(&self) -> String {
        match self {
            Self::Known(key) => key.id().to_owned(),
            Self::Command(words) => format!("{words:?}"),
        }
    }
}

/// `instance_key: {file: PATH}`, `{variable: NAME}` or `{command: [PROGRAM, ARGUMENT, …]}`. None where it is not there, or has problems.
pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<InstanceKeySetting> {
    fields.within("instance_key", |f| {
        let (file, variable, command) = (f.text("file"), f.text("variable"), f.texts("command"));
        match (file, variable, &command[..]) {
            (Some(file), None, []) => {
                let path = inputs.dir().join(&file);
                match inputs.read(&path, FILE_BYTES_MAX) {
                    Ok(bytes) => key(f, "file", &bytes),
                    Err(error) => {
                        let message = format!("the instance key {} cannot be read: {error}", path.display());
                        f.problem("file", message, FIX);
                        None
                    }
                }
            }
            (None, Some(name), []) => match inputs.variable(&name) {
                Some(text) => key(f, "variable", text.as_bytes()),
                None => {
                    f.problem("variable", format!("the environment has no variable {name}"), "set it, or use `file`");
                    None
                }
            },
            (None, None, [program, ..]) if program.is_empty() => {
                f.problem("command", "the command has no program", "write `command: [/usr/bin/kms, read, tidegate]`");
                None
            }
            (None, None, words @ [_, ..]) => Some(InstanceKeySetting::Command(words.to_vec())),
            _ => {
                let fix = "write `file: /run/secrets/tidegate.key`, `variable: TIDEGATE_INSTANCE_KEY` or `command: [/usr/bin/kms, read, tidegate]`";
                f.problem("", "`instance_key` needs one of `file`, `variable` and `command`", fix);
                None
            }
        }
    })?
}

/// What was found is told by nobody.
fn key(fields: &mut Fields<'_>, field: &str, bytes: &[u8]) -> Option<InstanceKeySetting> {
    let found = instance_key_of(bytes);
    if found.is_none() {
        fields.problem(field, "the instance key has not 32 bytes", FIX);
    }
    found.map(|bytes| InstanceKeySetting::Known(InstanceKey::new(*bytes)))
}

/// The key that a text says: 32 bytes, or their 64 hexadecimal digits, perhaps with the end of a line.
#[must_use]
pub fn instance_key_of(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let decoded = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(bytes.trim_ascii()).ok()?);
    <[u8; 32]>::try_from(&decoded[..]).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_their_digits() {
        let digits = "0a".repeat(32);
        for text in [digits.clone(), digits.to_uppercase(), format!("{digits}\n"), format!(" {digits}\r\n")] {
            assert_eq!(instance_key_of(text.as_bytes()).as_deref(), Some(&[10; 32]), "{text:?}");
        }
        assert_eq!(instance_key_of(&[7; 32]).as_deref(), Some(&[7; 32]));
        for wrong in [&b""[..], &[7; 31], &[7; 33], b"0a0a", &digits.as_bytes()[1..]] {
            assert!(instance_key_of(wrong).is_none(), "{wrong:?}");
        }
    }
}
