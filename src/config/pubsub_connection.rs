//! How Google Pub/Sub is reached, as sources and destinations say it alike: `project`, `endpoint`, `credentials`.

use std::path::PathBuf;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_net::WebSettings;
use tidegate_stream_pubsub::{CredentialsPlace, PubsubConnection, PubsubEndpoint};
use url::Url;
use zeroize::Zeroizing;

use super::surroundings::ObjectInputs;

/// Where the environment names a file of credentials.
const CREDENTIALS_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// How the hosts end that tokens are sent to.
const GOOGLES: &str = ".googleapis.com";
const PROJECT_CHARS_MAX: usize = 100;

/// None where something is wrong, or a secret is not at hand.
pub(super) fn connection(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, web: WebSettings) -> Option<PubsubConnection> {
    let project = project(f);
    let endpoint = endpoint(f, inputs);
    Some(PubsubConnection { project: project?, endpoint: endpoint?, web })
}

fn project(f: &mut Fields<'_>) -> Option<String> {
    let project = f.required("project", "my-project")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
    if project.is_empty() || project.len() > PROJECT_CHARS_MAX || !project.chars().all(fits) {
        let message = format!("`project` is {:?}, which is no project", shortened(&project, QUOTED_CHARS_MAX));
        f.problem("project", message, "write the id of the project, as `gcloud projects list` shows it");
        return None;
    }
    Some(project)
}

/// An emulator, or Google itself.
fn endpoint(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<PubsubEndpoint> {
    const FIX: &str = "write `endpoint: 127.0.0.1:8085` for an emulator, or `endpoint: https://europe-west1-pubsub.googleapis.com` \
                       for one of Google's regions";
    let written = f.text("endpoint");
    if written.is_none() && f.has("endpoint") {
        return None;
    }
    let Some(written) = written else {
        return Some(PubsubEndpoint::Google { host: None, credentials: credentials(f, inputs)? });
    };
    let host = host_of(&written);
    if host.is_none() {
        let message = format!("`endpoint` is {:?}, which is no address", shortened(&written, QUOTED_CHARS_MAX));
        f.problem("endpoint", message, FIX);
    }
    if written.starts_with("https://") {
        let credentials = credentials(f, inputs);
        // A token goes there, perhaps that of the machine.
        if host.as_ref().is_some_and(|host| !host.ends_with(GOOGLES)) {
            let message = format!("`endpoint` is {:?}, which is not Google's", shortened(&written, QUOTED_CHARS_MAX));
            f.problem("endpoint", message, FIX);
            return None;
        }
        return Some(PubsubEndpoint::Google { host: Some(host?), credentials: credentials? });
    }
    for field in ["credentials", "credentials_json"] {
        if f.text(field).is_some() {
            let message = format!("`{field}` would travel to `endpoint` without TLS");
            f.problem(field, message, "take it away: an emulator asks for none");
        }
    }
    Some(PubsubEndpoint::Emulator(host?))
}

/// `host` or `host:port`, of an address with or without its scheme.
fn host_of(written: &str) -> Option<String> {
    let whole = if written.contains("://") { written.to_owned() } else { format!("http://{written}") };
    let url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| is_bare)?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// `credentials`, `credentials_json`, the file that the environment names, or the machine's own.
fn credentials(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<CredentialsPlace> {
    let file = f.text("credentials");
    let key = f.text("credentials_json");
    match (f.has("credentials"), f.has("credentials_json")) {
        (true, true) => {
            f.problem(
                "credentials_json",
                "`credentials` and `credentials_json` are both there",
                "take one of them away",
            );
            None
        }
        (true, false) => {
            let path = inputs.secret_file(f, "credentials", &file?)?;
            Some(of_file(path, inputs))
        }
        (false, true) => Some(CredentialsPlace::Key(Zeroizing::new(key?))),
        (false, false) => Some(match inputs.ambient(CREDENTIALS_VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => of_file(PathBuf::from(path), inputs),
            None => CredentialsPlace::Machine,
        }),
    }
}

fn of_file(path: PathBuf, inputs: &ObjectInputs<'_>) -> CredentialsPlace {
    inputs.depends_on(&path, file::SECRET_BYTES_MAX);
    CredentialsPlace::File(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_perhaps_a_port() {
        for (written, host) in [
            ("127.0.0.1:8085", Some("127.0.0.1:8085")),
            ("http://[::1]:8085", Some("[::1]:8085")),
            ("https://europe-west1-pubsub.googleapis.com", Some("europe-west1-pubsub.googleapis.com")),
            ("localhost", Some("localhost")),
            ("ftp://a", None),
            ("http://a/b", None),
            ("http://me:s3cr3t@a", None),
            ("a b", None),
        ] {
            assert_eq!(host_of(written).as_deref(), host, "{written}");
        }
    }
}
