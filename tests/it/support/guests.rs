//! Components of the guest workspace, built once by the program under test.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder with `<name>.component.wasm` of every guest.
pub fn components() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap().join("guests");
        let out = target.join("components");
        for guest in [
            "transform/redact-pii",
            "transform/utm-referrer",
            "hostile/attacks",
            "hostile/alias",
            "hostile/start-loop",
            "bench/noop",
            "bench/rewrite",
        ] {
            let name = guest.rsplit('/').next().unwrap();
            let built = super::tidegate()
                .args(["function", "build", root.join("functions").join(guest).to_str().unwrap(), "--out"])
                .arg(out.join(format!("{name}.component.wasm")))
                // A target directory of its own: the outer cargo holds the lock of the other one.
                .env("CARGO_TARGET_DIR", &target)
                .output()
                .unwrap();
            assert!(built.status.success(), "{guest}: {}", String::from_utf8_lossy(&built.stderr));
        }
        out
    })
}

/// The bytes of one component.
pub fn component(name: &str) -> Vec<u8> {
    std::fs::read(components().join(format!("{name}.component.wasm"))).unwrap()
}
