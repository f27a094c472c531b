//! Which line of which of the author's files a line of the bundle came from, so that a stack of QuickJS names them.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

/// Runs as `[line of the bundle, file or null, line there, whether the lines go on together]`, from 1. What is not the
/// author's (our own runtime) has no file. `map` is a source map whose sources are relative to `base`.
pub(super) fn of(map: &[u8], base: &Path, project: &Path) -> Value {
    let Ok(map) = serde_json::from_slice::<Value>(map) else { return json!([]) };
    let sources: Vec<Option<String>> = map["sources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|source| source.as_str().and_then(|source| own_file(source, base, project)))
        .collect();
    let mut runs: Vec<(usize, Option<usize>, i64)> = Vec::new();
    let (mut source, mut source_line) = (0_i64, 0_i64);
    for (line, segments) in map["mappings"].as_str().unwrap_or_default().split(';').enumerate() {
        let mut first = None;
        for segment in segments.split(',').filter(|segment| !segment.is_empty()) {
            let numbers = decode(segment);
            if let [_, by_source, by_line, ..] = numbers[..] {
                source += by_source;
                source_line += by_line;
                first.get_or_insert((source, source_line));
            }
        }
        if let Some((source, source_line)) = first {
            let file = usize::try_from(source).ok().filter(|at| sources.get(*at).is_some_and(Option::is_some));
            let goes_on = runs.last().is_some_and(|(begin, known, at)| {
                let by = i64::try_from(line - begin).unwrap_or(0);
                *known == file && (file.is_none() || at + by == source_line)
            });
            if !goes_on {
                runs.push((line, file, source_line));
            }
        }
    }
    let run = |(line, file, at): &(usize, Option<usize>, i64)| {
        json!([line + 1, file.and_then(|file| sources.get(file).cloned().flatten()), at + 1, 1])
    };
    Value::Array(runs.iter().map(run).collect())
}

/// The path inside the project; none for what lies elsewhere or in its scratch.
fn own_file(source: &str, base: &Path, project: &Path) -> Option<String> {
    let mut path = PathBuf::new();
    for part in base.join(source).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    let path = path.strip_prefix(project).ok()?;
    (!path.starts_with("build")).then(|| path.display().to_string())
}

/// Base 64 variable-length numbers, as source maps write them.
fn decode(segment: &str) -> Vec<i64> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut numbers, mut value, mut shift) = (Vec::new(), 0_i64, 0_u32);
    for digit in segment.bytes().filter_map(|byte| DIGITS.iter().position(|known| *known == byte)) {
        let digit = i64::try_from(digit).unwrap_or(0);
        value |= (digit & 31).checked_shl(shift).unwrap_or(0);
        if digit & 32 != 0 {
            shift += 5;
        } else {
            numbers.push(if value & 1 == 1 { -(value >> 1) } else { value >> 1 });
            (value, shift) = (0, 0);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again_and_the_runtime_is_nobodys() {
        assert_eq!(decode("AAgBC"), [0, 0, 16, 1]);
        // Bundle lines 1-2 from a.js 1-2, line 3 from a.js 5, line 4 from the runtime.
        let map = json!({"sources": ["../../src/a.js", "tidegate.js"], "mappings": "AAAA;AACA;AAGA;ACAA"});
        let lines = of(map.to_string().as_bytes(), Path::new("/p/build/work"), Path::new("/p"));
        assert_eq!(lines, json!([[1, "src/a.js", 1, 1], [3, "src/a.js", 5, 1], [4, null, 5, 1]]));
        assert_eq!(of(b"no map", Path::new("/"), Path::new("/")), json!([]));
    }
}
