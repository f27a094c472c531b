//! What the documentation says of each warehouse is what the code says.

use std::path::Path;

use tidegate_warehouse::capabilities;

use tidegate::warehouses::ALL_CAPABILITIES;

const BEGIN: &str = "<!-- capabilities: made from the code; a test compares -->\n";
const END: &str = "<!-- /capabilities -->";

/// `TIDEGATE_UPDATE_DOCS=1` writes what it should be.
#[test]
fn the_documentation_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/warehouses.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let wanted = capabilities::tables(&ALL_CAPABILITIES);
    if std::env::var_os("TIDEGATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, [before, BEGIN, &wanted, END, after].concat()).unwrap();
        return;
    }
    assert_eq!(written, wanted, "run this test with TIDEGATE_UPDATE_DOCS=1 to write it");
}
