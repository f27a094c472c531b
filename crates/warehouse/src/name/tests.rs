use proptest::prelude::*;

use super::*;

fn column(keys: &[&str]) -> String {
    let mut path = Path::root("properties", "");
    for key in keys {
        path = path.child(key);
    }
    path.column(|name| name == "id" || name.starts_with("context_")).0
}

#[test]
fn the_rule_by_example() {
    for (keys, expected) in [
        (&["orderID"][..], "order_id"),
        (&["order_id"], "order_id"),
        (&["Order  Id!"], "order_id"),
        (&["HTTPServer"], "http_server"),
        (&["SHA256Hash"], "sha256_hash"),
        (&["address", "zipCode"], "address_zip_code"),
        (&["_id"], "_id"),
        (&["id"], "_id"),
        (&["__proto__"], "_proto"),
        (&["2fa"], "_2fa"),
        (&["select"], "_select"),
        (&["Prénom"], "prénom"),
        (&["ÖLPREIS"], "ölpreis"),
        (&["مرحبا"], "مرحبا"),
        (&["context_ip"], "_context_ip"),
        (&["\"; DROP TABLE tracks; --"], "_drop_table_tracks"),
    ] {
        assert_eq!(column(keys), expected, "{keys:?}");
    }
}

#[test]
fn what_cannot_be_spelled_is_told_apart_by_the_hash_of_its_pointer() {
    // printf %s '/properties/🎉' | sha256sum
    let party = hex_of("/properties/🎉");
    assert_eq!(column(&["🎉"]), format!("_{party}"));
    assert_eq!(column(&["a🎉b"]), format!("ab_{}", hex_of("/properties/a🎉b")));
    assert_eq!(column(&[""]), format!("_{}", hex_of("/properties/")));
    assert_eq!(column(&["a\0"]), format!("a_{}", hex_of("/properties/a\0")));
    assert_eq!(column(&["$/~"]), format!("_{}", hex_of("/properties/$~1~0")));
    assert_ne!(column(&["🎉"]), column(&["🎈"]));
}

fn hex_of(pointer: &str) -> String {
    Sha256::digest(pointer).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn long_names_are_cut_and_told_apart() {
    let (a, b) = ("x".repeat(70) + "a", "x".repeat(70) + "b");
    assert_eq!(column(&[&a]).len(), 63);
    assert_ne!(column(&[&a]), column(&[&b]));
    assert_eq!(column(&[&"y".repeat(63)]), "y".repeat(63));
    assert!(column(&[&"é".repeat(500_000)]).len() <= 63);
    let mut deep = Path::root("properties", "");
    for _ in 0..1000 {
        deep = deep.child(&a);
    }
    assert!(deep.text.len() < 80);
}

#[test]
fn tables_give_way_to_the_fixed_ones() {
    let fixed = ["tracks", "pages"];
    for (event, expected) in [
        ("Order Completed", "order_completed"),
        ("Tracks", "_tracks"),
        ("order", "_order"),
        ("sqlite_master", "_sqlite_master"),
        ("_overflow", "__overflow"),
        ("_tidegate_ledger", "__tidegate_ledger"),
    ] {
        assert_eq!(table(event, &fixed), expected);
    }
}

#[test]
fn only_a_name_spelled_like_its_path_is_exact() {
    let exact = |key: &str| Path::root("properties", "").child(key).column(|name| name == "id").1;
    assert!(exact("order_id") && exact("_id") && exact("é"));
    assert!(!exact("orderId") && !exact("id") && !exact("a__b") && !exact("a_") && !exact("select"));
    let nested = |a: &str, b: &str| Path::root("", "").child(a).child(b).column(|_| false).1;
    assert!(nested("a", "b") && !nested("a_", "b") && !nested("a", "_b"));
}

proptest! {
    #[test]
    fn every_name_can_be_a_name_and_stays_the_same_when_named_again(keys in proptest::collection::vec(any::<String>(), 1..4)) {
        let keys = keys.iter().map(String::as_str).collect::<Vec<_>>();
        let name = column(&keys);
        prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
        prop_assert!(!name.starts_with(|c: char| c.is_numeric()));
        prop_assert!(name.chars().all(|c| c == '_' || c.is_alphanumeric()), "{name}");
        prop_assert!(!is_reserved(&name) && name != "id" && !name.starts_with("context_"));
        prop_assert_eq!(column(&[&name]), name);
    }
}
