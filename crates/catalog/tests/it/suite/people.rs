//! Rights in the store: asked in the transaction of the change, of who one is now.

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{PRODUCTION, content, labels};

fn denial<T: std::fmt::Debug>(answer: Result<T, CatalogError>) -> Denial {
    match answer {
        Err(CatalogError::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

pub fn rights_are_asked_in_the_transaction_of_the_change(test: &CatalogTest) {
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let viewer = test.person("vi", &[(PRODUCTION, "viewer")]);
    let create = || vec![test.create(ObjectKind::Source, "web", json!({}))];
    let denied = denial(test.commit_by(&viewer, PRODUCTION, create()));
    assert_eq!((denied.status(), denied.missing.clone()), (403, MissingGrant::Create(CreateRight::Source)));
    assert_eq!(test.count("SELECT count(*) FROM audit WHERE result = 'denied'"), 1);
    let id = test.commit_by(&editor, PRODUCTION, create()).unwrap().objects[0].id.clone();
    assert_eq!(test.get(&id).content.owner.as_ref(), Some(&editor));
    // No role there: the object is not there, for this one.
    let elsewhere = test.made_in("staging", content(ObjectKind::Source, "web", json!({})));
    let delete = vec![ObjectEdit::Delete { id: elsewhere, expected: None }];
    assert_eq!(denial(test.commit_by(&editor, "staging", delete)).status(), 404);
    // Whoever loses the role loses the right with the next change.
    let group = test.wait(test.catalog.find(SERVER_WORKSPACE, ObjectKind::Group, "ed")).unwrap().unwrap();
    let edit = ObjectEdit::Delete { id: group.id, expected: None };
    test.commit_change(&CatalogChange::by_program(SERVER_WORKSPACE, vec![edit], test.tick())).unwrap();
    let update = vec![test.respecified(&id, json!({ "a": 1 }))];
    assert_eq!(denial(test.commit_by(&editor, PRODUCTION, update.clone())).status(), 404);
    let user = test.wait(test.catalog.find(SERVER_WORKSPACE, ObjectKind::User, "vi")).unwrap().unwrap();
    let disabled = ObjectContent { spec: json!({ "is_disabled": true }), ..user.content };
    let disable = ObjectEdit::Update { id: viewer.clone(), expected: None, content: disabled };
    test.commit_change(&CatalogChange::by_program(SERVER_WORKSPACE, vec![disable], test.tick())).unwrap();
    let refused = test.commit_by(&viewer, PRODUCTION, update);
    assert!(matches!(refused, Err(CatalogError::Principal(PrincipalProblem::Disabled(_)))), "{refused:?}");
}

pub fn whoever_makes_an_object_manages_it_while_they_may_make_such(test: &CatalogTest) {
    let role = |create: &[&str]| content(ObjectKind::Role, "maker", json!({ "create": create }));
    let role_id = test.made_in(PRODUCTION, role(&["source"]));
    let ann = test.person("ann", &[(PRODUCTION, "maker")]);
    let bob = test.person("bob", &[(PRODUCTION, "maker")]);
    let create = vec![test.create(ObjectKind::Source, "web", json!({}))];
    let id = test.commit_by(&ann, PRODUCTION, create).unwrap().objects[0].id.clone();
    test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, json!({ "a": 1 }))]).unwrap();
    let others = denial(test.commit_by(&bob, PRODUCTION, vec![test.respecified(&id, json!({ "a": 2 }))]));
    assert_eq!(others.status(), 404);
    let less = ObjectEdit::Update { id: role_id, expected: None, content: role(&["function"]) };
    test.commit(vec![less]).unwrap();
    assert_eq!(denial(test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, json!({}))])).status(), 404);
}

pub fn a_sync_needs_both_ends_and_pointing_it_elsewhere_old_and_new(test: &CatalogTest) {
    let team = |name: &str| labels(&[("team", name)]);
    for (kind, name, of) in [
        (ObjectKind::Source, "web", "web"),
        (ObjectKind::Destination, "warehouse", "web"),
        (ObjectKind::Destination, "ledger", "finance"),
        (ObjectKind::Function, "redact", "finance"),
    ] {
        test.made_in(PRODUCTION, ObjectContent { labels: team(of), ..content(kind, name, json!({})) });
    }
    let grant = |level: &str, label: &str| json!({ "level": level, "on": { "label": label } });
    test.made(
        ObjectKind::Role,
        "web",
        json!({ "access": [grant("connect", "team=web"), grant("view", "team=finance")] }),
    );
    test.made(ObjectKind::Role, "finance", json!({ "access": [grant("connect", "team=finance")] }));
    let ann = test.person("ann", &[(PRODUCTION, "web")]);
    let bob = test.person("bob", &[(PRODUCTION, "finance")]);
    let spec = |destination: &str| json!({ "source": "web", "destination": destination });
    let create = |destination: &str| vec![test.create(ObjectKind::Sync, "s", spec(destination))];
    let seen = |by: &ObjectId| {
        let directory = test.wait(test.catalog.directory()).unwrap();
        let (principal, snapshot) = (directory.principal(by, 0).unwrap(), test.snapshot());
        visible(&principal, &snapshot).iter().map(|object| object.content.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&ann), ["redact", "web", "ledger", "warehouse"]);
    assert_eq!(seen(&bob), ["redact", "ledger"]);
    let ledger = denial(test.commit_by(&ann, PRODUCTION, create("ledger")));
    let missing = |kind, name: &str| MissingGrant::Access { level: AccessLevel::Connect, kind, name: name.into() };
    assert_eq!(ledger.missing, missing(ObjectKind::Destination, "ledger"));
    assert_eq!(denial(test.commit_by(&bob, PRODUCTION, create("ledger"))).missing, missing(ObjectKind::Source, "web"));
    let id = test.commit_by(&ann, PRODUCTION, create("warehouse")).unwrap().objects[0].id.clone();
    // Pointing it to where ann may only look.
    let repointed = denial(test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, spec("ledger"))]));
    assert_eq!((repointed.missing, repointed.is_hidden), (missing(ObjectKind::Destination, "ledger"), false));
    let mut with_function = spec("warehouse");
    with_function["functions"] = json!(["redact"]);
    let function = denial(test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, with_function)]));
    assert_eq!(function.missing, missing(ObjectKind::Function, "redact"));
    // Away from where bob may nothing: the old ends count, too.
    test.commit(vec![test.respecified(&id, spec("ledger"))]).unwrap();
    let away = denial(test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, spec("warehouse"))]));
    assert_eq!(away.missing, missing(ObjectKind::Destination, "ledger"));
    let delete = vec![ObjectEdit::Delete { id, expected: None }];
    assert_eq!(denial(test.commit_by(&bob, PRODUCTION, delete)).missing, missing(ObjectKind::Source, "web"));
}

pub fn a_secret_is_named_by_whom_it_is_granted(test: &CatalogTest) {
    for name in ["of web", "of finance"] {
        test.made_in(
            PRODUCTION,
            ObjectContent { labels: labels(&[("team", &name[3..])]), ..content(ObjectKind::Secret, name, json!({})) },
        );
    }
    let connect = json!({ "level": "connect", "on": { "kind": "secret", "label": "team=web" } });
    test.made(ObjectKind::Role, "web", json!({ "create": ["destination"], "access": [connect] }));
    let ann = test.person("ann", &[(PRODUCTION, "web")]);
    let spec = |name: &str| json!({ "headers": [format!("secret:{name}")] });
    let create = |name: &str| vec![test.create(ObjectKind::Destination, "d", spec(name))];
    let missing =
        |name: &str| MissingGrant::Access { level: AccessLevel::Connect, kind: ObjectKind::Secret, name: name.into() };
    assert_eq!(denial(test.commit_by(&ann, PRODUCTION, create("of finance"))).missing, missing("of finance"));
    // Whether there is one is not told.
    assert_eq!(denial(test.commit_by(&ann, PRODUCTION, create("of nobody"))).missing, missing("of nobody"));
    let id = test.commit_by(&ann, PRODUCTION, create("of web")).unwrap().objects[0].id.clone();
    let denied = denial(test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, spec("of finance"))]));
    assert_eq!((denied.missing.clone(), denied.status()), (missing("of finance"), 403));
    // What somebody else has put there may stay.
    test.commit(vec![test.respecified(&id, spec("of finance"))]).unwrap();
    let mut more = spec("of finance");
    more["more"] = json!(1);
    test.commit_by(&ann, PRODUCTION, vec![test.respecified(&id, more)]).unwrap();
}

pub fn a_table_that_is_borrowed_and_a_source_that_is_judged_take_connect(test: &CatalogTest) {
    let places = test.made(ObjectKind::Lookup, "places", json!({}));
    test.made(ObjectKind::Source, "web", json!({}));
    let maker = json!({ "create": ["function", "contract", "source"] });
    test.made(ObjectKind::Role, "maker", maker);
    let ann = test.person("ann", &[(PRODUCTION, "maker")]);
    let missing = |kind, name: &str| MissingGrant::Access { level: AccessLevel::Connect, kind, name: name.into() };
    let function = |table: &str| {
        vec![test.create(ObjectKind::Function, "f", json!({ "component": "f.wasm", "lookups": { "geo": table } }))]
    };
    let borrowed = denial(test.commit_by(&ann, PRODUCTION, function("places")));
    assert_eq!(borrowed.missing, missing(ObjectKind::Lookup, "places"));
    test.commit(function("places")).unwrap();
    let gone = test.commit(vec![ObjectEdit::Delete { id: places, expected: None }]);
    assert!(matches!(&gone, Err(CatalogError::InUse { by, .. }) if by == "the function \"f\""), "{gone:?}");
    let domain = |spec| vec![test.create(ObjectKind::Domain, "domains/shop/domain.yaml", spec)];
    for (spec, source) in [(json!({ "name": "Shop", "sources": ["web"] }), "web"), (json!({ "name": "Shop" }), "*")] {
        let judged = denial(test.commit_by(&ann, PRODUCTION, domain(spec)));
        assert_eq!(judged.missing, missing(ObjectKind::Source, source));
    }
    // Of none, of one's own, and of one that is not there yet by whoever may connect every source.
    let made = test.commit_by(&ann, PRODUCTION, domain(json!({ "name": "Shop", "sources": [] }))).unwrap();
    test.commit_by(&ann, PRODUCTION, vec![test.create(ObjectKind::Source, "own", json!({}))]).unwrap();
    let own = json!({ "name": "Shop", "sources": ["own"] });
    test.commit_by(&ann, PRODUCTION, vec![test.respecified(&made.objects[0].id, own)]).unwrap();
    let ed = test.person("ed", &[(PRODUCTION, "editor")]);
    let other = test.create(ObjectKind::Domain, "domains/all/domain.yaml", json!({ "name": "All" }));
    test.commit_by(&ed, PRODUCTION, vec![other]).unwrap();
}

pub fn nobody_grants_what_they_lack(test: &CatalogTest) {
    let root = test.wait(test.catalog.make_first_admin("root", &Actor::default(), 1)).unwrap().unwrap();
    assert_eq!(test.wait(test.catalog.make_first_admin("other", &Actor::default(), 2)).unwrap(), None);
    // Manages users and groups, and nothing else.
    let people = test.person("people", &[(SERVER_WORKSPACE, "admin")]);
    let group = |members: &[&ObjectId], place: &str, role: &str| {
        content(ObjectKind::Group, "g", json!({ "members": members, "roles": { place: role } }))
    };
    let id = test.catalog.new_id(ObjectKind::Group);
    let create = |content| vec![ObjectEdit::Create { id: id.clone(), content }];
    for (place, role) in [(PRODUCTION, "admin"), (PRODUCTION, "viewer"), ("*", "viewer"), ("*", "admin")] {
        let denied = denial(test.commit_by(&people, SERVER_WORKSPACE, create(group(&[], place, role))));
        assert!(matches!(denied.missing, MissingGrant::Give { .. }), "{place} {role}: {denied:?}");
    }
    test.commit_by(&root, SERVER_WORKSPACE, create(group(&[], PRODUCTION, "viewer"))).unwrap();
    // Nor by putting somebody into a group that has the role.
    let join = ObjectEdit::Update { id: id.clone(), expected: None, content: group(&[&people], PRODUCTION, "viewer") };
    assert!(matches!(
        denial(test.commit_by(&people, SERVER_WORKSPACE, vec![join.clone()])).missing,
        MissingGrant::Give { .. }
    ));
    test.commit_by(&root, SERVER_WORKSPACE, vec![join]).unwrap();
    // Now the role is had, and can be given.
    let more = ObjectEdit::Update { id, expected: None, content: group(&[&people, &root], PRODUCTION, "viewer") };
    test.commit_by(&people, SERVER_WORKSPACE, vec![more]).unwrap();
    // Whoever could change a user could sign in as that user.
    let content = content(ObjectKind::User, "root", json!({ "identities": [{ "issuer": "i", "subject": "mine" }] }));
    let takeover = vec![ObjectEdit::Update { id: root.clone(), expected: None, content }];
    assert!(matches!(denial(test.commit_by(&people, SERVER_WORKSPACE, takeover)).missing, MissingGrant::Give { .. }));
    let password = NewPassword {
        user: root,
        password: SecretValue::from("a long password".to_owned()),
        authority: Authority::Principal(people.clone()),
        actor: Actor::default(),
        at_us: test.tick(),
    };
    denial(test.wait(test.catalog.set_password(&password)));
    // Roles are an admin's of their workspace.
    let editor = test.person("ed", &[(PRODUCTION, "editor")]);
    let role = vec![test.create(ObjectKind::Role, "r", json!({}))];
    let denied = denial(test.commit_by(&editor, PRODUCTION, role));
    assert_eq!(denied.missing, MissingGrant::Admin { workspace: PRODUCTION.into() });
}

pub fn the_last_admin_stays(test: &CatalogTest) {
    let root = test.wait(test.catalog.make_first_admin("root", &Actor::default(), 1)).unwrap().unwrap();
    let find = |kind, name: &str| test.wait(test.catalog.find(SERVER_WORKSPACE, kind, name)).unwrap().unwrap();
    let group = find(ObjectKind::Group, "admins");
    let user = find(ObjectKind::User, "root");
    let update = |object: &CatalogObject, spec| ObjectEdit::Update {
        id: object.id.clone(),
        expected: None,
        content: ObjectContent { spec, ..object.content.clone() },
    };
    let ways = [
        ObjectEdit::Delete { id: root.clone(), expected: None },
        ObjectEdit::Delete { id: group.id.clone(), expected: None },
        update(&user, json!({ "is_disabled": true })),
        update(&group, json!({ "members": [root], "roles": { "*": "editor" } })),
        update(&group, json!({ "members": [], "roles": { "*": "admin" } })),
    ];
    for way in &ways {
        let refused = test.commit_by(&root, SERVER_WORKSPACE, vec![way.clone()]);
        assert!(matches!(refused, Err(CatalogError::LastAdmin)), "{way:?}: {refused:?}");
    }
    test.person("second", &[(SERVER_WORKSPACE, "admin")]);
    test.commit_by(&root, SERVER_WORKSPACE, vec![ways[0].clone()]).unwrap();
}

pub fn a_draft_is_made_by_somebody_elses_approval(test: &CatalogTest) {
    let author = test.person("drafter", &[(PRODUCTION, "draft_editor")]);
    let editor = test.person("editor", &[(PRODUCTION, "editor")]);
    let viewer = test.person("viewer", &[(PRODUCTION, "viewer")]);
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 1 }));
    let edits = || vec![test.respecified(&id, json!({ "n": 2 })), test.create(ObjectKind::Lookup, "l", json!({}))];
    let denied = denial(test.commit_by(&author, PRODUCTION, edits()));
    assert!(denied.may_propose && denied.status() == 403, "{denied:?}");
    let change = |by: &ObjectId| CatalogChange::by(by, PRODUCTION, edits(), test.tick());
    denial(test.wait(test.catalog.propose("by a viewer", &change(&viewer))));
    let draft = test.wait(test.catalog.propose("Count to two", &change(&author))).unwrap();
    let paths: Vec<&str> = draft.objects[0].fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!((paths, draft.objects[1].action.as_str()), (vec!["/spec/n"], "created"));
    assert_eq!(test.get(&id).content.spec, json!({ "n": 1 }), "nothing is changed yet");
    let decision = |by: &ObjectId, draft: &CatalogDraft| DraftDecision {
        workspace: PRODUCTION.into(),
        id: draft.id.clone(),
        by: by.clone(),
        actor: Actor::default(),
        at_us: test.tick(),
    };
    let own = test.wait(test.catalog.approve_draft(&decision(&author, &draft)));
    assert!(matches!(own, Err(CatalogError::OwnDraft)), "{own:?}");
    denial(test.wait(test.catalog.approve_draft(&decision(&viewer, &draft))));
    denial(test.wait(test.catalog.close_draft(&decision(&viewer, &draft))));
    let made = test.wait(test.catalog.approve_draft(&decision(&editor, &draft))).unwrap();
    assert_eq!(test.get(&id).content.spec, json!({ "n": 2 }));
    assert_eq!(test.get(&made.objects[1].id).content.owner, Some(author.clone()), "its author made it");
    let twice = test.wait(test.catalog.approve_draft(&decision(&editor, &draft)));
    assert!(matches!(twice, Err(CatalogError::DraftDecided { state: "approved", .. })), "{twice:?}");
    // An editor may propose as well, and does not approve what is their own, with a token neither.
    let own = vec![test.respecified(&id, json!({ "n": 3 }))];
    let own = CatalogChange::by(&editor, PRODUCTION, own, test.tick());
    let draft = test.wait(test.catalog.propose("Count to three", &own)).unwrap();
    let token = NewToken {
        workspace: PRODUCTION.into(),
        name: "t".into(),
        form: TokenForm::Person,
        grants: None,
        life_us: None,
        maker: editor.clone(),
        actor: Actor::default(),
        at_us: test.tick(),
    };
    let token = test.wait(test.catalog.create_token(&token)).unwrap().id;
    for by in [&editor, &token] {
        let own = test.wait(test.catalog.approve_draft(&decision(by, &draft)));
        assert!(matches!(own, Err(CatalogError::OwnDraft)), "{own:?}");
    }
    assert_eq!(test.wait(test.catalog.close_draft(&decision(&editor, &draft))).unwrap(), DraftState::Withdrawn);
    let states: Vec<&str> =
        test.wait(test.catalog.drafts(PRODUCTION, None)).unwrap().iter().map(|it| it.state.name()).collect();
    assert_eq!(states, ["withdrawn", "approved"]);
    let told = |result: &str| {
        test.count(&format!("SELECT count(*) FROM audit WHERE action LIKE 'draft_%' AND result = '{result}'"))
    };
    assert_eq!((told("done"), told("denied")), (4, 3));
    test.verified().unwrap();
}

pub fn a_draft_whose_object_has_changed_says_so(test: &CatalogTest) {
    let author = test.person("drafter", &[(PRODUCTION, "draft_editor")]);
    let editor = test.person("editor", &[(PRODUCTION, "editor")]);
    let id = test.made(ObjectKind::Source, "web", json!({ "n": 1 }));
    let change = CatalogChange::by(&author, PRODUCTION, vec![test.respecified(&id, json!({ "n": 2 }))], test.tick());
    let draft = test.wait(test.catalog.propose("t", &change)).unwrap();
    test.made(ObjectKind::Source, "another", json!({}));
    assert_eq!(test.wait(test.catalog.draft(PRODUCTION, &draft.id)).unwrap().stale, None);
    test.commit(vec![test.respecified(&id, json!({ "n": 3 }))]).unwrap();
    let stale = test.wait(test.catalog.draft(PRODUCTION, &draft.id)).unwrap().stale;
    assert_eq!(stale, Some((ObjectKind::Source, "web".into())));
    let decision = DraftDecision {
        workspace: PRODUCTION.into(),
        id: draft.id.clone(),
        by: editor,
        actor: Actor::default(),
        at_us: test.tick(),
    };
    let refused = test.wait(test.catalog.approve_draft(&decision));
    assert!(matches!(&refused, Err(CatalogError::DraftStale { name, .. }) if name == "web"), "{refused:?}");
    assert_eq!(test.get(&id).content.spec, json!({ "n": 3 }));
    assert_eq!(test.wait(test.catalog.close_draft(&decision)).unwrap(), DraftState::Declined);
    let elsewhere = test.wait(test.catalog.draft("staging", &draft.id));
    assert!(matches!(elsewhere, Err(CatalogError::Nothing { .. })));
}
