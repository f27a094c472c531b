use serde_json::{Value, json};

use super::*;
use crate::yaml;

/// What `read` notes in a document, and what it makes of it.
fn noted<T>(node: &DocumentNode, read: impl FnOnce(&mut Fields<'_>) -> T) -> (T, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut fields = Fields::new(Path::new("shop.yaml"), node, &mut problems);
    let made = read(&mut fields);
    fields.finish();
    (made, problems)
}

const WRONG: &str = "\
listen: nowhere
colour: red
limits:
  events_max: 0
  bytes_max: lots
  age_max: soon
  rate: 0.0001
  pause: yes
order: usr
names: [a, 5]
pairs: {a: 1}
inner: 7
";

fn read(fields: &mut Fields<'_>) {
    fields.required("name", "shop");
    fields.parsed::<std::net::IpAddr>("listen", "an address");
    fields.within("limits", |f| {
        f.number::<u64>("events_max", 1);
        f.bytes::<u64>("bytes_max");
        f.duration("age_max");
        f.rate("rate");
        f.flag("pause");
    });
    fields.word("order", &[("none", 0), ("user", 1)]);
    fields.texts("names");
    fields.pairs("pairs");
    fields.within("inner", |_| ());
}

#[test]
fn every_problem_has_place_line_and_fix() {
    let (_, problems) = noted(&yaml::parse(WRONG).unwrap(), read);
    let found: Vec<_> = problems.iter().map(|it| (it.line, it.place.as_str(), it.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (1, "listen", "`listen` is \"nowhere\", not an address"),
            (
                4,
                "limits.events_max",
                "`limits.events_max` is a whole number, and must be a whole number from 1 to 1000000000"
            ),
            (5, "limits.bytes_max", "`limits.bytes_max` is text, and must be a size such as 64 MiB, up to 1 PiB"),
            (
                6,
                "limits.age_max",
                "`limits.age_max` is text, and must be a time such as 500 ms, 30 s, 24 h or 7 d, up to 36525 d"
            ),
            (7, "limits.rate", "`limits.rate` is a number, and must be a number from 0.001 to 1000000"),
            (8, "limits.pause", "`limits.pause` is text, not true or false"),
            (9, "order", "`order` is \"usr\""),
            (10, "names", "`names` is a whole number, and must be a list of texts"),
            (11, "pairs", "`pairs` is a whole number, and must be a map of text to text"),
            (12, "inner", "`inner` is a whole number, and must be a map"),
            (1, "name", "`name` is missing"),
            (2, "colour", "`colour` is not known here"),
        ]
    );
    assert_eq!(problems[6].fix, "write `order: none` or `order: user`");
    assert_eq!(problems[1].fix, "write `events_max: <whole number from 1 to 1000000000>`");
    assert!(problems.iter().all(|problem| !problem.fix.is_empty() && problem.file == Path::new("shop.yaml")));
}

#[test]
fn json_has_the_same_problems_without_lines() {
    let yaml = yaml::parse(WRONG).unwrap();
    let json = DocumentNode::from_json(&yaml.to_json());
    let without_lines = |problems: Vec<Problem>| {
        let mut problems: Vec<Problem> = problems.into_iter().map(|problem| Problem { line: 0, ..problem }).collect();
        problems.sort();
        problems
    };
    let (of_yaml, of_json) = (noted(&yaml, read).1, noted(&json, read).1);
    assert!(of_json.iter().all(|problem| problem.line == 0));
    assert_eq!(without_lines(of_json), without_lines(of_yaml));
}

#[test]
fn a_value_that_is_a_map_has_the_line_of_its_name() {
    let node = yaml::parse("a:\n  - 1\nb:\n  c: 1\n").unwrap();
    let (_, problems) = noted(&node, |fields| {
        fields.text("a");
        fields.within("b", |b| b.required("d", "x"));
    });
    assert_eq!(problems.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 3, 4]);
}

#[test]
fn a_field_is_missing_or_misspelled_and_not_both() {
    let of = |name: &str| {
        let node = DocumentNode::from_json(&json!({name: "web"}));
        noted(&node, |fields| fields.required("source", "web")).1
    };
    let fixes = |name: &str| of(name).into_iter().map(|problem| problem.fix).collect::<Vec<_>>();
    assert_eq!(fixes("soruce"), ["did you mean `source`?"]);
    assert_eq!(fixes("colour"), ["add `source: web`", "take it away; known here: source"]);
    let (_, problems) = noted(&DocumentNode::from_json(&json!([])), |fields| fields.required("source", "web"));
    assert_eq!(problems.len(), 1, "what is no map misses nothing: {problems:?}");
}

#[test]
fn what_is_said_of_a_hostile_document_is_bounded() {
    let long = "x".repeat(1 << 20);
    let mut map: serde_json::Map<String, Value> = (0..60_000).map(|n| (format!("{n}{long:.9}"), n.into())).collect();
    map.insert(long.clone(), 1.into());
    map.insert("word".to_owned(), long.clone().into());
    map.insert("items".to_owned(), (0..60_000).collect());
    let (_, problems) = noted(&DocumentNode::from_json(&map.into()), |fields| {
        fields.word("word", &[("a", 1)]);
        fields.texts("items");
        fields.required("needed", "x");
    });
    let said = |words: &str| problems.iter().filter(|it| it.message.contains(words)).count();
    assert_eq!((said("is not known here"), said("59981 more fields from here on")), (UNKNOWN_MAX, 1));
    assert_eq!((said("`items` is a whole number"), said("59801 more problems")), (PROBLEMS_MAX - 1, 1));
    assert_eq!((said("`needed` is missing"), problems.len()), (1, UNKNOWN_MAX + PROBLEMS_MAX + 3));
    let longest = problems.iter().map(|problem| problem.to_string().len() + problem.place.len()).max();
    assert!(longest < Some(1_000), "{longest:?}");
}

#[test]
fn a_variable_is_read_for_those_who_hand_in_how() {
    let node = DocumentNode::from_json(&json!({"a": "${SET}", "b": "${UNSET}", "c": {"d": ["${SET}", "$SET"]}}));
    fn variables(name: &str) -> Option<String> {
        (name == "SET").then(|| "read".to_owned())
    }
    let read = |fields: &mut Fields<'_>| (fields.text("a"), fields.text("b"), fields.settings("c"));
    let (made, problems) = noted(&node, read);
    let (a, b) = (Some("${SET}".to_owned()), Some("${UNSET}".to_owned()));
    assert_eq!((made.0, made.1, Value::Object(made.2)), (a, b, json!({"d": ["${SET}", "$SET"]})));
    assert_eq!(problems, []);
    let mut problems = Vec::new();
    let mut fields = Fields::new(Path::new("shop.yaml"), &node, &mut problems).with_variables(&variables);
    let made = read(&mut fields);
    fields.finish();
    assert_eq!(
        (made.0.as_deref(), made.1, Value::Object(made.2)),
        (Some("read"), None, json!({"d": ["read", "$SET"]}))
    );
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "`b` asks for the environment variable UNSET, which is not set");
}

#[test]
fn a_variable_that_is_withheld_is_not_read_and_that_is_said() {
    let node = DocumentNode::from_json(&json!({"a": "${SET}", "b": {"c": "${KEY}"}, "d": {"e": "${KEY}"}}));
    fn variables(_: &str) -> Option<String> {
        Some("read".to_owned())
    }
    fn is_withheld(name: &str) -> bool {
        name == "KEY"
    }
    let mut problems = Vec::new();
    let fields = Fields::new(Path::new("shop.yaml"), &node, &mut problems);
    let mut fields = fields.with_variables(&variables).with_withheld(&is_withheld);
    let made = (fields.text("a"), fields.settings("b"), fields.within("d", |f| f.text("e")));
    fields.finish();
    assert_eq!((made.0.as_deref(), Value::Object(made.1), made.2), (Some("read"), json!({"c": ""}), Some(None)));
    assert_eq!(problems.len(), 2);
    for (problem, place) in problems.iter().zip(["b.c", "d.e"]) {
        assert!(problem.message.starts_with(&format!("`{place}` asks for a variable")), "{problem}");
        assert!(problem.fix.contains("list KEY below `catalog_variables`"), "{problem}");
    }
}

#[test]
fn a_secret_is_read_for_those_who_hand_in_how_and_one_that_nobody_can_tell_is_no_problem() {
    let node = DocumentNode::from_json(&json!({"a": "secret:one", "b": "secret:two", "c": {"d": "secret:three"}}));
    fn secrets(name: &str) -> SecretText {
        match name {
            "one" => SecretText::Known("hunter2".to_owned()),
            "two" => SecretText::Absent,
            _ => SecretText::NotAtHand,
        }
    }
    let mut problems = Vec::new();
    let mut fields = Fields::new(Path::new("shop.yaml"), &node, &mut problems).with_secrets(&secrets);
    let made = (fields.required("a", "x"), fields.text("b"), fields.settings("c"));
    fields.finish();
    assert_eq!(
        (made.0.as_deref(), made.1, Value::Object(made.2)),
        (Some("hunter2"), None, json!({"d": "secret:three"}))
    );
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "`b` asks for the secret \"two\", which is not there");
}

#[test]
fn json_has_its_secrets_beside_what_is_written_and_variables_stay_texts() {
    let node = yaml::parse("map:\n  a: secret:one\n  b:\n    - secret:two\n    - ${HOME}\n  n: 1.50\n").unwrap();
    fn secrets(name: &str) -> SecretText {
        if name == "one" { SecretText::Known("hunter2".to_owned()) } else { SecretText::Absent }
    }
    let mut problems = Vec::new();
    let mut fields = Fields::new(Path::new("shop.yaml"), &node, &mut problems).with_secrets(&secrets);
    let read = fields.revealed_json("map").unwrap();
    fields.finish();
    let rest = json!(["secret:two", "${HOME}"]);
    assert_eq!((&read.given()["a"], &read.given()["b"]), (&json!("hunter2"), &rest));
    assert_eq!((&read.written()["a"], &read.written()["b"]), (&json!("secret:one"), &rest));
    assert_eq!((read.hidden(), read.given()["n"].to_string()), (&["hunter2".to_owned()][..], "1.50".to_owned()));
    assert_eq!((problems.len(), problems[0].line), (1, 4));
    assert_eq!(problems[0].message, "`map.b` asks for the secret \"two\", which is not there");
}

#[test]
fn a_whole_number_is_text_as_it_is_written() {
    let node = yaml::parse("a: 0123456789012345\nb: 7\nc: 1.5\nd: 0x1F\n").unwrap();
    let (made, problems) =
        noted(&node, |fields| (fields.text("a"), fields.text("b"), fields.text("c"), fields.number("d", 0)));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(made, (text("0123456789012345"), text("7"), None, Some(31_i64)));
    assert_eq!(problems.len(), 1);
}

#[test]
fn maps_under_names_of_the_author_are_read_in_their_short_form_too() {
    let text = "\
keys:
  a: alone
  b: {key: long, age: 5 s}
  c: 007
  d: [x]
  e:
  f: {kye: x}
  g: {age: 5 s, key: 1.5}
";
    let read =
        |f: &mut Fields<'_>| f.each("keys", "key", |name, f| (name.to_owned(), f.text("key"), f.duration("age")));
    let (found, problems) = noted(&yaml::parse(text).unwrap(), read);
    let age = Some(std::time::Duration::from_secs(5));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            ("a".to_owned(), some("alone"), None),
            ("b".to_owned(), some("long"), age),
            ("c".to_owned(), some("007"), None),
            ("f".to_owned(), None, None),
            ("g".to_owned(), None, age),
        ]
    );
    let told: Vec<_> = problems.iter().map(|it| (it.line, it.place.as_str(), it.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (5, "keys.d", "`keys.d` is a list, and must be text, or a map with `key`"),
            (6, "keys.e", "`keys.e` is nothing, and must be text, or a map with `key`"),
            (7, "keys.f.kye", "`keys.f.kye` is not known here"),
            (8, "keys.g.key", "`keys.g.key` is a number, and must be text"),
        ]
    );
    let (found, problems) = noted(&yaml::parse("keys: x\n").unwrap(), read);
    assert!(found.is_empty());
    assert_eq!(problems[0].message, "`keys` is text, and must be a map of names");
}
