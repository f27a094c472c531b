//! A component that carries its manifest and fixtures.

use serde_json::{Map, Value, json};
use tidegate_document::problem::Problem;

use super::manifest::Manifest;

const MANIFEST: &str = "tidegate:manifest";
const FIXTURES: &str = "tidegate:fixtures";
const LOOKUPS: &str = "tidegate:lookups";
const SCRIPT: &str = "tidegate:script";

/// More is no plugin that a server would take.
const BYTES_MAX: usize = 32 << 20;

/// Fixtures larger than this together are not carried.
const FIXTURES_BYTES_MAX: usize = 1 << 20;

/// What a component carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    pub manifest: Manifest,
    /// The manifest as it stands in the component.
    pub manifest_json: Value,
    /// By name; may be empty.
    pub fixtures: Vec<Fixture>,
    /// The tables that the fixtures look up: `{"table": {"key": value}}`.
    pub lookups: Option<Value>,
    /// The script that a server put in, as its author wrote it, for whoever wants to change it.
    pub script: Option<String>,
}

/// One golden test.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixture {
    pub name: String,
    /// What `<name>.in.json` holds: one event, or an array of events.
    pub input: Value,
    /// What `<name>.out.json` (or `<name>.request.json`) holds, if there is one.
    pub expected: Option<Value>,
    pub settings: Value,
}

/// Why a component is no package.
#[derive(Debug, thiserror::Error)]
pub enum NotAPackage {
    #[error(
        "the component carries no manifest; build it with `tidegate function build`, which puts plugin.yaml into it, or put one \
         into what another tool built: tidegate function pack COMPONENT --manifest plugin.yaml"
    )]
    NoManifest,
    #[error(
        "this is not a WebAssembly component; `tidegate function build` makes one, and `tidegate function pack` makes one of a core module"
    )]
    NotAComponent,
    #[error("it has {bytes} bytes; a component may have {bytes_max} at most")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the component's section {section} cannot be read: {reason}")]
    Unreadable { section: &'static str, reason: String },
    #[error("the component's manifest is wrong:\n{}", .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Manifest(Vec<Problem>),
}

impl Package {
    /// Reads what `component` carries, without compiling or validating any code.
    ///
    /// # Errors
    /// It carries no manifest, or a wrong one.
    pub fn read(component: &[u8]) -> Result<Self, NotAPackage> {
        if component.len() > BYTES_MAX {
            return Err(NotAPackage::TooLarge { bytes: component.len(), bytes_max: BYTES_MAX });
        }
        if !wasmparser::Parser::is_component(component) {
            return Err(NotAPackage::NotAComponent);
        }
        let (mut manifest, mut fixtures, mut lookups, mut script) = (None, None, None, None);
        let unreadable = |section, reason: String| NotAPackage::Unreadable { section, reason };
        let mut depth = 0_u32;
        for payload in wasmparser::Parser::new(0).parse_all(component) {
            let payload = payload.map_err(|error| unreadable("(structure)", error.to_string()))?;
            match payload {
                wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => depth += 1,
                wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
                // What a nested module carries is not the plugin's word.
                wasmparser::Payload::CustomSection(section) if depth == 0 => match section.name() {
                    MANIFEST => manifest = Some(section.data()),
                    FIXTURES => fixtures = Some(section.data()),
                    LOOKUPS => lookups = Some(section.data()),
                    SCRIPT => script = Some(section.data()),
                    _ => {}
                },
                _ => {}
            }
        }
        let manifest = manifest.ok_or(NotAPackage::NoManifest)?;
        let manifest_json: Value =
            serde_json::from_slice(manifest).map_err(|error| unreadable(MANIFEST, error.to_string()))?;
        let manifest = Manifest::from_json(&manifest_json).map_err(NotAPackage::Manifest)?;
        let fixtures = match fixtures {
            Some(bytes) => fixtures_from(bytes).map_err(|reason| unreadable(FIXTURES, reason))?,
            None => Vec::new(),
        };
        let lookups = lookups.map(serde_json::from_slice).transpose();
        let lookups = lookups.map_err(|error| unreadable(LOOKUPS, error.to_string()))?;
        let script = script.map(|script| String::from_utf8(script.to_vec())).transpose();
        let script = script.map_err(|error| unreadable(SCRIPT, error.to_string()))?;
        Ok(Self { manifest, manifest_json, fixtures, lookups, script })
    }
}

/// `component` with `manifest` (as it stands in plugin.yaml) and `fixtures` in it. What it carried before is replaced.
#[must_use]
pub fn embed(component: &[u8], manifest: &Value, fixtures: &[Fixture]) -> Vec<u8> {
    let mut out = without_sections(component);
    section(&mut out, MANIFEST, manifest.to_string().as_bytes());
    let fixtures: Map<String, Value> = fixtures
        .iter()
        .map(|fixture| {
            let value = json!({"in": fixture.input, "out": fixture.expected, "settings": fixture.settings});
            (fixture.name.clone(), value)
        })
        .collect();
    let fixtures = Value::Object(fixtures).to_string();
    if fixtures.len() <= FIXTURES_BYTES_MAX {
        section(&mut out, FIXTURES, fixtures.as_bytes());
    }
    out
}

/// The same with the tables that the fixtures look up.
#[must_use]
pub fn embed_with_lookups(component: &[u8], manifest: &Value, fixtures: &[Fixture], lookups: &Value) -> Vec<u8> {
    let mut out = embed(component, manifest, fixtures);
    let lookups = lookups.to_string();
    if lookups.len() <= FIXTURES_BYTES_MAX {
        section(&mut out, LOOKUPS, lookups.as_bytes());
    }
    out
}

/// `component` with `manifest`, without fixtures, and with the text of the `script` that is in it, as it was written.
pub(super) fn embed_script(component: &[u8], manifest: &Value, script: &str) -> Vec<u8> {
    let mut out = embed(component, manifest, &[]);
    section(&mut out, SCRIPT, script.as_bytes());
    out
}

fn fixtures_from(bytes: &[u8]) -> Result<Vec<Fixture>, String> {
    if bytes.len() > FIXTURES_BYTES_MAX {
        return Err(format!("{} bytes; at most {FIXTURES_BYTES_MAX} are allowed", bytes.len()));
    }
    let cases: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let fixture = |(name, mut case): (String, Value)| Fixture {
        name,
        input: case["in"].take(),
        expected: Some(case["out"].take()).filter(|out| !out.is_null()),
        settings: Some(case["settings"].take()).filter(Value::is_object).unwrap_or_else(|| json!({})),
    };
    Ok(cases.into_iter().map(fixture).collect())
}

/// The component without our sections at its top level. Bytes that are no component come back as they are.
fn without_sections(component: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(component.len());
    let (mut kept_to, mut depth) = (0, 0_u32);
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload {
            Ok(wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. }) => depth += 1,
            Ok(wasmparser::Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(wasmparser::Payload::CustomSection(section))
                if depth == 0 && [MANIFEST, FIXTURES, LOOKUPS, SCRIPT].contains(&section.name()) =>
            {
                let end = section.range().end;
                // The range begins after the section's id and length.
                let header = 1 + leb_len(section.range().len());
                let start = section.range().start.saturating_sub(header);
                out.extend_from_slice(component.get(kept_to..start).unwrap_or_default());
                kept_to = end;
            }
            Ok(_) => {}
            Err(_) => return component.to_vec(),
        }
    }
    out.extend_from_slice(component.get(kept_to..).unwrap_or_default());
    out
}

fn section(out: &mut Vec<u8>, name: &str, data: &[u8]) {
    out.push(0);
    leb(out, leb_len(name.len()) + name.len() + data.len());
    leb(out, name.len());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(data);
}

fn leb(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn leb_len(value: usize) -> usize {
    let mut bytes = Vec::with_capacity(10);
    leb(&mut bytes, value);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_is_read_back_and_replaced() {
        let component = wat::parse_str("(component (core module (@custom \"tidegate:manifest\" \"{}\")))").unwrap();
        assert!(matches!(Package::read(&component), Err(NotAPackage::NoManifest)));
        let fixture = Fixture {
            name: "one".into(),
            input: json!([{"a": 1}]),
            expected: Some(json!([{"keep": true}])),
            settings: json!({"x": 1}),
        };
        let first = embed(&component, &json!({"name": "a", "kind": "transform"}), std::slice::from_ref(&fixture));
        let package = Package::read(&first).unwrap();
        assert_eq!((package.manifest.name.as_str(), &package.fixtures[..]), ("a", &[fixture][..]));
        assert_eq!(package.lookups, None);
        let tables = json!({"places": {"a": 1}});
        let lending =
            embed_with_lookups(&first, &json!({"name": "a", "kind": "transform"}), &package.fixtures, &tables);
        assert_eq!(Package::read(&lending).unwrap().lookups, Some(tables));
        assert_eq!(embed(&lending, &json!({"name": "a", "kind": "transform"}), &package.fixtures), first);
        let second = embed(&first, &json!({"name": "b", "kind": "fields"}), &[]);
        let package = Package::read(&second).unwrap();
        assert_eq!((package.manifest.name.as_str(), package.fixtures.len()), ("b", 0));
        assert_eq!(second, embed(&component, &json!({"name": "b", "kind": "fields"}), &[]));
    }

    #[test]
    fn a_wrong_manifest_and_garbage_are_refused() {
        let component = wat::parse_str("(component)").unwrap();
        let refused = Package::read(&embed(&component, &json!({"name": "a", "kind": "nothing"}), &[])).unwrap_err();
        assert!(refused.to_string().contains("\"nothing\""), "{refused}");
        for garbage in [&b"garbage"[..], b"", b"\0asm\x01\0\0\0"] {
            assert!(matches!(Package::read(garbage), Err(NotAPackage::NotAComponent)));
        }
        assert!(matches!(Package::read(&vec![0; BYTES_MAX + 1]), Err(NotAPackage::TooLarge { .. })));
    }
}
