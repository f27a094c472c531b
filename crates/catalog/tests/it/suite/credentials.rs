//! Tokens, write keys, sessions, passwords.

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{PRODUCTION, SECOND_US};

const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;

fn new_token(test: &CatalogTest, maker: &ObjectId, grants: Option<serde_json::Value>) -> NewToken {
    NewToken {
        workspace: PRODUCTION.into(),
        name: format!("token {}", test.tick()),
        form: TokenForm::Service,
        grants: grants.map(|grants| serde_json::from_value(grants).unwrap()),
        life_us: None,
        maker: maker.clone(),
        actor: Actor::default(),
        at_us: test.tick(),
    }
}

fn problem<T: std::fmt::Debug>(answer: Result<T, CatalogError>) -> CredentialProblem {
    match answer {
        Err(CatalogError::Credential(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// That `value` is nowhere in the store, neither as text nor as bytes.
fn nowhere(test: &CatalogTest, value: &str) {
    for table in ["head", "version", "audit", "secret", "credential", "password", "session", "draft", "idempotency"] {
        for row in test.rows(&format!("SELECT * FROM {table}")) {
            for cell in row.0 {
                let found = match &cell {
                    StoreCell::Text(text) => text.contains(value),
                    StoreCell::Bytes(bytes) => bytes.windows(value.len()).any(|window| window == value.as_bytes()),
                    _ => false,
                };
                assert!(!found, "{table}: {cell:?}");
            }
        }
    }
}

pub fn a_token_never_does_more_than_its_maker_may_now(test: &CatalogTest) {
    let editor = test.person("ed", &[(PRODUCTION, "editor"), ("staging", "editor")]);
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 1 }));
    let all = test.wait(test.catalog.create_token(&new_token(test, &editor, None))).unwrap().id;
    let manage = json!({ "access": [{ "level": "manage", "on": { "kind": "source" } }] });
    let narrow = test.wait(test.catalog.create_token(&new_token(test, &editor, Some(manage)))).unwrap().id;
    let admin = json!({ "access": [{ "level": "manage", "on": {} }] });
    for too_much in [admin, json!({ "reveal": [{}] }), json!({ "see_payloads": [{ "kind": "source" }] })] {
        let refused = test.wait(test.catalog.create_token(&new_token(test, &editor, Some(too_much))));
        assert!(
            matches!(&refused, Err(CatalogError::Denied(denial)) if matches!(denial.missing, MissingGrant::Give { .. })),
            "{refused:?}"
        );
    }
    let update = |n: i64| vec![test.respecified(&id, json!({ "n": n }))];
    test.commit_by(&all, PRODUCTION, update(2)).unwrap();
    test.commit_by(&narrow, PRODUCTION, update(3)).unwrap();
    let create = |kind, name: &str| vec![test.create(kind, name, json!({}))];
    let denied = test.commit_by(&narrow, PRODUCTION, create(ObjectKind::Source, "app"));
    assert!(matches!(&denied, Err(CatalogError::Denied(denial)) if denial.is_of_token), "{denied:?}");
    // What a token makes is its own, and its maker's.
    let made = test.commit_by(&all, PRODUCTION, create(ObjectKind::Function, "f")).unwrap().objects[0].id.clone();
    assert_eq!(test.get(&made).content.owner.as_ref(), Some(&all));
    test.commit_by(&editor, PRODUCTION, vec![test.respecified(&made, json!({ "a": 1 }))]).unwrap();
    let staging = test.commit_by(&all, "staging", create(ObjectKind::Source, "app"));
    assert!(
        matches!(&staging, Err(CatalogError::Denied(_))),
        "a program's token counts in its workspace alone: {staging:?}"
    );
    let of_person = NewToken { form: TokenForm::Person, ..new_token(test, &editor, None) };
    let of_person = test.wait(test.catalog.create_token(&of_person)).unwrap().id;
    test.commit_by(&of_person, "staging", create(ObjectKind::Source, "app")).unwrap();
    test.wait(test.catalog.end_token(&of_person, &Actor::default(), test.tick())).unwrap();
    assert!(test.commit_by(&of_person, "staging", create(ObjectKind::Source, "web")).is_err(), "it was given up");
    // A token makes no token, and gets no more than it was made with.
    let refused = test.wait(test.catalog.create_token(&new_token(test, &all, None)));
    assert!(matches!(refused, Err(CatalogError::Denied(_))), "{refused:?}");
    let object = test.get(&narrow);
    let mut spec = object.content.spec.clone();
    spec["grants"] = json!(null);
    let more = vec![test.respecified(&narrow, spec)];
    assert!(matches!(test.commit_by(&editor, PRODUCTION, more), Err(CatalogError::Denied(_))));
    // The maker's role goes, and the token's rights with it.
    let group = test.wait(test.catalog.find(SERVER_WORKSPACE, ObjectKind::Group, "ed")).unwrap().unwrap();
    let viewer =
        ObjectContent { spec: json!({ "members": [editor], "roles": { PRODUCTION: "viewer" } }), ..group.content };
    let edit = ObjectEdit::Update { id: group.id, expected: None, content: viewer };
    test.commit_change(&CatalogChange::by_program(SERVER_WORKSPACE, vec![edit], test.tick())).unwrap();
    for token in [&all, &narrow] {
        let denied = test.commit_by(token, PRODUCTION, update(4));
        assert!(matches!(&denied, Err(CatalogError::Denied(_))), "{denied:?}");
    }
}

pub fn a_token_is_kept_as_a_hash_and_ends(test: &CatalogTest) {
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let new = NewToken { life_us: Some(DAY_US), ..new_token(test, &editor, None) };
    let issued = test.wait(test.catalog.create_token(&new)).unwrap();
    let text = issued.value.expose_text().unwrap();
    assert!(text.starts_with("tgs_") && text.len() == 40, "{text}");
    assert!(!format!("{issued:?}").contains(text));
    nowhere(test, &text[4..]);
    nowhere(test, text);
    let enter = |text: &str, at_us| test.wait(test.catalog.authenticate_token(text, at_us));
    let principal = enter(text, new.at_us + SECOND_US).unwrap();
    assert_eq!((&principal.id, &principal.person, principal.is_token()), (&issued.id, &editor, true));
    assert_eq!(test.wait(test.catalog.last_used(&issued.id)).unwrap(), Some(new.at_us + SECOND_US));
    enter(text, new.at_us + 2 * SECOND_US).unwrap();
    assert_eq!(test.wait(test.catalog.last_used(&issued.id)).unwrap(), Some(new.at_us + SECOND_US), "to the minute");
    enter(text, new.at_us + 70 * SECOND_US).unwrap();
    assert_eq!(test.wait(test.catalog.last_used(&issued.id)).unwrap(), Some(new.at_us + 70 * SECOND_US));
    let uses = |first: &str, last: &str| {
        test.wait(test.catalog.last_uses(&new.workspace, ObjectKind::Token, first..=last))
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(uses(&new.name, &new.name), [(issued.id.clone(), new.at_us + 70 * SECOND_US)]);
    assert_eq!(uses("\u{1}", "\u{1}"), []);
    for (after_us, noted_us) in [(90, 70), (130, 130)] {
        let ids = [issued.id.clone()];
        test.wait(test.catalog.note_use(&ids, new.at_us + after_us * SECOND_US)).unwrap();
        assert_eq!(test.wait(test.catalog.last_used(&issued.id)).unwrap(), Some(new.at_us + noted_us * SECOND_US));
    }
    assert_eq!(problem(enter(&text[..39], new.at_us)), CredentialProblem::Malformed);
    let other = test.wait(test.catalog.create_token(&new_token(test, &editor, None))).unwrap();
    let delete = ObjectEdit::Delete { id: other.id, expected: None };
    test.commit_by(&editor, PRODUCTION, vec![delete]).unwrap();
    assert_eq!(problem(enter(other.value.expose_text().unwrap(), new.at_us)), CredentialProblem::Unknown);
    assert_eq!(problem(enter(text, new.at_us + DAY_US)), CredentialProblem::Expired);
    let long = NewToken { life_us: Some(9_999 * DAY_US), ..new_token(test, &editor, None) };
    let long = test.wait(test.catalog.create_token(&long)).unwrap();
    let spec: TokenSpec = serde_json::from_value(test.get(&long.id).content.spec).unwrap();
    assert!(spec.expires_at_us <= test.tick() + 400 * DAY_US);
}

pub fn a_write_key_is_replaced_without_losing_a_client(test: &CatalogTest) {
    test.made(ObjectKind::Source, "web", json!({}));
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let viewer = test.person("vi", &[(PRODUCTION, "viewer")]);
    let new = |name: &str, by: &ObjectId, value: Option<&str>| NewWriteKey {
        workspace: PRODUCTION.into(),
        source: "web".into(),
        name: name.into(),
        ends_at_us: None,
        value: value.map(|value| value.to_owned().into()),
        authority: Authority::Principal(by.clone()),
        actor: Actor::default(),
        at_us: test.tick(),
    };
    let refused = test.wait(test.catalog.create_write_key(&new("one", &viewer, None)));
    assert!(matches!(refused, Err(CatalogError::Denied(_))), "{refused:?}");
    let short = test.wait(test.catalog.create_write_key(&new("one", &editor, Some("short"))));
    assert_eq!(problem(short), CredentialProblem::WriteKeyLength);
    // One that clients have already, and one that is made.
    let old = test.wait(test.catalog.create_write_key(&new("one", &editor, Some("quickstart-write-key")))).unwrap();
    let made = test.wait(test.catalog.create_write_key(&new("two", &editor, None))).unwrap();
    let value = made.value.expose_text().unwrap();
    assert!(value.starts_with("tgw_"));
    nowhere(test, value);
    nowhere(test, "quickstart-write-key");
    let table = || test.wait(test.catalog.write_keys()).unwrap();
    let now = test.tick();
    assert_eq!(table().find("quickstart-write-key", now).unwrap().source, "web");
    assert_eq!(table().find(value, now).unwrap().name, "two");
    assert_eq!(table().find("quickstart-write-keY", now), Err(WriteKeyProblem::Unknown));
    let rotation = new("three", &editor, None);
    let next = test.wait(test.catalog.rotate_write_key(&old.id, &rotation, DAY_US)).unwrap();
    let (table, next_value) = (table(), next.value.expose_text().unwrap().to_owned());
    for (at_us, old_counts) in
        [(rotation.at_us, true), (rotation.at_us + DAY_US - 1, true), (rotation.at_us + DAY_US, false)]
    {
        assert_eq!(table.find("quickstart-write-key", at_us).is_ok(), old_counts, "{at_us}");
        assert_eq!(table.find(&next_value, at_us).unwrap().id, next.id);
    }
    // A door with a table of its own hashes keys alike.
    let hash = table.hasher()(&next_value);
    let has_next = table.entries().any(|(found, entry)| *found == hash && entry.id == next.id);
    assert!(has_next && table.entries().count() == 3);
    let ended = table.find("quickstart-write-key", rotation.at_us + DAY_US);
    assert_eq!(ended, Err(WriteKeyProblem::Ended { id: old.id.clone() }));
    let spec: WriteKeySpec = serde_json::from_value(test.get(&old.id).content.spec).unwrap();
    assert_eq!(spec.replaced_by, Some(next.id.clone()));
    // A key is one source's.
    let twice = test.wait(test.catalog.create_write_key(&new("four", &editor, Some(&next_value))));
    assert!(matches!(twice, Err(CatalogError::Store(StoreError::Taken { .. }))), "{twice:?}");
    test.commit(vec![ObjectEdit::Delete { id: next.id, expected: None }]).unwrap();
    assert_eq!(test.wait(test.catalog.write_keys()).unwrap().find(&next_value, now), Err(WriteKeyProblem::Unknown));
}

pub fn a_session_ends_when_idle_and_anyhow(test: &CatalogTest) {
    let ann = test.person("ann", &[(PRODUCTION, "viewer")]);
    let start = test.tick();
    let open = || test.wait(test.catalog.open_session(&ann, start)).unwrap();
    let (session, other) = (open(), open());
    let text = session.expose_text().unwrap();
    assert_eq!(text.len(), 43);
    assert_ne!(session, other);
    nowhere(test, text);
    let whose = |text: &str, at_us| test.wait(test.catalog.session(text, at_us)).map(|principal| principal.id);
    assert_eq!(whose(text, start + HOUR_US).unwrap(), ann);
    assert_eq!(whose(text, start + 13 * HOUR_US - 1).unwrap(), ann, "used an hour after the start");
    assert_eq!(problem(whose(other.expose_text().unwrap(), start + 12 * HOUR_US)), CredentialProblem::SessionOver);
    for hours in (24..168).step_by(11) {
        whose(text, start + hours * HOUR_US).unwrap();
    }
    assert_eq!(problem(whose(text, start + 7 * DAY_US)), CredentialProblem::SessionOver);
    let third = open();
    test.wait(test.catalog.end_session(third.expose_text().unwrap())).unwrap();
    assert_eq!(problem(whose(third.expose_text().unwrap(), start)), CredentialProblem::SessionOver);
    let fourth = open();
    let user = test.wait(test.catalog.find(SERVER_WORKSPACE, ObjectKind::User, "ann")).unwrap().unwrap();
    let content = ObjectContent { spec: json!({ "is_disabled": true }), ..user.content };
    let disable = ObjectEdit::Update { id: ann.clone(), expected: None, content };
    test.commit_change(&CatalogChange::by_program(SERVER_WORKSPACE, vec![disable], test.tick())).unwrap();
    assert_eq!(problem(whose(fourth.expose_text().unwrap(), start)), CredentialProblem::SessionOver);
    assert!(test.wait(test.catalog.open_session(&ann, start)).is_err());
}

pub fn a_password_lets_in_its_user_alone(test: &CatalogTest) {
    let (ann, bob) = (test.person("ann", &[]), test.person("bob", &[(PRODUCTION, "editor")]));
    let set = |user: &ObjectId, password: &str, by: &ObjectId| {
        test.wait(test.catalog.set_password(&NewPassword {
            user: user.clone(),
            password: password.to_owned().into(),
            authority: Authority::Principal(by.clone()),
            actor: Actor::default(),
            at_us: test.tick(),
        }))
    };
    let enter = |name: &str, password: &str| {
        let actor = Actor { address: Some("203.0.113.9".into()), ..Actor::default() };
        test.wait(test.catalog.check_password(name, &password.to_owned().into(), &actor, test.tick()))
    };
    assert_eq!(problem(set(&ann, "too short", &ann)), CredentialProblem::PasswordLength);
    set(&ann, "correct horse battery", &ann).unwrap();
    assert!(matches!(set(&ann, "correct horse battery", &bob), Err(CatalogError::Denied(_))));
    nowhere(test, "correct horse");
    let session = test.wait(test.catalog.open_session(&ann, test.tick())).unwrap();
    assert_eq!(enter("ann", "correct horse battery").unwrap(), ann);
    for (name, password) in
        [("ann", "correct horse batterY"), ("bob", "correct horse battery"), ("nobody", "x"), ("a\0nn", "x")]
    {
        assert_eq!(problem(enter(name, password)), CredentialProblem::Unknown, "{name}");
    }
    set(&ann, "another long password", &ann).unwrap();
    assert!(enter("ann", "correct horse battery").is_err());
    let over = test.wait(test.catalog.session(session.expose_text().unwrap(), test.tick()));
    assert!(over.is_err(), "a new password ends all sessions");
    let phc = test.rows("SELECT phc FROM password")[0].text(0).unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE action = 'signed_in' AND result = 'denied'"), 5);
    test.verified().unwrap();
}

pub fn an_admins_token_signs_its_admin_in_and_no_other_token_anybody(test: &CatalogTest) {
    let root = test.wait(test.catalog.make_first_admin("root", &Actor::default(), test.tick())).unwrap().unwrap();
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let token = |maker: &ObjectId, form: TokenForm, grants: Option<serde_json::Value>| {
        let issued =
            test.wait(test.catalog.create_token(&NewToken { form, ..new_token(test, maker, grants) })).unwrap();
        issued.value.expose_text().unwrap().to_owned()
    };
    let enter = |name: &str, token: &str| {
        test.wait(test.catalog.check_password(name, &token.to_owned().into(), &Actor::default(), test.tick()))
    };
    let of_admin = token(&root, TokenForm::Person, None);
    assert_eq!(enter("root", &of_admin).unwrap(), root);
    // Not somebody else, not by a part of the rights, not by a program's, not whoever is no admin.
    let narrow = token(&root, TokenForm::Person, Some(json!({})));
    let others = [token(&root, TokenForm::Service, None), token(&editor, TokenForm::Person, None)];
    assert_eq!(problem(enter("ed", &of_admin)), CredentialProblem::Unknown);
    for (name, token) in
        [("root", &narrow), ("root", &others[0]), ("ed", &others[1]), ("root", &of_admin.replace('_', "_x"))]
    {
        assert_eq!(problem(enter(name, token)), CredentialProblem::Unknown, "{name}");
    }
}
