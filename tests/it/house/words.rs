//! One word for one thing: what `docs/GLOSSARY.md` lists as not to be said is said nowhere, but for names that are fixed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{files, root, sources};

/// Words of the right column that have another meaning as well, which stays: in it they cannot be told apart.
const OF_TWO_MEANINGS: [(&str, &str); 14] = [
    ("post", "HTTP's method"),
    ("pointer", "a JSON pointer"),
    ("fault", "what the fault tests inject"),
    ("flip", "of a bit"),
    ("halves", "two parts of a whole"),
    ("standing", "the verb"),
    ("pace", "of a clock"),
    ("sink", "what libraries call a place to write to"),
    ("rejected", "a verdict of the interface of plugins"),
    ("refused", "what HTTP, warehouses and far sides do"),
    ("known", "the participle"),
    ("link", "of files and of programs"),
    ("code", "of an error, and of a program"),
    ("common", "the adjective"),
];

/// Where a word is a name that stays, and whose.
const NAMES: [(&str, &str, &str); 10] = [
    ("crates/authoring/src/build/link.rs", "utils", "a module of a library"),
    ("crates/catalog/src/sqlite.rs", "journal", "SQLite's"),
    ("crates/registry/src/releases.rs", "trial", "a field on disk"),
    ("crates/source/src/http/route.rs", "manager", "consent managers are called so"),
    ("crates/sqlite/src/sqlite_copy.rs", "journal", "SQLite's"),
    ("crates/state/src/", "journal", "SQLite's"),
    ("crates/state/src/", "lineup", "a table on disk"),
    ("crates/state/src/", "rival", "a column on disk"),
    ("crates/warehouse-sqlite/src/load.rs", "journal", "SQLite's"),
    ("src/cli/traffic.rs", "book", "what a made-up shop sells"),
];

/// The words of the glossary's right column.
fn banned() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/GLOSSARY.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| **"));
    let words: Vec<String> = rows
        .filter_map(|row| row.split('|').nth(3))
        .flat_map(|cell| cell.split(", "))
        .map(|word| word.trim().to_lowercase())
        .filter(|word| !word.is_empty() && !OF_TWO_MEANINGS.iter().any(|(other, _)| other == word))
        .collect();
    assert!(words.len() > 20, "the glossary has lost its right column: {words:?}");
    words
}

/// Markdown without code. Of Rust everything is read: comments, names, errors and log lines.
fn unquoted(path: &Path, text: &str) -> String {
    if path.extension().is_none_or(|extension| extension != "md") {
        return text.to_owned();
    }
    let (mut kept, mut in_block) = (String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        let spoken: String = line.split('`').step_by(2).collect();
        kept.push_str(if in_block { "" } else { &spoken });
        kept.push('\n');
    }
    kept
}

/// `DeliveryOutcome::SetAside` and `set_aside` are `set aside`, in lower case, with a space on either side of each word.
fn spoken(line: &str) -> String {
    let mut words = String::new();
    let mut was_lower = false;
    for c in line.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lower) {
            words.push(' ');
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn said(text: &str, banned: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let lines: Vec<String> = text.lines().map(spoken).collect();
    for (number, line) in lines.iter().enumerate() {
        // Two words may be parted by the end of a line.
        let next = lines.get(number + 1).map_or("", |next| next.trim_start());
        let both = format!("{line}{next}");
        for word in banned {
            let line = if word.contains(' ') { &both } else { line };
            if [format!(" {word} "), format!(" {word}s ")].iter().any(|form| line.contains(form.as_str())) {
                found.push((number + 1, word.clone()));
            }
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let docs = files("docs", &["md"]).into_iter().filter(|path| !path.ends_with("GLOSSARY.md"));
    let of_root = ["README.md", "CONTRIBUTING.md", "Makefile"].map(|name| root().join(name));
    docs.chain(of_root).chain(files("templates", &["c", "go", "js", "md", "py", "rs", "ts", "yaml"])).collect()
}

#[test]
fn no_word_of_the_right_column_is_left_in_code_and_pages() {
    let banned = banned();
    let mut wrong = Vec::new();
    for path in sources("src").into_iter().chain(sources("crates")).chain(pages()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let is_name = |word: &str| NAMES.iter().any(|(place, name, _)| shown.starts_with(place) && *name == word);
        let found = said(&unquoted(&path, &text), &banned).into_iter().filter(|(_, word)| !is_name(word));
        wrong.extend(found.map(|(line, word)| format!("{shown}:{line}: {word}")));
    }
    assert!(wrong.is_empty(), "see docs/GLOSSARY.md for the word to use:\n{}", wrong.join("\n"));
}

#[test]
fn no_word_of_the_right_column_is_left_in_what_help_prints() {
    let banned = banned();
    let help = |command: &[String]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(command).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (mut open, mut wrong, mut pages) = (vec![Vec::new()], Vec::new(), 0);
    while let Some(command) = open.pop() {
        let text = help(&command);
        pages += 1;
        wrong.extend(said(&text, &banned).into_iter().map(|(line, word)| format!("{command:?}:{line}: {word}")));
        let listed = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        open.extend(names.map(|name| [&command[..], &[name.to_owned()]].concat()));
    }
    assert!(pages > 20, "only {pages} pages of help were found");
    assert!(wrong.is_empty(), "see docs/GLOSSARY.md for the word to use:\n{}", wrong.join("\n"));
}

#[test]
fn no_page_shows_a_variable_without_quotes_within_the_braces_of_a_map() {
    let examples = files("examples", &["md", "yaml"]).into_iter().chain(files("src/config/init", &["yaml", "example"]));
    let mut wrong = Vec::new();
    for path in files("docs", &["md"]).into_iter().chain(examples) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            // YAML takes the brace of the variable for that of another map.
            let is_within = |(at, _): (usize, &str)| line[..at].matches('{').count() > line[..at].matches('}').count();
            if line.match_indices(": ${").any(is_within) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "write \"${{NAME}}\" there:\n{}", wrong.join("\n"));
}
