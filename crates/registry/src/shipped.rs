//! Components that come with the program.

use std::path::{Path, PathBuf};

use super::own_program;

/// The folders that they may be in: `plugins` beside the program, and where packages put them.
#[must_use]
pub fn shipped_places() -> [PathBuf; 2] {
    // Where the file of this program lies, and not the name that the kernel gives whatever runs.
    let program = own_program();
    let program = std::fs::read_link(&program).unwrap_or(program);
    let beside = program.parent().unwrap_or(Path::new("."));
    [beside.join("plugins"), beside.join("../share/tidegate/plugins")]
}

/// One of them, by the name of its file; none where it is not there.
#[must_use]
pub fn shipped_component(file: &str) -> Option<PathBuf> {
    shipped_places().into_iter().map(|place| place.join(file)).find(|path| path.is_file())
}
