//! The child that compiles: what it may use, and how it says that it was too much.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_plugin::ManifestKind;
use tidegate_registry::{CompileError, CompileLimits, RegistryError, RegistrySettings, VersionStore};

use crate::support::guests;

fn store(dir: &Path, compile: CompileLimits) -> VersionStore {
    let settings =
        RegistrySettings { compile, program: env!("CARGO_BIN_EXE_tidegate").into(), ..RegistrySettings::default() };
    VersionStore::open(dir, settings).unwrap().0
}

fn refusal(compile: CompileLimits) -> CompileError {
    let dir = tempfile::tempdir().unwrap();
    let path = guests::component("transform/redact-pii");
    let bytes = std::fs::read(&path).unwrap();
    match store(dir.path(), compile).module(&path, &bytes, ManifestKind::Transform) {
        Err(RegistryError::Compile(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Code that takes a compiler long: every local lives through every block.
fn slow() -> Vec<u8> {
    let locals = "i64 ".repeat(400);
    let step =
        |n: usize| format!("local.get {} local.get {} i64.mul local.set {} ", n % 400, (n * 7) % 400, (n * 13) % 400);
    let body: String = (0..9_000)
        .map(|n| if n % 8 == 0 { format!("block local.get 0 i64.eqz br_if 0 end {}", step(n)) } else { step(n) })
        .collect();
    let functions: String = (0..60).map(|_| format!("(func (local {locals}) {body})")).collect();
    let text = format!(
        "(component (core module {functions}) (instance $n)
            (export \"tidegate:plugin/lifecycle@0.1.0\" (instance $n))
            (export \"tidegate:plugin/transformer@0.1.0\" (instance $n)))"
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn too_little_memory_is_said_so() {
    let refused = refusal(CompileLimits { memory_bytes_max: 160 << 20, ..CompileLimits::default() });
    assert!(matches!(refused, CompileError::Memory { .. }), "{refused}");
}

#[test]
fn too_much_code_is_said_so() {
    let refused = refusal(CompileLimits { code_bytes_max: 10_000, ..CompileLimits::default() });
    assert!(matches!(refused, CompileError::CodeTooLarge { .. }), "{refused}");
}

#[test]
fn out_of_time_is_said_so_and_the_child_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, path) = (slow(), dir.path().join("slow.wasm"));
    let limits = CompileLimits { cpu_max: Duration::from_secs(1), ..CompileLimits::default() };
    let refused = store(&dir.path().join("a"), limits).module(&path, &bytes, ManifestKind::Transform).unwrap_err();
    assert!(matches!(refused, RegistryError::Compile(CompileError::Cpu { .. })), "{refused}");
    let limits = CompileLimits { wall_max: Duration::from_millis(100), ..CompileLimits::default() };
    let refused = store(&dir.path().join("b"), limits).module(&path, &bytes, ManifestKind::Transform).unwrap_err();
    assert!(matches!(refused, RegistryError::Compile(CompileError::Wall { .. })), "{refused}");
}

#[test]
fn a_program_that_is_no_compiler_is_no_danger() {
    let dir = tempfile::tempdir().unwrap();
    let path = guests::component("bench/noop");
    let bytes = std::fs::read(&path).unwrap();
    for program in ["/bin/true", "/bin/cat", "/does/not/exist"] {
        let settings = RegistrySettings { program: program.into(), ..RegistrySettings::default() };
        let (store, _) = VersionStore::open(&dir.path().join("store"), settings).unwrap();
        assert!(store.module(&path, &bytes, ManifestKind::Transform).is_err(), "{program}");
    }
}

#[test]
fn the_child_gets_nothing_of_our_environment() {
    let dir = tempfile::tempdir().unwrap();
    let path = guests::component("bench/noop");
    let mut bytes = std::fs::read(&path).unwrap();
    // A custom section whose content makes the child say what it can do: its number, the lengths of all that follows and of
    // its name, its name, its content.
    bytes.extend_from_slice(b"\0\x1a\x09self-testtry what you may");
    match store(dir.path(), CompileLimits::default()).module(&path, &bytes, ManifestKind::Transform) {
        Err(RegistryError::Compile(CompileError::Refused(said))) => {
            assert!(said.contains("a thread computed 42"), "{said}");
            assert!(!said.contains("read the environment"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

/// Prints how long it takes to load what was compiled before; `TIDEGATE_COMPONENT` names another component.
#[test]
fn an_artifact_is_loaded_without_compiling() {
    let dir = tempfile::tempdir().unwrap();
    let path = own_component().unwrap_or_else(|| guests::component("transform/redact-pii"));
    let bytes = std::fs::read(&path).unwrap();
    let began = Instant::now();
    store(dir.path(), CompileLimits::default()).module(&path, &bytes, ManifestKind::Transform).unwrap();
    let compiled = began.elapsed();
    // Nothing that could compile is there any more.
    let settings = RegistrySettings { program: "/does/not/exist".into(), ..RegistrySettings::default() };
    let (store, _) = VersionStore::open(dir.path(), settings).unwrap();
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let began = cpu();
            store.module(&path, &bytes, ManifestKind::Transform).unwrap();
            cpu() - began
        })
        .collect();
    times.sort_unstable();
    let artifact = std::fs::read_dir(dir.path().join("artefacts")).unwrap().next().unwrap().unwrap();
    println!(
        "{} bytes: compiled in {compiled:?}; {} bytes of code loaded in {:?} of CPU time (median), {:?} (worst)",
        bytes.len(),
        artifact.metadata().unwrap().len(),
        times[5],
        times[10]
    );
}

/// CPU time of this thread, which a busy machine does not log range.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "another component is asked for from outside")]
fn own_component() -> Option<std::path::PathBuf> {
    std::env::var("TIDEGATE_COMPONENT").ok().map(Into::into)
}
