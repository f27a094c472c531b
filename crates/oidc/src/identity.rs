//! Who a person is, read from claims that are believed.

use serde_json::{Map, Value};

use crate::error::TokenProblem;
use crate::settings::ProviderSettings;

/// Groups of one person that are looked at.
const GROUPS_MAX: usize = 2_000;
const TEXT_CHARS_MAX: usize = 200;

/// A person, as an issuer knows them. `issuer` and `subject` are the identity; an address of mail never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenIdentity {
    pub issuer: String,
    pub subject: String,
    /// `preferred_username`.
    pub user_name: Option<String>,
    /// Only one that the provider does not call unverified.
    pub email: Option<String>,
    pub display_name: Option<String>,
    /// The values of the groups claim.
    pub groups: Vec<String>,
}

/// Whether the claims tell all that the settings ask for.
pub(crate) fn is_enough(claims: &Map<String, Value>, settings: &ProviderSettings) -> bool {
    let has_groups = settings.groups.is_empty() || claim(claims, &settings.groups_claim).is_some();
    let has_name = claims.contains_key("preferred_username") || claims.contains_key("email");
    has_groups && has_name && settings.required_claims.keys().all(|name| claim(claims, name).is_some())
}

/// The person of these claims.
pub(crate) fn proven(claims: &Map<String, Value>, settings: &ProviderSettings) -> Result<ProvenIdentity, TokenProblem> {
    for (name, wanted) in &settings.required_claims {
        if !claim(claims, name).is_some_and(|found| texts(found).any(|text| text == *wanted)) {
            return Err(TokenProblem::RequiredClaim { name: name.clone() });
        }
    }
    let text = |name: &str| {
        let text = claims.get(name)?.as_str()?.trim();
        let is_plain = !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.contains(char::is_control);
        is_plain.then(|| text.to_owned())
    };
    // Some providers write `"false"`.
    let is_unverified = claims.get("email_verified").is_some_and(|told| texts(told).any(|text| text == "false"));
    let groups = claim(claims, &settings.groups_claim).into_iter().flat_map(texts).take(GROUPS_MAX);
    Ok(ProvenIdentity {
        issuer: settings.issuer.clone(),
        subject: claims.get("sub").and_then(Value::as_str).ok_or(TokenProblem::Subject)?.to_owned(),
        user_name: text("preferred_username"),
        email: text("email").filter(|_| !is_unverified),
        display_name: text("name"),
        groups: groups.collect(),
    })
}

/// A claim by its name, or by the names on the way to it, with dots between.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        claim(claims.get(outer)?.as_object()?, inner)
    })
}

/// A claim as texts: itself, or the items of its list.
fn texts(value: &Value) -> impl Iterator<Item = String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    items.iter().filter_map(|item| match item {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(item.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tidegate_net::WebSettings;

    use super::*;

    fn settings(groups_claim: &str, required: &[(&str, &str)]) -> ProviderSettings {
        let required = required.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ProviderSettings {
            issuer: "https://a.example".into(),
            client_id: "tidegate".into(),
            client_secret: None,
            scopes: vec!["openid".into()],
            groups_claim: groups_claim.into(),
            required_claims: required.collect(),
            groups: BTreeMap::from([("admins".into(), "admins".into())]),
            create_users: true,
            web: WebSettings::default(),
        }
    }

    fn of(claims: &Value, settings: &ProviderSettings) -> Result<ProvenIdentity, TokenProblem> {
        proven(claims.as_object().unwrap(), settings)
    }

    #[test]
    fn a_person_has_the_groups_that_the_claim_names_however_it_is_written() {
        let claims =
            json!({ "sub": "1", "groups": ["admins", "web"], "role": "web", "realm_access": { "roles": ["x"] } });
        let groups = |name: &str| of(&claims, &settings(name, &[])).unwrap().groups;
        assert_eq!(groups("groups"), ["admins", "web"]);
        assert_eq!(groups("role"), ["web"]);
        assert_eq!(groups("realm_access.roles"), ["x"]);
        assert_eq!(groups("nothing.at.all"), Vec::<String>::new());
        assert!(!is_enough(claims.as_object().unwrap(), &settings("groups", &[])), "there is no name");
    }

    #[test]
    fn a_required_claim_that_is_missing_or_another_one_is_named() {
        let wanted = settings("groups", &[("hd", "example.com")]);
        for claims in
            [json!({ "sub": "1" }), json!({ "sub": "1", "hd": "example.org" }), json!({ "sub": "1", "hd": {} })]
        {
            let problem = of(&claims, &wanted).unwrap_err();
            assert_eq!(problem, TokenProblem::RequiredClaim { name: "hd".into() });
            assert!(problem.to_string().contains("`hd`"), "{problem}");
        }
        assert!(of(&json!({ "sub": "1", "hd": "example.com" }), &wanted).is_ok());
        assert!(of(&json!({ "sub": "1", "hd": ["example.org", "example.com"] }), &wanted).is_ok());
    }

    #[test]
    fn an_address_that_is_not_verified_is_nobodys() {
        let email = |verified: Value| {
            of(&json!({ "sub": "1", "email": "ann@example.com", "email_verified": verified }), &settings("groups", &[]))
                .unwrap()
                .email
        };
        assert_eq!((email(json!(false)), email(json!("false"))), (None, None));
        assert_eq!(email(json!(true)).as_deref(), Some("ann@example.com"));
        let named =
            of(&json!({ "sub": "1", "preferred_username": "a\u{1b}[2J", "name": " Ann " }), &settings("groups", &[]));
        let named = named.unwrap();
        assert_eq!((named.user_name, named.display_name.as_deref()), (None, Some("Ann")));
    }
}
