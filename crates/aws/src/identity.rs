//! Where keys may come from, as settings and the usual variables say.

use std::path::PathBuf;

use url::Url;

use crate::keys::AwsKeys;

/// What containers of ECS are told beside.
const CONTAINER_HOST: &str = "http://169.254.170.2";
const INSTANCE_HOST: &str = "http://169.254.169.254";
/// Who a session is called that nobody has named.
const SESSION_NAME: &str = "tidegate";

/// The sources of keys, the first that counts first.
#[derive(Debug, Clone, Default)]
pub struct AwsIdentity {
    pub sources: Vec<AwsKeySource>,
    /// Where tokens become keys; that of the region when `None`.
    pub sts_endpoint: Option<Url>,
}

/// One source of keys.
#[derive(Debug, Clone)]
pub enum AwsKeySource {
    Keys(AwsKeys),
    Profile(ProfileKeys),
    WebIdentity(WebIdentityKeys),
    Container(ContainerKeys),
    /// The metadata service of a machine, by its address without a path.
    Instance(Url),
}

/// A profile of the shared files, which are read again now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileKeys {
    pub name: String,
    pub credentials_file: Option<PathBuf>,
    pub config_file: Option<PathBuf>,
    /// Somebody named the profile: there must be one.
    pub is_named: bool,
}

/// A token in a file, which becomes keys of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentityKeys {
    pub token_file: PathBuf,
    pub role_arn: String,
    pub session_name: String,
}

/// What a container is told its keys by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerKeys {
    pub url: String,
    /// A file with what stands in `Authorization`.
    pub token_file: Option<PathBuf>,
}

impl AwsIdentity {
    /// These keys alone.
    #[must_use]
    pub fn of_keys(keys: AwsKeys) -> Self {
        Self { sources: vec![AwsKeySource::Keys(keys)], sts_endpoint: None }
    }

    /// What the variables say that every program of AWS reads, then the shared files, then the machine. `profile` counts before the
    /// variables.
    #[must_use]
    pub fn from_variables(profile: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|text| !text.is_empty());
        let mut sources = Vec::new();
        let named = profile.map(str::to_owned).or_else(|| set("AWS_PROFILE"));
        if profile.is_none()
            && let (Some(id), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"))
        {
            sources.push(AwsKeySource::Keys(AwsKeys::new(id, secret, set("AWS_SESSION_TOKEN"))));
        }
        let shared = |name: &str, file: &str| {
            let below_home = || Some(PathBuf::from(set("HOME")?).join(".aws").join(file));
            set(name).map(PathBuf::from).or_else(below_home)
        };
        sources.push(AwsKeySource::Profile(ProfileKeys {
            is_named: named.is_some(),
            name: named.unwrap_or_else(|| "default".to_owned()),
            credentials_file: shared("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config_file: shared("AWS_CONFIG_FILE", "config"),
        }));
        if let (Some(token_file), Some(role_arn)) = (set("AWS_WEB_IDENTITY_TOKEN_FILE"), set("AWS_ROLE_ARN")) {
            let session_name = set("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION_NAME.to_owned());
            sources.push(AwsKeySource::WebIdentity(WebIdentityKeys {
                token_file: token_file.into(),
                role_arn,
                session_name,
            }));
        }
        let relative = set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER_HOST}{path}"));
        if let Some(url) = relative.or_else(|| set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            let token_file = set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
            sources.push(AwsKeySource::Container(ContainerKeys { url, token_file }));
        }
        let is_disabled = set("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let instance = set("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE_HOST.to_owned());
        if !is_disabled && let Ok(url) = Url::parse(&instance) {
            sources.push(AwsKeySource::Instance(url));
        }
        let sts_endpoint = set("AWS_ENDPOINT_URL_STS").and_then(|url| Url::parse(&url).ok());
        Self { sources, sts_endpoint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(pairs: &[(&str, &str)], profile: Option<&str>) -> Vec<&'static str> {
        let variable = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let identity = AwsIdentity::from_variables(profile, variable);
        let kind = |source: &AwsKeySource| match source {
            AwsKeySource::Keys(_) => "keys",
            AwsKeySource::Profile(_) => "profile",
            AwsKeySource::WebIdentity(_) => "web identity",
            AwsKeySource::Container(_) => "container",
            AwsKeySource::Instance(_) => "instance",
        };
        identity.sources.iter().map(kind).collect()
    }

    #[test]
    fn sources_of_keys_are_in_the_order_in_which_other_programs_ask_them() {
        let all = [
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("HOME", "/home/me"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x"),
        ];
        assert_eq!(kinds(&all, None), ["keys", "profile", "web identity", "container", "instance"]);
        assert_eq!(kinds(&all, Some("me")), ["profile", "web identity", "container", "instance"]);
        let half = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_EC2_METADATA_DISABLED", "TRUE")];
        assert_eq!(kinds(&half, None), ["profile"], "an id without its secret is no key");
    }
}
