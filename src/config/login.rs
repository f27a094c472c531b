//! `login` of `tidegate.yaml`: where browsers reach the admin API, and the providers at which people sign in.

use tidegate_document::fields::Fields;
use tidegate_oidc::{ClientSecret, LoginSettings, ProviderSettings, issuer_problem};
use url::Url;

use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

const SECRET_BYTES_MAX: u64 = 4 << 10;
const NAME_BYTES_MAX: usize = 63;
const SCOPES_DEFAULT: [&str; 3] = ["openid", "profile", "email"];
const GROUPS_CLAIM_DEFAULT: &str = "groups";

/// Reads it. What has problems is left out.
pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> LoginSettings {
    let read = |f: &mut Fields<'_>| {
        let public_url = public_url(f);
        let providers = f.each("providers", "issuer", |name, f| provider(name, f, (inputs, outgoing)));
        LoginSettings { public_url, providers: providers.into_iter().flatten().collect() }
    };
    fields.within("login", read).unwrap_or_default()
}

fn public_url(f: &mut Fields<'_>) -> Option<Url> {
    let text = f.text("public_url")?;
    let is_address = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(&text).ok().filter(is_address);
    if url.is_none() {
        let fix = "write where browsers reach the admin API, e.g. https://admin.example.com";
        f.problem("public_url", format!("`login.public_url` is {text:?}, which is no address of a server"), fix);
    }
    url
}

fn provider(
    name: &str,
    f: &mut Fields<'_>,
    (inputs, outgoing): (&ObjectInputs<'_>, &Outgoing),
) -> Option<(String, ProviderSettings)> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        f.problem("", format!("{name:?} is no name of a provider"), "use up to 63 of a-z, 0-9 and -");
    }
    let issuer = f.required("issuer", "https://accounts.example.com");
    if let Some(problem) = issuer.as_deref().and_then(issuer_problem) {
        let fix = "write the issuer as the provider names itself, e.g. https://accounts.example.com; http only on this machine";
        let message = format!("`{}` cannot be used: {problem}", f.at("issuer"));
        f.problem("issuer", message, fix);
    }
    let client_id = f.required("client_id", "tidegate");
    let client_secret = client_secret(f, inputs);
    let mut scopes = f.texts("scopes");
    if !f.has("scopes") {
        scopes = SCOPES_DEFAULT.map(str::to_owned).to_vec();
    } else if !scopes.iter().any(|scope| scope == "openid") {
        scopes.insert(0, "openid".to_owned());
    }
    let groups_claim = f.text("groups_claim").unwrap_or_else(|| GROUPS_CLAIM_DEFAULT.to_owned());
    let required_claims = f.pairs("required_claims").into_iter().map(|(claim, value, _)| (claim, value)).collect();
    let groups = f.pairs("groups").into_iter().map(|(claimed, group, _)| (claimed, group)).collect();
    let create_users = f.flag("create_users").unwrap_or(false);
    let web = outgoing.of_destination(f, inputs);
    let settings = ProviderSettings {
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        scopes,
        groups_claim,
        required_claims,
        groups,
        create_users,
        web,
    };
    Some((name.to_owned(), settings))
}

/// `client_secret: {file: PATH}` or `client_secret: {variable: NAME}`.
fn client_secret(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<ClientSecret> {
    f.within("client_secret", |f| {
        let text = match (f.text("file"), f.text("variable")) {
            (Some(file), None) => {
                let path = inputs.dir().join(file);
                let read = inputs.read(&path, SECRET_BYTES_MAX).map_err(|error| error.to_string());
                let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()));
                match text {
                    Ok(text) => text,
                    Err(error) => {
                        let message = format!("the client secret {} cannot be read: {error}", path.display());
                        f.problem("file", message, "write the secret that the provider gave, and nothing else");
                        return None;
                    }
                }
            }
            (None, Some(name)) => match inputs.variable(&name) {
                Some(text) => text,
                None => {
                    f.problem("variable", format!("the environment has no variable {name}"), "set it, or use `file`");
                    return None;
                }
            },
            _ => {
                let fix = "write `file: /run/secrets/oidc-client` or `variable: OIDC_CLIENT_SECRET`";
                f.problem("", "`client_secret` needs one of `file` and `variable`", fix);
                return None;
            }
        };
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if text.is_empty() {
            f.problem("", "the client secret is empty", "write the secret that the provider gave, or leave it out");
            return None;
        }
        Some(ClientSecret::new(text))
    })?
}

#[cfg(test)]
mod tests {
    use crate::config::Workspace;

    fn read(text: &str) -> Result<Workspace, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tidegate.yaml"), format!("listen: 127.0.0.1:0\n{text}")).unwrap();
        std::fs::write(dir.path().join("client.secret"), "shh\n").unwrap();
        Workspace::read(dir.path(), None, |_, _| Ok(None)).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}\n", problem.line, problem.message)).collect()
        })
    }

    #[test]
    fn a_provider_is_read_with_its_secret_from_a_file_and_its_defaults() {
        let text = "login:\n  public_url: https://admin.example.com\n  providers:\n    corp:\n      issuer: https://a.example\n      \
                    client_id: tidegate\n      client_secret: {file: client.secret}\n      required_claims: {hd: example.com}\n      \
                    groups: {tidegate-admins: admins}\n";
        let login = read(text).unwrap().login;
        assert_eq!(login.public_url.as_ref().unwrap().as_str(), "https://admin.example.com/");
        let corp = &login.providers["corp"];
        assert_eq!((corp.issuer.as_str(), corp.groups_claim.as_str()), ("https://a.example", "groups"));
        assert_eq!(corp.scopes, ["openid", "profile", "email"]);
        assert_eq!((corp.groups["tidegate-admins"].as_str(), corp.create_users), ("admins", false));
        assert!(corp.client_secret.is_some() && !format!("{login:?}").contains("shh"));
    }

    #[test]
    fn what_is_wrong_with_a_provider_is_told_with_its_line() {
        for (line, told) in [
            ("issuer: http://a.example", "cannot be used: it is not https"),
            ("issuer: https://a.example\n      client_secret: {file: nowhere}", "cannot be read"),
            ("issuer: https://a.example\n      client_secret: {}", "needs one of `file` and `variable`"),
            ("issuer: https://a.example\n      grups: {a: b}", "grups"),
            ("client_secret: {file: client.secret}", "`login.providers.corp.issuer` is missing"),
        ] {
            let problems =
                read(&format!("login:\n  providers:\n    corp:\n      client_id: x\n      {line}\n")).unwrap_err();
            assert!(problems.contains(told), "{line}: {problems}");
        }
        assert!(read("login: {public_url: admin.example.com}\n").unwrap_err().contains("no address"));
    }
}
