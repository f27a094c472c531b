//! Settings against the schema that a manifest has for them.

use serde_json::Value;

use super::Manifest;

/// As many problems as people read at once.
const PROBLEMS_MAX: usize = 20;

/// What does not fit: the place in `settings` as a JSON pointer, and a sentence without any value, which may be a secret.
///
/// # Errors
/// The manifest's schema is none itself.
pub fn settings_problems(manifest: &Manifest, settings: &Value) -> Result<Vec<(String, String)>, String> {
    let schema = Value::Object(manifest.settings.clone());
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| format!("the schema of the settings is wrong: {}", error.masked()))?;
    let problem =
        |error: jsonschema::ValidationError<'_>| (error.instance_path().to_string(), error.masked().to_string());
    Ok(validator.iter_errors(settings).take(PROBLEMS_MAX).map(problem).collect())
}
