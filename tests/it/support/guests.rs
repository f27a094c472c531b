//! Components of the guests under `functions/`: found, or built when they are missing or older than their sources.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use tidegate_authoring as project;
use tidegate_plugin::ManifestKind;
use tidegate_wasm::{CallLimits, Engine, Module};

/// One engine for all tests: its pool reserves a lot of address space.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&CallLimits::default()).unwrap())
}

/// A compiled guest of the world `transform`, by the path of its folder under `functions/`.
pub fn module(guest: &str) -> Module {
    module_of(guest, ManifestKind::Transform)
}

/// A compiled guest, by the path of its folder under `functions/`.
pub fn module_of(guest: &str, world: ManifestKind) -> Module {
    static COMPILED: Mutex<Vec<(String, Module)>> = Mutex::new(Vec::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = compiled.iter().find(|(name, _)| name == guest) {
        return module.clone();
    }
    let module = Module::compile(engine(), &std::fs::read(component(guest)).unwrap(), world).unwrap();
    compiled.push((guest.to_owned(), module.clone()));
    module
}

/// The path of a guest's component.
///
/// `$TIDEGATE_COMPONENTS` names a folder of components that are taken as they are. Otherwise guests are built in a
/// target folder of their own, because the outer cargo holds the lock of the usual one.
pub fn component(guest: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let name = guest.rsplit('/').next().unwrap();
    let file = format!("{}.component.wasm", if name == "attacks" { "hostile" } else { name });
    if let Some(dir) = std::env::var_os("TIDEGATE_COMPONENTS") {
        return Path::new(&dir).join(file);
    }
    let target_dir = guests_target_dir();
    let path = target_dir.join("components").join(file);
    if is_fresh(&path, guest) {
        return path;
    }
    let workbench = project::Workbench { tools: tools(), target_dir: Some(target_dir) };
    project::build(&folder(guest), &workbench, Some(&path), &mut |_| {}).unwrap().path
}

/// Where the tools of other languages are installed, shared by all tests.
pub fn tools() -> PathBuf {
    match std::env::var_os("TIDEGATE_TOOLS") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir().unwrap().join(".cache/tidegate/tools"),
    }
}

/// `<target dir>/guests`.
pub fn guests_target_dir() -> PathBuf {
    // The test binary lies in <target dir>/<profile>/deps.
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("guests")
}

pub fn folder(guest: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("functions").join(guest)
}

fn is_fresh(component: &Path, guest: &str) -> bool {
    let Ok(built) = std::fs::metadata(component).and_then(|found| found.modified()) else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = ["wit", "sdk", "functions/Cargo.toml", "functions/Cargo.lock"].map(|path| root.join(path));
    let inputs = shared.into_iter().chain([folder(guest)]);
    inputs.into_iter().all(|input| newest(&input) < built)
}

fn newest(path: &Path) -> SystemTime {
    let own = std::fs::metadata(path).and_then(|found| found.modified()).unwrap();
    if !path.is_dir() {
        return own;
    }
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| newest(&entry.unwrap().path()))
        .max()
        .map_or(own, |inner| inner.max(own))
}

/// The component of a destination guest that carries `manifest`, as `build` would make it.
pub fn destination(guest: &str, manifest: &serde_json::Value) -> Vec<u8> {
    static BUILT: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = built.iter().find(|(name, _)| name == guest).map(|(_, component)| component.clone());
    let component = known.unwrap_or_else(|| {
        let mut cargo = std::process::Command::new("cargo");
        cargo.args(["build", "--release", "--quiet", "--target", "wasm32-unknown-unknown", "--target-dir"]);
        cargo.arg(guests_target_dir()).env_remove("RUSTFLAGS").current_dir(folder(guest));
        assert!(cargo.status().unwrap().success(), "{guest} does not build");
        let name = guest.rsplit('/').next().unwrap().replace('-', "_");
        let module = guests_target_dir().join(format!("wasm32-unknown-unknown/release/{name}.wasm"));
        let component = wit_component::ComponentEncoder::default()
            .module(&std::fs::read(module).unwrap())
            .unwrap()
            .encode()
            .unwrap();
        built.push((guest.to_owned(), component.clone()));
        component
    });
    tidegate_plugin::embed(&component, manifest, &[])
}
