//! A workspace whose main file is any bytes: problems, never a panic.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tidegate::config::{Workspace, init};

thread_local! {
    static DIR: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// The file that the first byte chooses is replaced by the rest.
const FILES: [&str; 4] =
    ["tidegate.yaml", "sources/web.yaml", "destinations/warehouse.yaml", "syncs/web-to-warehouse.yaml"];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(rest) {
        let _ = tidegate_document::yaml::parse(text);
    }
    DIR.with_borrow_mut(|dir| {
        let dir = dir.get_or_insert_with(|| {
            let dir = TempDir::new().expect("a folder");
            init(&dir.path().join("w"), false).expect("a workspace");
            dir
        });
        let workspace = dir.path().join("w");
        let path = workspace.join(FILES[usize::from(*first) % FILES.len()]);
        let before = std::fs::read(&path).expect("the file is there");
        std::fs::write(&path, rest).expect("a file");
        let _ = Workspace::read(&workspace, None, |_, _| Ok(None));
        std::fs::write(&path, before).expect("a file");
    });
});
