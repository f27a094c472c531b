//! Keys of the shared files, `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tidegate_document::file;

use crate::error::AwsError;
use crate::identity::{ProfileKeys, WebIdentityKeys};
use crate::keys::AwsKeys;

/// What a profile says.
#[derive(Debug)]
pub(crate) enum ProfileSays {
    Keys(AwsKeys),
    WebIdentity(WebIdentityKeys),
}

/// Reads the profile; none where nobody asked for one and there is none.
pub(crate) fn read(profile: &ProfileKeys) -> Result<Option<ProfileSays>, AwsError> {
    let mut fields = BTreeMap::new();
    // What stands in both, the file of credentials says.
    for (path, is_config) in [(&profile.config_file, true), (&profile.credentials_file, false)] {
        let Some(path) = path else { continue };
        let Some(text) = text(path)? else { continue };
        fields.extend(section(&text, &profile.name, is_config));
    }
    let name = &profile.name;
    if fields.is_empty() {
        if !profile.is_named {
            return Ok(None);
        }
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let files: Vec<String> =
            [&profile.credentials_file, &profile.config_file].into_iter().filter_map(shown).collect();
        let reason = format!("there is no AWS profile {name} in {}", files.join(" or "));
        return Err(AwsError::no_keys(reason, "write the profile there, or name another one with `profile`"));
    }
    let mut take = |field: &str| fields.remove(field).filter(|value| !value.is_empty());
    if let (Some(id), Some(secret)) = (take("aws_access_key_id"), take("aws_secret_access_key")) {
        return Ok(Some(ProfileSays::Keys(AwsKeys::new(id, secret, take("aws_session_token")))));
    }
    if let (Some(token_file), Some(role_arn)) = (take("web_identity_token_file"), take("role_arn")) {
        let session_name = take("role_session_name").unwrap_or_else(|| "tidegate".to_owned());
        let keys = WebIdentityKeys { token_file: token_file.into(), role_arn, session_name };
        return Ok(Some(ProfileSays::WebIdentity(keys)));
    }
    if !profile.is_named {
        return Ok(None);
    }
    let reason = format!("the AWS profile {name} has no keys");
    let advice = "write aws_access_key_id and aws_secret_access_key into it, or web_identity_token_file and role_arn; profiles that sign in \
                  with SSO, run a program or take the role of another profile are not read here: `aws configure export-credentials` \
                  writes keys of such a profile";
    Err(AwsError::no_keys(reason, advice))
}

fn text(path: &Path) -> Result<Option<String>, AwsError> {
    match file::read_text(path, file::SECRET_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let reason = format!("{} cannot be read: {error}", path.display());
            Err(AwsError::no_keys(reason, "see to the file's owner and rights"))
        }
    }
}

/// The fields of a profile. In the file of configuration its section is called `profile NAME`, but for `default`.
fn section(text: &str, name: &str, is_config: bool) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut is_within = false;
    for line in file::without_mark(text).lines() {
        if let Some(header) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let header = header.trim();
            let named = header.strip_prefix("profile").filter(|rest| rest.starts_with(char::is_whitespace));
            is_within = match named {
                Some(named) => is_config && named.trim() == name,
                None => header == name && (!is_config || name == "default"),
            };
            continue;
        }
        // An indented line belongs to the field above, which is none that is read here.
        let is_field = is_within && !line.starts_with([' ', '\t', '#', ';']);
        if let Some((field, value)) = line.split_once('=').filter(|_| is_field) {
            fields.insert(field.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(folder: &Path, name: &str, is_named: bool) -> ProfileKeys {
        let file = |name: &str| -> Option<PathBuf> { Some(folder.join(name)) };
        ProfileKeys {
            name: name.to_owned(),
            credentials_file: file("credentials"),
            config_file: file("config"),
            is_named,
        }
    }

    #[test]
    fn keys_of_a_profile_are_found_in_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=B\n\n[work]\nAWS_ACCESS_KEY_ID = C\n\
                           aws_secret_access_key = D=\naws_session_token = E\n";
        let config = "[default]\nregion = eu-west-1\n[profile work]\naws_access_key_id = old\ns3 =\n  aws_session_token = no\n\
                      [profile role]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /token\n[profile sso]\nsso_session = x\n";
        std::fs::write(folder.path().join("credentials"), credentials).unwrap();
        std::fs::write(folder.path().join("config"), config).unwrap();
        let keys = |name: &str| match read(&profile(folder.path(), name, true)) {
            Ok(Some(ProfileSays::Keys(keys))) => {
                let token = keys.session_token.as_ref().map(|token| token.to_string());
                (keys.access_key_id.clone(), keys.secret_access_key.to_string(), token)
            }
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(keys("default"), ("A".to_owned(), "B".to_owned(), None));
        assert_eq!(keys("work"), ("C".to_owned(), "D=".to_owned(), Some("E".to_owned())));
        let role = read(&profile(folder.path(), "role", true)).unwrap();
        let Some(ProfileSays::WebIdentity(role)) = role else { panic!("no role") };
        assert_eq!((role.token_file, role.session_name), (PathBuf::from("/token"), "tidegate".to_owned()));
        for (name, words) in [("sso", "has no keys"), ("none", "there is no AWS profile none")] {
            let error = read(&profile(folder.path(), name, true)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_profile_that_nobody_named_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&profile(folder.path(), "default", false)).unwrap().is_none());
        assert!(read(&profile(folder.path(), "default", true)).is_err());
    }
}
