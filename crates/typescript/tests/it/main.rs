//! Each file `cases/NAME.ts` stripped: `NAME.js` is what is left of it, or `NAME.error` says why nothing is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};

use oxc_allocator::Allocator;
use oxc_parser::Parser;
use oxc_span::SourceType;
use tidegate_typescript::stripped;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|it| it == "ts")).collect();
    cases.sort();
    assert!(cases.len() > 20, "only {} cases were found", cases.len());
    cases
}

fn is_line_break(unit: u16) -> bool {
    [0x0a, 0x0d, 0x2028, 0x2029].contains(&unit)
}

/// Every line is as long as it was, and has nothing that was not there but a space or what keeps statements apart.
fn assert_in_place(name: &str, before: &str, after: &str) {
    let (before, after): (Vec<u16>, Vec<u16>) = (before.encode_utf16().collect(), after.encode_utf16().collect());
    assert_eq!(before.len(), after.len(), "{name}");
    for (at, (was, is)) in before.into_iter().zip(after).enumerate() {
        let is_new = " ;()".encode_utf16().any(|unit| unit == is) && !is_line_break(was);
        assert!(was == is || is_new, "{name}: {is:#x} in the place of {was:#x}, unit {at}");
    }
}

fn assert_javascript(name: &str, text: &str) {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse();
    assert!(parsed.diagnostics.is_empty(), "{name}: {:?}\n{text}", parsed.diagnostics);
}

#[test]
fn types_leave_spaces_and_what_is_more_than_a_type_says_what_to_write() {
    for path in cases() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let before = std::fs::read_to_string(&path).unwrap();
        match (stripped(&before), std::fs::read_to_string(path.with_extension("error"))) {
            (Err(error), Ok(wanted)) => assert_eq!(error.to_string(), wanted.trim_end(), "{name}"),
            (Ok(after), Ok(_)) => panic!("{name} is not wrong:\n{after}"),
            (Err(error), Err(_)) => panic!("{name}: {error}"),
            (Ok(after), Err(_)) => {
                let wanted = std::fs::read_to_string(path.with_extension("js")).unwrap();
                assert_eq!(after, wanted, "{name}");
                assert_in_place(&name, &before, &after);
                assert_javascript(&name, &after);
                assert_eq!(stripped(&after).unwrap(), after, "{name}: what is left has no types");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, line) in [
        ("type A =\n  | ;\n", 2),
        ("const a = 1;\nfunction b( {\n", 3),
        ("let a: string\n\n@", 3),
        ("const a = 1 + 2 as number * 3;", 1),
        ("\u{1}", 1),
    ] {
        let error = stripped(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.to_string().contains(&format!("(script.ts:{line}:")) && !error.reason.is_empty(), "{error}");
    }
}
