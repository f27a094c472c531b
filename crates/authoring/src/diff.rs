//! A line diff for people.

/// Lines of unchanged text shown around a change.
const CONTEXT: usize = 3;

/// The table of the diff has a cell for each pair of lines; beyond this many cells the middle is shown whole.
const CELLS_MAX: usize = 4_000_000;

/// How `actual` differs from `expected`: `-` lines were expected, `+` lines came instead.
pub(super) fn lines(expected: &str, actual: &str) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let prefix = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let suffix = a[prefix..].iter().rev().zip(b[prefix..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut marked: Vec<(char, &str)> = a[..prefix].iter().map(|line| (' ', *line)).collect();
    middle(&a[prefix..a.len() - suffix], &b[prefix..b.len() - suffix], &mut marked);
    marked.extend(a[a.len() - suffix..].iter().map(|line| (' ', *line)));
    render(&marked)
}

/// Marks the part that differs, by its longest common subsequence.
fn middle<'a>(a: &[&'a str], b: &[&'a str], marked: &mut Vec<(char, &'a str)>) {
    if a.len().saturating_mul(b.len()) > CELLS_MAX {
        marked.extend(a.iter().map(|line| ('-', *line)));
        marked.extend(b.iter().map(|line| ('+', *line)));
        return;
    }
    // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            marked.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            marked.push(('-', a[i]));
            i += 1;
        } else {
            marked.push(('+', b[j]));
            j += 1;
        }
    }
}

fn render(marked: &[(char, &str)]) -> String {
    let changed: Vec<_> = (0..marked.len()).filter(|i| marked[*i].0 != ' ').collect();
    let (mut out, mut next) = (String::new(), 0);
    for at in changed {
        let from = at.saturating_sub(CONTEXT).max(next);
        if from > next {
            out.push_str("  ...\n");
        }
        for (mark, line) in &marked[from..(at + CONTEXT + 1).min(marked.len()).max(from)] {
            out.push(*mark);
            out.push(' ');
            out.push_str(line);
            out.push('\n');
        }
        next = next.max((at + CONTEXT + 1).min(marked.len()));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let expected = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let actual = "1\n2\n3\n4\n5\nsix\n7\n8\n9";
        assert_eq!(lines(expected, actual), "  ...\n  3\n  4\n  5\n- 6\n+ six\n  7\n  8\n  9\n");
        assert_eq!(lines("same", "same"), "");
        assert_eq!(lines("", "new"), "+ new\n");
    }

    proptest! {
        #[test]
        fn both_sides_can_be_read_back(a in prop::collection::vec(0_u8..4, 0..12), b in prop::collection::vec(0_u8..4, 0..12)) {
            let names = ["a", "b", "c", "d"];
            let side = |picks: &[u8]| -> Vec<&str> { picks.iter().map(|pick| names[usize::from(*pick)]).collect() };
            let (a, b) = (side(&a), side(&b));
            let mut marked = Vec::new();
            middle(&a, &b, &mut marked);
            let read = |hidden: char| -> Vec<&str> {
                marked.iter().filter(|(mark, _)| *mark != hidden).map(|(_, line)| *line).collect()
            };
            prop_assert_eq!(read('+'), a);
            prop_assert_eq!(read('-'), b);
        }
    }
}
