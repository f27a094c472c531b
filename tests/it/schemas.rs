//! What is wrong with the schemas of a source or a destination is told with its file, its line and what to do; what is right is taken.

use serde_json::Value;

use crate::support::{Workspace, run};

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#;
const PROTO: &str =
    "syntax = \"proto3\"; package shop; import \"pay/money.proto\"; message Order { pay.Money total = 1; }";
const MONEY: &str = "syntax = \"proto3\"; package pay; message Money { int64 cents = 1; }";

fn checked(text: &str) -> (Option<i32>, Value) {
    let workspace = Workspace::new();
    workspace.write("schemas/order.avsc", ORDER);
    workspace.write("schemas/shop/order.proto", PROTO);
    workspace.write("schemas/pay/money.proto", MONEY);
    workspace.write("schemas/alone.proto", "syntax = \"proto3\"; import \"gone.proto\";");
    workspace.write("schemas/out.proto", "syntax = \"proto3\"; import \"../../secret.proto\";");
    workspace.write("schemas/broken.avsc", r#"{"type":"record","name":"A"}"#);
    let source = format!("kind: kafka\nbrokers: [127.0.0.1:9]\ntopics: [orders]\n{text}");
    workspace.write("sources/orders.yaml", &source);
    workspace.write("syncs/orders.yaml", "source: orders\ndestination: warehouse\nschema: orders\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn schemas_of_files_and_of_registries_are_taken() {
    for text in [
        "schemas: {file: schemas/order.avsc}\n",
        "schemas: {file: schemas/order.avsc}\nformat: avro\n",
        "schemas: {file: schemas/shop/order.proto, message: shop.Order}\nformat: protobuf\n",
        "schema_registry: {url: http://127.0.0.1:9}\n",
        "schema_registry: {url: https://registry.example.com/apis/ccompat/v7, user: a, password: b}\nformat: avro\n",
        "schema_registry: {url: https://registry.example.com, token: t}\nformat: json\n",
    ] {
        let (code, answer) = checked(text);
        assert_eq!(code, Some(0), "{text} {answer:#}");
    }
}

#[test]
fn what_is_wrong_with_schemas_is_told_with_its_line() {
    for (text, line, words, fix) in [
        ("format: avro\n", 4, "nothing says by which schema", "schema_registry"),
        ("schema_registry: {url: http://a}\nformat: text\n", 4, "name no schema", "take"),
        ("schema_registry: {user: a}\n", 4, "`schema_registry.url` is missing", "add"),
        (
            "schema_registry: {url: \"http://me:s3cr3t@a\"}\n",
            4,
            "no address of a schema registry",
            "`user` and `password`",
        ),
        ("schema_registry: {url: http://a, user: b}\n", 4, "`user` without `password`", "add `password`"),
        (
            "schema_registry: {url: http://a, user: b, password: c, token: d}\n",
            4,
            "a token, and a user",
            "keep `token`",
        ),
        ("schema_registry: {url: http://a}\nschemas: {file: schemas/order.avsc}\n", 5, "both say", "take one"),
        ("schemas: {file: schemas/gone.avsc}\n", 4, "cannot be read", "put the file there"),
        ("schemas: {file: schemas/broken.avsc}\n", 4, "no `fields`", ".avsc"),
        ("schemas: {file: schemas/order.avsc, message: Order}\n", 4, "no `message`", "take `message` away"),
        ("schemas: {file: schemas/order.avsc}\nformat: protobuf\n", 4, "schema of Avro", "take `format` away"),
        ("schemas: {file: schemas/shop/order.proto}\n", 4, "`schemas.message` is missing", "shop.Order"),
        ("schemas: {file: schemas/shop/order.proto, message: shop.Nobody}\n", 4, "no message", "name an .avsc"),
        ("schemas: {file: schemas/alone.proto, message: A}\n", 4, "gone.proto", "name an .avsc"),
        ("schemas: {file: schemas/out.proto, message: A}\n", 4, "a name of an import has", "name an .avsc"),
    ] {
        let (code, answer) = checked(text);
        assert_eq!(code, Some(3), "{text} {answer:#}");
        let problems = answer["problems"].as_array().unwrap();
        let is_told = |problem: &Value| {
            let said = |field: &str| problem[field].as_str().unwrap();
            said("file").ends_with("sources/orders.yaml")
                && problem["line"] == line
                && said("message").contains(words)
                && said("fix").contains(fix)
        };
        assert!(problems.iter().any(is_told), "{text} {answer:#}");
        assert!(!answer.to_string().contains("s3cr3t"), "{answer:#}");
    }
}

/// What is said of a destination.
fn checked_destination(kind: &str, text: &str) -> (Option<i32>, Value) {
    let workspace = Workspace::new();
    workspace.write("schemas/out.avsc", ORDER);
    workspace.write("schemas/order.proto", MONEY);
    let place = match kind {
        "kafka" => "brokers: [127.0.0.1:9]",
        "pubsub" => "project: p\ntopic: events\nendpoint: 127.0.0.1:9",
        _ => "path: DATA/files",
    };
    workspace.write("destinations/out.yaml", &format!("kind: {kind}\n{place}\n{text}"));
    workspace.write("syncs/out.yaml", "source: web\ndestination: out\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_destination_takes_a_schema_of_avro_and_says_what_it_cannot_take() {
    const SCHEMA: &str = "schema: {file: schemas/out.avsc}\n";
    const REGISTRY: &str = "schema_registry: {url: http://127.0.0.1:9, subject: out, register: false}\n";
    for (kind, text) in [
        ("kafka", format!("format: avro\n{SCHEMA}")),
        ("kafka", format!("format: avro\n{SCHEMA}{REGISTRY}")),
        ("pubsub", format!("format: avro\n{SCHEMA}")),
        ("s3", "format: json\n".to_owned()),
    ] {
        let (code, answer) = checked_destination(kind, &text);
        assert_eq!(code, Some(0), "{kind} {text} {answer:#}");
    }
    for (kind, text, words) in [
        ("kafka", "format: avro\n".to_owned(), "nothing says by which schema"),
        ("kafka", SCHEMA.to_owned(), "schema"),
        ("kafka", "format: avro\nschema: {file: schemas/gone.avsc}\n".to_owned(), "cannot be read"),
        ("kafka", "format: avro\nschema: {file: schemas/order.proto}\n".to_owned(), "cannot be used"),
        ("kafka", format!("format: avro\n{SCHEMA}schema_registry: {{user: a}}\n"), "`schema_registry.url` is missing"),
        ("kafka", "format: protobuf\n".to_owned(), "protobuf"),
        ("pubsub", format!("format: avro\n{SCHEMA}{REGISTRY}"), "name no schema of a registry"),
        ("s3", format!("format: avro\n{SCHEMA}"), "avro"),
    ] {
        let (code, answer) = checked_destination(kind, &text);
        assert_eq!(code, Some(3), "{kind} {text} {answer:#}");
        let problems = answer["problems"].as_array().unwrap();
        let is_told = |problem: &Value| {
            let message = problem["message"].as_str().unwrap();
            problem["file"].as_str().unwrap().ends_with("destinations/out.yaml") && message.contains(words)
        };
        assert!(problems.iter().any(is_told), "{kind} {text} {answer:#}");
    }
}
