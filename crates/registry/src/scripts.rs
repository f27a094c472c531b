//! Functions that are written as a text: a script is put into a component that was linked before, which runs it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_plugin::{Language, ManifestKind, Package, check_script_length, with_script};

use super::{
    Loaded, PluginKind, RegistryError, Sha, VersionStore, disk, shipped_component, shipped_places, strip_types,
};

/// The component that runs scripts, which comes with the program.
const INTERPRETER: &str = "script.component.wasm";

/// A script, and what its manifest says.
#[derive(Debug)]
pub struct NewScript<'a> {
    /// The function's.
    pub name: &'a str,
    pub description: &'a str,
    /// JSON Schema of its settings.
    pub settings: &'a Value,
    pub written: &'a WrittenScript,
    /// What [`VersionStore::javascript`] made of it.
    pub javascript: &'a str,
}

/// A script as its author has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenScript {
    pub text: String,
    /// TypeScript; any other is JavaScript.
    pub language: Language,
}

impl VersionStore {
    /// The component of a script, to be taken like any other. It passes the same checks.
    ///
    /// # Errors
    /// Nothing runs scripts here, the script is too long, or the disk fails.
    pub fn script_component(&self, script: &NewScript<'_>) -> Result<Vec<u8>, RegistryError> {
        let NewScript { name, description, settings, written, javascript } = *script;
        let (_, interpreter) = self.interpreter_bytes()?;
        let manifest = json!({
            "name": name,
            "kind": ManifestKind::Transform.as_str(),
            "language": written.language.as_str(),
            "description": description,
            "settings": settings,
        });
        Ok(with_script(&interpreter, &manifest, javascript, &written.text)?)
    }

    /// What runs of a script: itself, or its TypeScript without the types. Blocks for as long as a child needs for that.
    ///
    /// # Errors
    /// [`RegistryError::TypeScript`] says what is wrong with it; it is too long, or no child can be run.
    pub fn javascript(&self, script: &WrittenScript) -> Result<String, RegistryError> {
        if script.language != Language::Ts {
            return Ok(script.text.clone());
        }
        check_script_length(&script.text)?;
        let _one_at_a_time = self.0.stripping.lock();
        strip_types::javascript(&self.0.settings.program, &script.text)
    }

    /// What runs scripts that stand in its settings, as `script` beside their own `settings`. Blocks for seconds when it is new.
    ///
    /// # Errors
    /// Nothing runs scripts here, or what does cannot be loaded.
    pub fn interpreter(&self) -> Result<Loaded, RegistryError> {
        let (path, bytes) = self.interpreter_bytes()?;
        let damaged = |reason: String| RegistryError::Damaged { path: path.clone(), reason };
        let package = Package::read(&bytes).map_err(|error| damaged(error.to_string()))?;
        let module = self.module(&path, &bytes, ManifestKind::Transform)?;
        Ok(Loaded { sha256: Sha::of(&bytes), manifest: package.manifest, module })
    }

    /// The script that a version of a function was made of, if it was made of one, as its component says.
    ///
    /// # Errors
    /// There is no such version, or the disk fails.
    pub fn script(&self, name: &str, sha256: Sha) -> Result<Option<WrittenScript>, RegistryError> {
        self.function_metadata(name, sha256)?;
        let bytes = self.version_bytes(sha256)?;
        let Ok(Package { script: Some(text), manifest, .. }) = Package::read(&bytes) else { return Ok(None) };
        Ok(Some(WrittenScript { text, language: manifest.language.unwrap_or(Language::Js) }))
    }

    /// A version of a function, loaded.
    ///
    /// # Errors
    /// There is no such version, or it cannot be made to run.
    pub fn function_version(&self, name: &str, sha256: Sha) -> Result<std::sync::Arc<Loaded>, RegistryError> {
        self.function_metadata(name, sha256)?;
        self.load(sha256)
    }

    fn function_metadata(&self, name: &str, sha256: Sha) -> Result<(), RegistryError> {
        let plugin_kind = PluginKind::Functions;
        self.known(plugin_kind, name)?;
        let metadata = self.0.versions.lock().get(&sha256).cloned();
        match metadata {
            Some(found) if found.name == name && found.plugin_kind() == plugin_kind => Ok(()),
            _ => Err(RegistryError::NoSuchVersion { plugin_kind, name: name.to_owned(), sha256 }),
        }
    }

    fn interpreter_bytes(&self) -> Result<(PathBuf, Vec<u8>), RegistryError> {
        let absent = || {
            let places = shipped_places().map(|place| place.display().to_string());
            RegistryError::NoInterpreter { file: INTERPRETER, places: places.join(" or ") }
        };
        let path = shipped_component(INTERPRETER).ok_or_else(absent)?;
        let bytes_max = self.limits().component_bytes_max as u64;
        let bytes = disk::read(&path, bytes_max);
        let bytes = bytes.map_err(|cause| RegistryError::File { path: path.clone(), cause })?.ok_or_else(absent)?;
        Ok((path, bytes))
    }
}
