//! Which files become which domains, and which become problems.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Domain;

fn files(list: &[(&str, Value)]) -> BTreeMap<String, Value> {
    list.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect()
}

fn layout_problems(list: &[(&str, Value)]) -> Vec<String> {
    let problems = Domain::from_files(&files(list), "web").unwrap_err();
    problems.into_iter().map(|problem| format!("{}: {}", problem.origin, problem.problem)).collect()
}

#[test]
fn layout_problems_are_loud() {
    let meta = json!({"name": "Shop"});
    let event = json!({"type": "track", "name": "A", "schema": {}});
    assert_eq!(layout_problems(&[("README.md", json!(""))]), ["contracts: There are no contract files here."]);
    assert_eq!(
        layout_problems(&[("contracts/a.yaml", meta.clone()), ("domains/b/domain.yaml", meta.clone())]),
        ["domains/b/domain.yaml: It is laid out unlike contracts/a.yaml."]
    );
    assert_eq!(
        layout_problems(&[
            ("domains/a/Domain.yaml", meta.clone()),
            ("domains/a/b/c/d.yaml", event.clone()),
            ("domains/a/domain.yaml", json!({"name": "", "owner": "x", "sources": null, "onUndeclaredSchema": "OMIT"})),
            ("domains/a/e.yml", event.clone()),
            ("domains/a/f.yaml", json!([])),
            ("domains/a/g.yaml", json!({"type": "trick", "version": 2, "includeBuiltInContext": "yes"})),
            ("domains/b/h.yaml", event),
        ]),
        [
            "domains/a/Domain.yaml: The name \"domain\" is reserved for the domain's own file.",
            "domains/a/b/c/d.yaml: It lies where no event and no component is looked for.",
            "domains/a/domain.yaml: The key `owner` is unknown here.",
            "domains/a/domain.yaml: `onUndeclaredSchema` is no policy.",
            "domains/a/domain.yaml: `sources` is not a list of names.",
            "domains/a/domain.yaml: `name` is empty.",
            "domains/a/e.yml: Its name does not end in .yaml.",
            "domains/a/f.yaml: It is not a mapping.",
            "domains/a/g.yaml: `version` is not text.",
            "domains/a/g.yaml: `includeBuiltInContext` is neither true nor false.",
            "domains/a/g.yaml: `schema` is missing.",
            "domains/a/g.yaml: `type` is no kind of event.",
            "domains/b/h.yaml: It belongs to \"b\", which has no file of its own.",
        ]
    );
}

#[test]
fn layout_chooses_domains_and_components_by_source() {
    let meta = |sources: Value| json!({"name": "D", "sources": sources});
    let component = |sources: Value| json!({"name": "C", "schema": {}, "sources": sources});
    let list = files(&[
        ("contracts/unrelated.yaml", json!("ignored, because events/ holds the contracts")),
        ("events/domains/all/domain.yaml", json!({"name": "All", "description": "every source"})),
        ("events/domains/all/components/everywhere.yaml", component(json!([]))),
        ("events/domains/all/components/ios.yaml", component(json!(["ios"]))),
        ("events/domains/all/components/web.yaml", component(json!(["web"]))),
        ("events/domains/ios/domain.yaml", meta(json!(["ios"]))),
        ("events/domains/none/domain.yaml", meta(json!([]))),
        ("events/domains/web/domain.yaml", meta(json!(["ios", "web"]))),
    ]);
    let domains = Domain::from_files(&list, "web").unwrap();
    let names: Vec<_> = domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["All", "D"]);
    assert_eq!(domains[0].components.keys().collect::<Vec<_>>(), ["everywhere", "web"]);
    assert_eq!(Domain::from_files(&files(&[("domains/a/domain.yaml", meta(json!([])))]), "web"), Ok(Vec::new()));
}
