//! A source of one name in several environments: the signature says whose a message is.

use super::providers::{now_seconds, provider};
use super::{send, with_source};
use crate::support::{Warehouse, Workspace};

#[test]
fn a_message_goes_to_the_environment_whose_secret_signed_it() {
    let github = provider("github");
    let workspace = Workspace::new();
    with_source(&workspace, "git", &format!("preset: github\nsecret: {}\n", github.secret));
    workspace.append("tidegate.yaml", "\nenvironments: {staging: {}}\n");
    let staging = |file: &str, text: &str| workspace.write(&format!("environments/staging/{file}"), text);
    staging("destinations/warehouse.yaml", "kind: sqlite\n");
    staging("syncs/git.yaml", "source: git\ndestination: warehouse\nschema: git\n");
    staging("sources/git.yaml", &format!("kind: webhook\npreset: github\nsecret: {}\n", github.other_secret()));
    let server = workspace.serve();
    let body = github.payload();
    let to = |secret: &str| {
        let signed = github.signed(secret, &body, now_seconds());
        send(&server, "/v1/webhook/git", &signed, &body).code()
    };
    assert_eq!(to(github.other_secret()), "200");
    assert_eq!(to(github.secret), "200");
    assert!(!server.stop().contains("was not signed as its source says"), "each was signed for one of them");
    let staging = Warehouse::open(&workspace.data().join("environments/staging/warehouse.db"));
    for warehouse in [workspace.warehouse(), staging] {
        assert_eq!(warehouse.rows("SELECT id FROM git__tracks"), [github.delivery]);
    }
    with_source(&workspace, "git", &format!("preset: github\nsecret: {}\npaused: true\n", github.secret));
    let server = workspace.serve();
    let to = |secret: &str| {
        let signed = github.signed(secret, &body, now_seconds());
        send(&server, "/v1/webhook/git", &signed, &body).code()
    };
    assert_eq!(to(github.secret), "503 source-paused", "it is for the one that is paused");
    assert_eq!(to(github.other_secret()), "200");
    assert_eq!(to("secret-of-nobody-0123"), "401 wrong-signature");
    assert!(server.stop().contains("was not signed as its source says"));
}
