//! Who may do what: users, groups, roles and what they allow, tokens, and one's own password.

use axum::extract::Path;
use axum::response::Response;
use hyper::Method;
use maud::{Markup, html};
use serde_json::{Value, json};
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::control::{CreateToken, CreatedToken, Roles, ShownRole, ShownTokenForm, Tokens};
use tidegate_api_types::object::{ChangeDone, NewObject, Objects, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::sign_in::SetPassword;

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, answered, segment};
use super::fields::FormState;
use super::layout::{ConsolePage, go_to, problem};
use super::sign_in::with_cookies;
use super::text::{moment, moment_or, short};

const OBJECTS_MAX: &str = "1000";
const FORMS: [(&str, &str); 2] = [("person", "a person"), ("service", "a program")];
const LEVELS: [&str; 3] = ["view", "connect", "manage"];
/// The forms of the page, by which a refusal finds its own.
const OF_PASSWORD: &str = "password";
const OF_TOKEN: &str = "token";
const OF_USER: &str = "user";
const OF_GROUP: &str = "group";

/// A form that was refused: which, what was written into it, and why.
struct RefusedForm<'r> {
    which: &'r str,
    values: &'r PagePairs,
    problem: &'r ProblemDetails,
}

/// What there is.
struct FoundPeople {
    users: Vec<ShownObject>,
    groups: Vec<ShownObject>,
    roles: Vec<ShownRole>,
    tokens: Tokens,
}

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    page(&request, None).await
}

async fn objects(request: &PageRequest, kind: &str) -> Result<Vec<ShownObject>, PageRefusal> {
    let found: Objects = request.ask(&path::OBJECTS.replace("{kind}", kind), &[("limit", OBJECTS_MAX)]).await?;
    Ok(found.objects)
}

async fn page(request: &PageRequest, refused: Option<RefusedForm<'_>>) -> Result<Response, PageRefusal> {
    let found = FoundPeople {
        users: objects(request, "user").await?,
        groups: objects(request, "group").await?,
        roles: request.ask::<Roles>(path::ROLES, &[]).await?.roles,
        tokens: request.ask(path::TOKENS, &[("limit", OBJECTS_MAX)]).await?,
    };
    let empty = PagePairs::default();
    let form = |which: &str| match &refused {
        Some(refused) if refused.which == which => FormState::new(refused.values, Some(refused.problem)),
        _ => FormState::new(&empty, None),
    };
    let is_of_no_form =
        |refused: &&RefusedForm<'_>| ![OF_PASSWORD, OF_TOKEN, OF_USER, OF_GROUP].contains(&refused.which);
    let content = html! {
        @if let Some(refused) = refused.as_ref().filter(is_of_no_form) { (problem(refused.problem)) }
        section {
            h2 { "Users" }
            (users(&found, request))
            @if request.is_server_admin() {
                (form(OF_USER).top(&["name", "email"]))
                form.filter method="post" action=(request.to("/people/users", &[])) {
                    (form(OF_USER).text("name", "New user", "ann"))
                    (form(OF_USER).text("email", "E-mail", "ann@example.com"))
                    button type="submit" { "Make the user" }
                }
            }
        }
        section {
            h2 { "Groups" }
            p.quiet { "A group gives its roles to its members." }
            (groups(&found, request))
            @if request.is_server_admin() { (group_form(form(OF_GROUP), &found, request)) }
        }
        section {
            h2 { "Roles: what each allows" }
            (roles(&found.roles))
        }
        section {
            h2 { "API tokens" }
            (tokens(&found, request))
            (token_form(form(OF_TOKEN), request))
        }
        @if request.who.session { (password_form(form(OF_PASSWORD), request)) }
    };
    let command = "tidegate user list".to_owned();
    let said = refused.as_ref().map(|refused| refused.problem);
    Ok(ConsolePage { title: "People", at: "/people", command, updates: None, content }.show_after(said, request))
}

fn users(found: &FoundPeople, request: &PageRequest) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Users" {
            table {
                thead { tr { th scope="col" { "User" } th scope="col" { "E-mail" } th scope="col" { "Groups" } th scope="col" { "State" } th scope="col" { "Changed" } } }
                tbody {
                    @for user in &found.users {
                        tr {
                            th scope="row" { bdi { (short(&user.name)) } }
                            td { bdi { (user.spec["email"].as_str().map(short).unwrap_or_default()) } }
                            td { @for group in found.groups.iter().filter(|group| has_member(group, &user.id)) { span.badge { bdi { (short(&group.name)) } } " " } }
                            td { (user_state(user, request)) }
                            td { (moment(&user.updated_at, request.now_us)) }
                        }
                    }
                }
            }
        }
    }
}

fn has_member(group: &ShownObject, id: &str) -> bool {
    group.spec["members"].as_array().is_some_and(|members| members.iter().any(|member| member == id))
}

fn user_state(user: &ShownObject, request: &PageRequest) -> Markup {
    let is_disabled = user.spec["is_disabled"] == true;
    let verb = if is_disabled { "enable" } else { "disable" };
    html! {
        @if is_disabled { span.badge.bad { "disabled" } } @else { span.badge.good { "may sign in" } }
        @if request.is_server_admin() {
            form.action method="post" action=(request.to(&format!("/people/users/{}/{verb}", segment(&user.name)), &[])) {
                button.plain type="submit" aria-label={ (verb) " " (short(&user.name)) } { @if is_disabled { "Enable" } @else { "Disable" } }
            }
        }
    }
}

fn groups(found: &FoundPeople, request: &PageRequest) -> Markup {
    html! {
        @if found.groups.is_empty() { p.quiet { "There is none that you may see." } }
        @for group in &found.groups {
            article.card {
                h3 { bdi { (short(&group.name)) } }
                p { @for (workspace, role) in group.spec["roles"].as_object().into_iter().flatten() { span.badge { (role.as_str().map(short).unwrap_or_default()) " in " (short(workspace)) } " " } }
                @for user in found.users.iter().filter(|user| has_member(group, &user.id)) {
                    form.action method="post" action=(request.to(&format!("/people/groups/{}/remove", segment(&group.name)), &[])) {
                        input type="hidden" name="user" value=(user.name);
                        bdi { (short(&user.name)) }
                        @if request.is_server_admin() { button.plain type="submit" aria-label={ "Take out " (short(&user.name)) " of " (short(&group.name)) } { "Take out" } }
                    }
                }
                @if request.is_server_admin() {
                    form.filter method="post" action=(request.to(&format!("/people/groups/{}/add", segment(&group.name)), &[])) {
                        label {
                            "Add to it"
                            select name="user" { @for user in found.users.iter().filter(|user| !has_member(group, &user.id)) { option value=(user.name) { (short(&user.name)) } } }
                        }
                        button type="submit" { "Add" }
                    }
                }
            }
        }
    }
}

fn group_form(form: FormState<'_>, found: &FoundPeople, request: &PageRequest) -> Markup {
    let places = request.who.environments.iter().map(String::as_str).chain(["*"]);
    html! {
        (form.top(&["group", "role", "where"]))
        form.filter method="post" action=(request.to("/people/groups", &[])) {
            (form.text("group", "New group", "editors"))
            (form.choice("role", "Role", found.roles.iter().map(|role| (role.name.as_str(), role.name.as_str()))))
            (form.choice("where", "In", places.map(|place| (place, place))))
            button type="submit" { "Make the group" }
        }
    }
}

fn roles(roles: &[ShownRole]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Roles" {
            table {
                thead { tr {
                    th scope="col" { "Role" } th scope="col" { "Creates" }
                    @for level in LEVELS { th scope="col" { (level) } }
                    th scope="col" { "Sees events" } th scope="col" { "Reads secrets" } th scope="col" { "How" }
                } }
                tbody {
                    @for role in roles {
                        tr {
                            th scope="row" { bdi { (short(&role.name)) } @if !role.prebuilt { " " span.badge { "own" } } }
                            @if role.admin {
                                td colspan="7" { "everything in its environment" }
                            } @else {
                                td { (words(&role.grants["create"])) }
                                @for level in LEVELS { td { (on_level(&role.grants["access"], level)) } }
                                td { (scopes(&role.grants["see_payloads"])) }
                                td { (scopes(&role.grants["reveal"])) }
                                td { @if role.grants["only_proposes"] == true { "proposes; somebody else approves" } @else { "at once" } }
                            }
                        }
                    }
                }
            }
        }
        p.quiet { "Who manages may connect and view, and who connects may view. A sync has no grants: those on its two ends count." }
    }
}

fn words(list: &Value) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().filter_map(Value::as_str).map(short).collect();
    or_nothing(words)
}

/// What a role may do up to a level, at that level alone.
fn on_level(access: &Value, level: &str) -> String {
    let grants = access.as_array().into_iter().flatten().filter(|grant| grant["level"] == level);
    or_nothing(grants.map(|grant| scope(&grant["on"])).collect())
}

fn scopes(list: &Value) -> String {
    or_nothing(list.as_array().into_iter().flatten().map(scope).collect())
}

fn or_nothing(words: Vec<String>) -> String {
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

/// Which objects: what is said of them, or all.
fn scope(on: &Value) -> String {
    let said = |name: &str, before: &str| on[name].as_str().map(|text| format!("{before}{}", short(text)));
    let parts: Vec<String> =
        [said("kind", ""), said("object", "the one "), said("label", "with ")].into_iter().flatten().collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
}

fn tokens(found: &FoundPeople, request: &PageRequest) -> Markup {
    html! {
        @if found.tokens.tokens.is_empty() {
            p.quiet { "There is none that you may see." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="API tokens" {
                table {
                    thead { tr { th scope="col" { "Token" } th scope="col" { "Ends in" } th scope="col" { "Of" } th scope="col" { "Last used" } th scope="col" { "Until" } th scope="col" { "Revoke" } } }
                    tbody {
                        @for token in &found.tokens.tokens {
                            tr {
                                th scope="row" { bdi { (short(&token.name)) } @if token.form == ShownTokenForm::Service { " " span.badge { "a program's" } } }
                                td { code { "…" (short(&token.last4)) } }
                                td { bdi { (short(token.maker_name.as_ref().unwrap_or(&token.maker))) } }
                                td { (moment_or(token.last_used.as_deref(), "never", request.now_us)) }
                                td { (short(&token.expires_at)) @if token.expired { " " span.badge.bad { "over" } } }
                                td {
                                    form.action method="post" action=(request.to(&format!("/people/tokens/{}/revoke", segment(&token.name)), &[])) data-confirm="End this token now?" {
                                        button.plain type="submit" aria-label={ "Revoke " (short(&token.name)) } { "Revoke" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn token_form(form: FormState<'_>, request: &PageRequest) -> Markup {
    html! {
        (form.top(&["name", "form", "days"]))
        form.filter method="post" action=(request.to("/people/tokens", &[])) {
            (form.text("name", "New token", "ci"))
            (form.choice("form", "Of", FORMS))
            (form.text("days", "Days until it ends, 1 to 400", "90"))
            button type="submit" { "Make the token" }
        }
        p.quiet { "It has at most what you have when it is used, and is shown once." }
    }
}

fn password_form(form: FormState<'_>, request: &PageRequest) -> Markup {
    html! {
        section {
            h2 { "Your password" }
            (form.top(&["old", "password"]))
            form.fields method="post" action=(request.to("/people/password", &[])) {
                (form.password("old", "The one that you have", "current-password"))
                (form.password("password", "A new one, of 12 to 256 characters", "new-password"))
                button type="submit" { "Change it" }
            }
            p.quiet { "Your other sessions end by it." }
        }
    }
}

/// The page again, with what is said against a form.
async fn again(
    request: &PageRequest,
    (which, values): (&str, &PagePairs),
    error: PageRefusal,
) -> Result<Response, PageRefusal> {
    let problem = error.of_form()?;
    page(request, Some(RefusedForm { which, values, problem: &problem })).await
}

fn back(request: &PageRequest) -> Response {
    go_to(&request.to("/people", &[]))
}

pub(super) async fn make_user(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let new = NewObject {
        name: fields.text("name").to_owned(),
        labels: Default::default(),
        owner: None,
        spec: json!({ "email": fields.get("email") }),
    };
    match request.change(Method::POST, &path::OBJECTS.replace("{kind}", "user"), &new).await {
        Ok(_) => Ok(back(&request)),
        Err(error) => again(&request, (OF_USER, &fields), error).await,
    }
}

pub(super) async fn make_group(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let (place, role) = (fields.text("where"), fields.text("role"));
    let new = NewObject {
        name: fields.text("group").to_owned(),
        labels: Default::default(),
        owner: None,
        spec: json!({ "members": [], "roles": { place: role } }),
    };
    match request.change(Method::POST, &path::OBJECTS.replace("{kind}", "group"), &new).await {
        Ok(_) => Ok(back(&request)),
        Err(error) => again(&request, (OF_GROUP, &fields), error).await,
    }
}

fn at(kind: &str, name: &str) -> String {
    path::OBJECT.replace("{kind}", kind).replace("{name}", &segment(name))
}

/// Says anew what an object is, with another spec.
async fn put(request: &PageRequest, object: ShownObject, spec: Value) -> Result<(), PageRefusal> {
    let (place, revision) = (at(&object.kind, &object.name), object.revision.to_string());
    let new = NewObject { name: object.name, labels: object.labels, owner: object.owner, spec };
    // What somebody else has changed meanwhile is not undone.
    request.put::<ChangeDone>(&place, Some(revision.as_str()), &new).await.map(drop)
}

/// Lets a user in no more, or again.
pub(super) async fn change_user(
    Path((name, verb)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let is_disabled = match verb.as_str() {
        "disable" => true,
        "enable" => false,
        _ => return Err(PageRefusal::absent()),
    };
    let user: ShownObject = request.ask(&at("user", &name), &[]).await?;
    let mut spec = user.spec.clone();
    spec["is_disabled"] = is_disabled.into();
    match put(&request, user, spec).await {
        Ok(()) => Ok(back(&request)),
        Err(error) => again(&request, ("", &fields), error).await,
    }
}

/// Puts a user into a group, or takes one out.
pub(super) async fn change_group(
    Path((name, verb)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let is_member = match verb.as_str() {
        "add" => true,
        "remove" => false,
        _ => return Err(PageRefusal::absent()),
    };
    let group: ShownObject = request.ask(&at("group", &name), &[]).await?;
    let user: ShownObject = request.ask(&at("user", fields.text("user")), &[]).await?;
    let mut spec = group.spec.clone();
    let mut members = spec["members"].as_array().cloned().unwrap_or_default();
    members.retain(|member| *member != user.id);
    if is_member {
        members.push(user.id.into());
    }
    spec["members"] = members.into();
    match put(&request, group, spec).await {
        Ok(()) => Ok(back(&request)),
        Err(error) => again(&request, ("", &fields), error).await,
    }
}

/// Makes a token, and shows it this once.
pub(super) async fn make_token(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    match made_token(&request, &fields).await {
        Ok(made) => {
            let content = html! {
                p.good role="status" { "The token " b { bdi { (short(&made.name)) } } " is made. Keep it: it is not shown again." }
                pre.data tabindex="0" { (made.token) }
                button.copy.plain type="button" data-copy=(made.token) hidden { "Copy" }
                p { a href=(request.to("/people", &[])) { "Back" } }
            };
            let command = "tidegate token create NAME".to_owned();
            Ok(ConsolePage { title: "A new token", at: "/people", command, updates: None, content }.show(&request))
        }
        Err(error) => again(&request, (OF_TOKEN, &fields), error).await,
    }
}

async fn made_token(request: &PageRequest, fields: &PagePairs) -> Result<CreatedToken, PageRefusal> {
    let days = fields.get("days").map(|days| {
        let wrong =
            |_| PageRefusal::field("days", "the days are not a whole number", "write 1 to 400, or nothing for 90");
        days.parse::<u64>().map_err(wrong)
    });
    let form = if fields.text("form") == "service" { ShownTokenForm::Service } else { ShownTokenForm::Person };
    let order =
        CreateToken { name: fields.text("name").to_owned(), form, grants: None, days: days.transpose()?, user: None };
    request.order(path::TOKENS, &order).await
}

/// Ends a token.
pub(super) async fn revoke_token(
    Path(name): Path<String>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    match request.change(Method::DELETE, &at("token", &name), &json!({})).await {
        Ok(_) => Ok(back(&request)),
        Err(error) => again(&request, ("", &fields), error).await,
    }
}

/// Changes one's own password. The session goes on under a new cookie.
pub(super) async fn set_password(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let name = request.who.name.clone().unwrap_or_default();
    let asked =
        SetPassword { password: fields.whole("password").to_owned(), old: Some(fields.whole("old").to_owned()) };
    let place = request.api_place(&path::USER_PASSWORD.replace("{name}", &segment(&name)), &[]);
    let answer = request.send(Method::PUT, &place, &asked).await;
    if answer.status().is_success() {
        return Ok(with_cookies(back(&request), answer.headers()));
    }
    match answered::<Value>(&answer, "/people") {
        Ok(_) => Ok(back(&request)),
        Err(error) => again(&request, (OF_PASSWORD, &PagePairs::default()), error).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_said_in_words() {
        let grants = json!({
            "create": ["source"],
            "access": [{"level": "connect", "on": {"kind": "destination", "label": "team=<b>"}}, {"level": "view", "on": {}}],
            "see_payloads": [{"object": "src_1"}],
        });
        assert_eq!(on_level(&grants["access"], "connect"), "destination with team=<b>");
        assert_eq!(
            (on_level(&grants["access"], "view"), on_level(&grants["access"], "manage")),
            ("all".into(), "–".into())
        );
        assert_eq!(
            (words(&grants["create"]), scopes(&grants["see_payloads"])),
            ("source".into(), "the one src_1".into())
        );
        let role = ShownRole { name: "own".to_owned(), prebuilt: false, admin: false, grants };
        assert!(roles(&[role]).into_string().contains("team=&lt;b&gt;"));
    }
}
