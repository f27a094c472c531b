//! `instance_key` of `tidegate.yaml`: where the key is that secrets of the catalog are sealed under.

use data_encoding::HEXLOWER_PERMISSIVE;
use tidegate_catalog::InstanceKey;
use tidegate_document::fields::Fields;

use super::surroundings::ObjectInputs;

const FILE_BYTES_MAX: u64 = 1 << 10;
const FIX: &str = "write 32 random bytes, or their 64 hexadecimal digits, e.g. from `openssl rand -hex 32`";

/// `instance_key: {file: PATH}` or `instance_key: {variable: NAME}`. None where it is not there, or has problems.
pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<InstanceKey> {
    fields.within("instance_key", |f| {
        let (file, variable) = (f.text("file"), f.text("variable"));
        match (file, variable) {
            (Some(file), None) => {
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
            (None, Some(name)) => match inputs.variable(&name) {
                Some(text) => key(f, "variable", text.as_bytes()),
                None => {
                    f.problem("variable", format!("the environment has no variable {name}"), "set it, or use `file`");
                    None
                }
            },
            _ => {
                let fix = "write `file: /run/secrets/tidegate.key` or `variable: TIDEGATE_INSTANCE_KEY`";
                f.problem("", "`instance_key` needs one of `file` and `variable`", fix);
                None
            }
        }
    })?
}

/// 32 bytes, or their 64 hexadecimal digits, perhaps with the end of a line. What was found is told by nobody.
fn key(fields: &mut Fields<'_>, field: &str, bytes: &[u8]) -> Option<InstanceKey> {
    let digits = bytes.trim_ascii();
    let raw = <[u8; 32]>::try_from(bytes).ok();
    let decoded = || HEXLOWER_PERMISSIVE.decode(digits).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let found = raw.or_else(decoded);
    if found.is_none() {
        fields.problem(field, "the instance key has not 32 bytes", FIX);
    }
    found.map(InstanceKey::new)
}
