//! A component of each world that does nothing, to measure others against.

use tidegate_plugin::ManifestKind;

use super::super::component::{self, EncodeError};
use super::bindings;

/// What all three share: memory that only grows, and an answer of zeros, which spells "ok" with nothing in it.
const SHARED: &str = r#"
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (func $take (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $bytes)))
    (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $bytes) (i32.const 16)) (i32.const 1))))))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $take (local.get 3)))
  (func (export "tidegate:plugin/lifecycle@0.1.0#configure") (param i32 i32 i64) (result i32) (call $take (i32.const 64)))
"#;

/// An outcome has 24 bytes, and `keep` is all zeros.
const TRANSFORM: &str = r#"
  (func (export "tidegate:plugin/transformer@0.1.0#transform") (param $batch i32) (param $events i32) (result i32)
    (local $answer i32)
    (local.set $answer (call $take (i32.const 64)))
    (i32.store offset=4 (local.get $answer) (call $take (i32.mul (local.get $events) (i32.const 24))))
    (i32.store offset=8 (local.get $answer) (local.get $events))
    (local.get $answer))
"#;

const FIELDS: &str = r#"
  (func (export "tidegate:plugin/field-transformer@0.1.0#transform") (param i32) (result i32) (call $take (i32.const 64)))
"#;

const DESTINATION: &str = r#"
  (func (export "tidegate:plugin/destination@0.1.0#prepare") (param i32 i32) (result i32) (call $take (i32.const 64)))
  (func (export "tidegate:plugin/destination@0.1.0#classify")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (call $take (i32.const 64)))
"#;

/// Keeps every event, or plans no request.
pub(crate) fn noop(kind: ManifestKind) -> Result<Vec<u8>, EncodeError> {
    let own = match kind {
        ManifestKind::Transform => TRANSFORM,
        ManifestKind::Fields => FIELDS,
        ManifestKind::Destination => DESTINATION,
    };
    let mut module = wat::parse_str(format!("(module {SHARED} {own})")).map_err(EncodeError::of)?;
    bindings::embed_type(&mut module, kind.world())?;
    component::encode(&module, None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::super::runner::Runner;
    use super::*;
    use tidegate_wasm::function::services;
    use tidegate_wasm::{CallLimits, Engine, Module};

    #[tokio::test]
    async fn it_does_nothing_in_every_world() {
        let engine = Engine::new(&CallLimits { calls_at_once_max: 1, ..CallLimits::default() }).unwrap();
        for (_, kind) in ManifestKind::ALL {
            let module = Module::compile(&engine, &noop(kind).unwrap(), kind).unwrap();
            let runner = Runner {
                kind,
                module,
                limits: Arc::new(CallLimits::default()),
                services: services(None, json!({})),
                manifest: None,
            };
            let events = vec![r#"{"type":"page"}"#.to_owned(); 3];
            let came = runner.run(&events, "{}").await;
            let expected = match kind {
                ManifestKind::Destination => json!({"requests": [], "skipped": [], "failed": []}),
                _ => json!([{"keep": true}, {"keep": true}, {"keep": true}]),
            };
            assert_eq!(came.shown, expected, "{kind:?} {:?}", came.notes);
        }
    }
}
