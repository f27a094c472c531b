//! A script in a component that runs scripts: `functions/transform/script`, which was linked before, has room for one in the memory that it begins with.
//!
//! Writing the script there needs neither a compiler nor the interpreter: the room is a run of bytes of the file, which is known by its pattern.

use serde_json::Value;

use super::package::embed_script;

/// UTF-16 units of a script.
pub const SCRIPT_UNITS_MAX: usize = 65_536;

/// Units before the text: a zero, the length in two units, and one that is free.
const HEAD_UNITS: usize = 4;
/// Bytes of the pattern by which the room is found.
const FOUND_BY: usize = 64;

/// Why a script is not in a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    #[error("the script has {units} UTF-16 units; a script may have {max} at most; build it with `tidegate function build`, which has no such limit", max = SCRIPT_UNITS_MAX)]
    TooLong { units: usize },
    #[error("the component has no room for a script; build functions/transform/script with `make plugins`")]
    NoRoom,
}

/// `interpreter` with `script` in its room, with the text that its author has `written`, and with `manifest` in the place of its own. Its fixtures are
/// left out: they are about another script.
///
/// # Errors
/// The script is too long, or the component is none that runs scripts.
pub fn with_script(interpreter: &[u8], manifest: &Value, script: &str, written: &str) -> Result<Vec<u8>, ScriptError> {
    check_script_length(script)?;
    let units = script.encode_utf16();
    let length = u32::try_from(units.clone().count()).unwrap_or_default();
    let mut component = embed_script(interpreter, manifest, written);
    let pattern = pattern();
    let found_by = pattern.get(..FOUND_BY).unwrap_or_default();
    let mut places = component.windows(FOUND_BY).enumerate().filter(|(_, window)| *window == found_by);
    let at = match (places.next(), places.next()) {
        (Some((at, _)), None) => at,
        _ => return Err(ScriptError::NoRoom),
    };
    let room = component.get_mut(at..at.saturating_add(pattern.len())).ok_or(ScriptError::NoRoom)?;
    if *room != *pattern {
        return Err(ScriptError::NoRoom);
    }
    room.fill(0);
    let [low, more, high, most] = length.to_le_bytes();
    let head: [u16; HEAD_UNITS] = [0, u16::from_le_bytes([low, more]), u16::from_le_bytes([high, most]), 0];
    for (place, unit) in room.chunks_exact_mut(2).zip(head.into_iter().chain(units)) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    Ok(component)
}

/// Whether there is room for a script, or for what is left of it without its types: that is as long.
///
/// # Errors
/// There is none.
pub fn check_script_length(script: &str) -> Result<(), ScriptError> {
    match script.encode_utf16().count() {
        units if units > SCRIPT_UNITS_MAX => Err(ScriptError::TooLong { units }),
        _ => Ok(()),
    }
}

/// What stands in a room without a script: as `src/room.js` of the interpreter writes it.
fn pattern() -> Vec<u8> {
    let mut unit: u32 = 1;
    let mut bytes = Vec::with_capacity((HEAD_UNITS + SCRIPT_UNITS_MAX) * 2);
    for _ in 0..HEAD_UNITS + SCRIPT_UNITS_MAX {
        unit = (unit * 25_173 + 13_849) & 0xffff;
        let [low, high, ..] = (unit | 0x0101).to_le_bytes();
        bytes.extend_from_slice(&[low, high]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Package;

    /// A component with these bytes in the memory of a module.
    fn component(bytes: &[u8]) -> Vec<u8> {
        let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!("(component (core module (memory 3) (data (i32.const 0) \"{text}\")))");
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn a_script_takes_the_place_of_the_pattern_and_can_be_read_again() {
        let interpreter = component(&[b"before".as_slice(), &pattern(), b"behind"].concat());
        let manifest = json!({"name": "mine", "kind": "transform", "language": "js"});
        let script = "export const transform = () => \"naïve 👩\";\n";
        let made = with_script(&interpreter, &manifest, script, script).unwrap();
        let package = Package::read(&made).unwrap();
        assert_eq!((package.manifest.name.as_str(), package.script.as_deref()), ("mine", Some(script)));
        let units: Vec<u16> = script.encode_utf16().collect();
        let head = [0, u16::try_from(units.len()).unwrap(), 0, 0];
        let held: Vec<u8> = head.into_iter().chain(units).flat_map(u16::to_le_bytes).collect();
        let written = [b"before".as_slice(), &held].concat();
        assert!(made.windows(written.len()).any(|window| *window == *written));
        assert!(made.windows(6).any(|window| window == b"behind"));
        let again = with_script(&interpreter, &manifest, script, script).unwrap();
        assert_eq!(again, made, "the same script is the same version");
        assert_ne!(with_script(&interpreter, &manifest, "", "").unwrap(), made);
        let typed = with_script(&interpreter, &manifest, script, "const typed: string").unwrap();
        assert!(typed != made && typed.windows(written.len()).any(|window| *window == *written));
        assert_eq!(Package::read(&typed).unwrap().script.as_deref(), Some("const typed: string"));
        assert_eq!(with_script(&made, &manifest, script, script), Err(ScriptError::NoRoom), "the room is taken");
    }

    #[test]
    fn a_script_that_is_too_long_and_a_component_without_room_are_refused() {
        let manifest = json!({"name": "mine", "kind": "transform"});
        let long = "x".repeat(SCRIPT_UNITS_MAX + 1);
        let interpreter = component(&pattern());
        let refused = with_script(&interpreter, &manifest, &long, "").unwrap_err();
        assert_eq!(refused, ScriptError::TooLong { units: SCRIPT_UNITS_MAX + 1 });
        with_script(&interpreter, &manifest, long.get(1..).unwrap(), "").unwrap();
        let twice = component(&[pattern(), pattern()].concat());
        for wrong in [component(b"nothing"), component(pattern().get(..1_000).unwrap()), twice, Vec::new()] {
            assert_eq!(with_script(&wrong, &manifest, "", ""), Err(ScriptError::NoRoom));
        }
    }
}
