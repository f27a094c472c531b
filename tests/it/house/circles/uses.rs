//! Which file of a crate uses which, read from `use` and from paths that begin with `crate` or `super`. Of what a file hands on
//! (`pub use`), the file that defines it is used.

use std::collections::BTreeMap;

/// By file of the repository (`crates/log/src/lib.rs`): what it says.
pub type Sources = BTreeMap<String, String>;
/// By file: the files of its crate that it uses, each with a path by which it does.
pub type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// The folder of a crate, and the names from its root to a module.
type Module = (String, Vec<String>);

/// A name may be handed on so many times.
const HOPS_MAX: usize = 8;

/// A parent may use its child: that alone makes no edge.
pub fn of(sources: &Sources) -> Uses {
    let codes: Vec<(&String, Module, String)> =
        sources.iter().filter_map(|(file, text)| Some((file, module(file)?, code(text)))).collect();
    let mut crates = Crates::default();
    for (file, module, _) in &codes {
        crates.files.entry(module.clone()).or_insert_with(|| (*file).clone());
    }
    for (_, module, code) in &codes {
        for (path, name) in trees(code).filter(|(is_public, _)| *is_public).flat_map(|(_, tree)| expanded(tree)) {
            if let Some(names) = crates.absolute(module, &path) {
                crates.handed_on.insert((module.clone(), name), names);
            }
        }
    }
    let mut uses = Uses::new();
    for (file, module, code) in &codes {
        let used = uses.entry((*file).clone()).or_default();
        let of_use = trees(code).flat_map(|(_, tree)| expanded(tree)).map(|(path, _)| path);
        for path in of_use.chain(inline(code)) {
            let Some(names) = crates.absolute(module, &path) else { continue };
            let Some((other, of)) = crates.defines(&module.0, &names, HOPS_MAX) else { continue };
            if other != *file && !of.starts_with(&module.1) {
                used.entry(other.to_owned()).or_insert(path);
            }
        }
    }
    uses
}

#[derive(Default)]
struct Crates {
    files: BTreeMap<Module, String>,
    /// By module and name: what stands behind the name, from the root of the crate.
    handed_on: BTreeMap<(Module, String), Vec<String>>,
}

impl Crates {
    /// A path as it is written in a module, from the root of its crate; none for one of another crate.
    fn absolute(&self, (folder, module): &Module, path: &str) -> Option<Vec<String>> {
        let names: Vec<String> = path.split("::").map(str::to_owned).collect();
        let ups = names.iter().take_while(|name| *name == "super").count();
        let (from, rest) = match &*names[0] {
            "crate" => (&[][..], &names[1..]),
            "self" => (&module[..], &names[1..]),
            "super" => (module.get(..module.len().checked_sub(ups)?)?, &names[ups..]),
            child => {
                let is_there = self.files.contains_key(&(folder.clone(), [&module[..], &[child.to_owned()]].concat()));
                (is_there.then_some(&module[..])?, &names[..])
            }
        };
        Some([from, rest].concat())
    }

    /// The file that defines what stands at a path, and its module's names.
    fn defines<'c>(&'c self, folder: &str, names: &[String], hops: usize) -> Option<(&'c str, &'c [String])> {
        (0..=names.len()).rev().find_map(|end| {
            let module = (folder.to_owned(), names[..end].to_vec());
            let (found, file) = self.files.get_key_value(&module)?;
            let further = names.get(end).and_then(|name| self.handed_on.get(&(module, name.clone())));
            match further.filter(|_| hops > 0) {
                Some(target) => self.defines(folder, &[target, &names[end + 1..]].concat(), hops - 1),
                None => Some((file.as_str(), found.1.as_slice())),
            }
        })
    }
}

fn module(file: &str) -> Option<Module> {
    let (folder, path) = file.strip_suffix(".rs")?.split_once("src/")?;
    let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
    let is_root = names.len() == 1 && ["lib", "main"].contains(&&*names[0]);
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    Some((folder.to_owned(), names))
}

/// Without tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// What stands behind each `use`, and whether the name is handed on.
fn trees(code: &str) -> impl Iterator<Item = (bool, &str)> {
    code.split(';').filter_map(|statement| {
        statement.match_indices("use ").find_map(|(at, word)| {
            let before = statement[..at].rsplit('\n').next().unwrap().trim();
            let is_use = ["", "pub", "pub(super)", "pub(crate)"].contains(&before);
            is_use.then(|| (!before.is_empty(), &statement[at + word.len()..]))
        })
    })
}

/// The paths of `super::{a, b::{self, C as D}}`, each with the name that it gets: `super::a` and a, `super::b` and b,
/// `super::b::C` and D.
fn expanded(tree: &str) -> Vec<(String, String)> {
    fn walk(tree: &str, before: &str, paths: &mut Vec<(String, String)>) {
        let Some((stem, inner)) = tree.split_once('{') else {
            let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
            let path = [before, path.trim()].concat();
            let path = path.strip_suffix("::self").unwrap_or(&path);
            let name = if name.is_empty() { path.rsplit("::").next().unwrap() } else { name.trim() };
            paths.push((path.to_owned(), name.to_owned()));
            return;
        };
        let before = [before, stem.trim()].concat();
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        let (mut depth, mut start) = (0, 0);
        for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let part = &inner[start..at];
                    if !part.trim().is_empty() {
                        walk(part, &before, paths);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    let mut paths = Vec::new();
    walk(tree, "", &mut paths);
    paths
}

/// Paths in the code itself.
fn inline(code: &str) -> impl Iterator<Item = String> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let starts = ["crate::", "super::"].into_iter().flat_map(move |word| code.match_indices(word));
    starts.filter(move |(at, _)| !code[..*at].ends_with(is_of_path)).filter_map(move |(at, _)| {
        let path = code[at..].split(|c| !is_of_path(c)).next().unwrap().trim_end_matches(':');
        path.contains("::").then(|| path.to_owned())
    })
}
