//! Tests wait with `support::waiting`, which has a deadline.

use super::{root, sources};

/// What a loop of one's own is made of.
const OF_LOOPS: [&str; 3] = ["yield_now", "::sleep(", "Instant::now() + "];

/// Files that need one of them, and why.
const NEEDED: [(&str, &str, &str); 4] = [
    ("connections.rs", "Instant::now() + ", "clients that send a byte now and then, at a rate of their own"),
    ("fields.rs", "::sleep(", "a machine that stands still is what is tested"),
    ("function.rs", "::sleep(", "a machine that stands still is what is tested"),
    ("reliability/flips.rs", "Instant::now() + ", "that nothing moves is an outcome, not a failure"),
];

#[test]
fn no_test_waits_in_a_loop_of_its_own() {
    let (mut wrong, mut needed) = (Vec::new(), 0);
    for path in sources("tests/it") {
        let file = path.strip_prefix(root().join("tests/it")).unwrap().to_str().unwrap();
        if ["support/", "cases/", "house/"].iter().any(|folder| file.starts_with(folder)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for word in OF_LOOPS.iter().filter(|word| text.contains(**word)) {
            if NEEDED.iter().any(|(of, needs, _)| of == &file && needs == word) {
                needed += 1;
            } else {
                wrong.push(format!("{file}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "use `until` or `within` of support/waiting.rs:\n{}", wrong.join("\n"));
    assert_eq!(needed, NEEDED.len(), "an exemption is not needed any more");
}
