//! A line diff for people.

use std::fmt::Write as _;

use similar::TextDiff;

/// Lines of unchanged text shown around a change.
const CONTEXT: usize = 3;

/// How `actual` differs from `expected`: `-` lines were expected, `+` lines came instead.
pub(super) fn lines(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let diff = TextDiff::from_slices(&expected, &actual);
    let (mut out, mut next) = (String::new(), 0);
    for group in diff.grouped_ops(CONTEXT) {
        if group.first().is_some_and(|op| op.old_range().start > next) {
            out.push_str("  ...\n");
        }
        next = group.last().map_or(next, |op| op.old_range().end);
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let _ = writeln!(out, "{} {}", change.tag(), change.value());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let expected = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let actual = "1\n2\n3\n4\n5\nsix\n7\n8\n9";
        assert_eq!(lines(expected, actual), "  ...\n  3\n  4\n  5\n- 6\n+ six\n  7\n  8\n  9\n");
        assert_eq!(lines("same", "same"), "");
        assert_eq!(lines("", "new"), "+ new\n");
    }
}
