//! The matrix of rights, exhaustive, held against a committed file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_catalog::*;

use crate::rig::{PRODUCTION, SeededEntropy, content, labels};

const GOLDEN: &str = include_str!("cases/rights.txt");

/// Roles of `production`, by name: prebuilt ones and custom ones.
fn custom_roles() -> Vec<(&'static str, Value)> {
    let grant = |level: &str, on: Value| json!({ "level": level, "on": on });
    vec![
        ("none", json!({})),
        ("creates sources", json!({ "create": ["source"] })),
        ("creates contracts", json!({ "create": ["contract"] })),
        ("views sources", json!({ "access": [grant("view", json!({ "kind": "source" }))] })),
        ("connects sources", json!({ "access": [grant("connect", json!({ "kind": "source" }))] })),
        (
            "connects sources and destinations",
            json!({ "access": [grant("connect", json!({ "kind": "source" })), grant("connect", json!({ "kind": "destination" }))] }),
        ),
        ("connects everything", json!({ "access": [grant("connect", json!({}))] })),
        ("manages team web", json!({ "access": [grant("manage", json!({ "label": "team=web" }))] })),
        (
            "manages sources of team web",
            json!({ "access": [grant("manage", json!({ "kind": "source", "label": "team=web" }))] }),
        ),
        ("manages everything", json!({ "access": [grant("manage", json!({}))] })),
        ("views and reveals", json!({ "access": [grant("view", json!({}))], "reveal": [{}] })),
        ("views and sees payloads", json!({ "access": [grant("view", json!({}))], "see_payloads": [{}] })),
        ("reveals and sees payloads only", json!({ "reveal": [{}], "see_payloads": [{}] })),
    ]
}

struct World {
    objects: Vec<CatalogObject>,
    entropy: std::sync::Arc<SeededEntropy>,
}

impl World {
    fn add(&mut self, workspace: &str, content: ObjectContent) -> ObjectId {
        let id = ObjectId::new(content.kind, self.entropy.as_ref());
        self.objects.push(CatalogObject {
            id: id.clone(),
            workspace: workspace.to_owned(),
            content,
            created_at_us: 0,
            updated_at_us: 0,
            revision: 1,
            managed_by: ManagedBy::Nobody,
            is_paused: false,
        });
        id
    }

    fn person(&mut self, name: &str, roles: &BTreeMap<&str, &str>) -> ObjectId {
        let user = self.add(SERVER_WORKSPACE, content(ObjectKind::User, name, json!({})));
        let group = json!({ "members": [user], "roles": roles });
        self.add(SERVER_WORKSPACE, content(ObjectKind::Group, name, group));
        user
    }
}

fn token_spec(maker: &ObjectId, grants: &Value) -> Value {
    json!({ "form": "person", "maker": maker, "grants": grants, "last4": "abcd", "expires_at_us": 100 })
}

/// Every principal of the matrix, with the ids that own what is its own.
fn principals(world: &mut World) -> Vec<(String, ObjectId)> {
    let mut found = Vec::new();
    for role in PREBUILT_ROLES {
        found.push((role.to_owned(), world.person(role, &BTreeMap::from([(PRODUCTION, role)]))));
    }
    for (name, spec) in custom_roles() {
        world.add(PRODUCTION, content(ObjectKind::Role, name, spec));
        found.push((name.to_owned(), world.person(name, &BTreeMap::from([(PRODUCTION, name)]))));
    }
    found.push((
        "nobody's group".to_owned(),
        world.add(SERVER_WORKSPACE, content(ObjectKind::User, "alone", json!({}))),
    ));
    found.push(("admin of staging".to_owned(), world.person("staging", &BTreeMap::from([("staging", "admin")]))));
    found.push((
        "admin of the server".to_owned(),
        world.person("server", &BTreeMap::from([(SERVER_WORKSPACE, "admin")])),
    ));
    found.push(("admin everywhere".to_owned(), world.person("everywhere", &BTreeMap::from([("*", "admin")]))));
    let view = json!({ "access": [{ "level": "view", "on": {} }] });
    let manage = json!({ "access": [{ "level": "manage", "on": {} }], "reveal": [{}] });
    for (name, maker, grants) in [
        ("token of editor, all of it", "editor", Value::Null),
        ("token of editor, views", "editor", view),
        ("token of viewer, manages and reveals", "viewer", manage.clone()),
        ("token of admin, manages and reveals", "admin", manage),
        ("token of admin everywhere, all of it", "admin everywhere", Value::Null),
    ] {
        let maker = found.iter().find(|(name, _)| name == maker).unwrap().1.clone();
        found.push((
            name.to_owned(),
            world.add(PRODUCTION, content(ObjectKind::Token, name, token_spec(&maker, &grants))),
        ));
    }
    found
}

/// An object of each kind, of team web and of team finance, and one that the principal owns.
fn targets(world: &mut World, owner: &ObjectId) -> Vec<CatalogObject> {
    let mut found = Vec::new();
    for (which, team, owner) in [("web", "web", None), ("finance", "finance", None), ("own", "finance", Some(owner))] {
        for kind in ObjectKind::all() {
            let spec = match kind {
                ObjectKind::Sync => json!({ "source": which, "destination": which }),
                ObjectKind::WriteKey => json!({ "source": which, "last4": "abcd" }),
                ObjectKind::Token => token_spec(&ObjectId::new(ObjectKind::User, world.entropy.as_ref()), &Value::Null),
                _ => json!({}),
            };
            let workspace = if kind.is_of_server() { SERVER_WORKSPACE } else { PRODUCTION };
            let content = ObjectContent {
                labels: labels(&[("team", team)]),
                owner: owner.cloned(),
                ..content(kind, which, spec)
            };
            let id = world.add(workspace, content);
            found.push(world.objects.iter().find(|object| object.id == id).unwrap().clone());
        }
    }
    found
}

fn letter(answer: &Result<(), Denial>) -> char {
    match answer {
        Ok(()) => 'y',
        Err(denial) if denial.may_propose => 'd',
        Err(denial) if denial.is_hidden => '4',
        Err(_) => '-',
    }
}

fn matrix() -> String {
    let mut text = String::from(
        "# Who may do what. y: yes; d: only as a draft (403); -: no (403); 4: no, and the object is not seen (404).\n\
         # Objects: of team web; of team finance; of team finance and made by the principal itself.\n",
    );
    let mut world = World { objects: Vec::new(), entropy: SeededEntropy::new(1) };
    let people = principals(&mut world);
    let directory = Directory::of(&world.objects);
    let verbs: Vec<Verb> = Verb::all().collect();
    let names: Vec<&str> = verbs.iter().map(|verb| verb.name()).collect();
    writeln!(text, "# Columns: {}", names.join(" ")).unwrap();
    for (name, id) in &people {
        let mut own = World { objects: Vec::new(), entropy: SeededEntropy::new(2) };
        let targets = targets(&mut own, id);
        let named = |kind, name: &str| targets.iter().find(|object| object.key() == (kind, name));
        let principal = directory.principal(id, 0).unwrap();
        writeln!(text, "\n{name}").unwrap();
        for object in &targets {
            let target = RightsTarget::of(object, named);
            let letters: String =
                verbs.iter().map(|verb| letter(&authorise(&principal, (*verb).into(), &target))).collect();
            writeln!(text, "  {:<12} {:<8} {letters}", object.content.kind.name(), object.content.name).unwrap();
        }
    }
    text
}

#[test]
fn the_matrix_of_rights_is_the_committed_one() {
    let found = matrix();
    if found != GOLDEN {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("rights.txt");
        std::fs::write(&path, &found).unwrap();
        let differs: Vec<String> = found
            .lines()
            .zip(GOLDEN.lines())
            .filter(|(found, golden)| found != golden)
            .take(20)
            .map(|(found, golden)| format!("- {golden}\n+ {found}"))
            .collect();
        panic!("rights differ from cases/rights.txt; what they are is in {}\n{}", path.display(), differs.join("\n"));
    }
}

#[test]
fn nobody_may_what_has_no_name_and_a_token_never_more_than_its_maker() {
    let mut world = World { objects: Vec::new(), entropy: SeededEntropy::new(1) };
    let people = principals(&mut world);
    let directory = Directory::of(&world.objects);
    let mut asked = 0;
    for (name, id) in &people {
        let principal = directory.principal(id, 0).unwrap();
        let mut own = World { objects: Vec::new(), entropy: SeededEntropy::new(2) };
        let targets = targets(&mut own, id);
        let named = |kind, name: &str| targets.iter().find(|object| object.key() == (kind, name));
        for object in &targets {
            let target = RightsTarget::of(object, named);
            let unknown = authorise(&principal, Verb::named("take over the world").into(), &target).unwrap_err();
            assert_eq!(unknown.missing, MissingGrant::NoSuchVerb, "{name}");
            if principal.is_token() {
                let maker = directory.principal(&principal.person, 0).unwrap();
                for verb in Verb::all() {
                    let token_may = authorise(&principal, verb.into(), &target).is_ok();
                    assert!(
                        !token_may || authorise(&maker, verb.into(), &target).is_ok(),
                        "{name} {verb:?} {object:?}"
                    );
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 2_000, "{asked}");
    let token = &people.iter().find(|(name, _)| name.starts_with("token of editor, all")).unwrap().1;
    assert_eq!(directory.principal(token, 100), Err(PrincipalProblem::Expired(token.clone())));
}

#[test]
fn a_sync_is_seen_from_either_end_and_is_nobodys_that_names_no_end() {
    let mut world = World { objects: Vec::new(), entropy: SeededEntropy::new(3) };
    let people = principals(&mut world);
    let directory = Directory::of(&world.objects);
    let principal =
        |name: &str| directory.principal(&people.iter().find(|(known, _)| known == name).unwrap().1, 0).unwrap();
    let none = |_: ObjectKind, _: &str| None;
    let sync = |spec| RightsTarget::of_new(PRODUCTION, &content(ObjectKind::Sync, "s", spec), none);
    let both = sync(json!({ "source": "a", "destination": "b" }));
    let functions =
        sync(json!({ "source": "a", "destination": "b", "functions": ["f"], "lookups": [{ "name": "l" }] }));
    let half = sync(json!({ "source": "a" }));
    let may = |name: &str, verb: Verb, target: &RightsTarget| authorise(&principal(name), verb.into(), target).is_ok();
    assert!(may("views sources", Verb::View, &both) && !may("views sources", Verb::Create, &both));
    assert!(may("connects sources and destinations", Verb::Create, &both));
    assert!(!may("connects sources and destinations", Verb::Create, &functions));
    assert!(may("connects everything", Verb::Create, &functions));
    assert!(!may("connects everything", Verb::Create, &half) && may("admin", Verb::Create, &half));
}
