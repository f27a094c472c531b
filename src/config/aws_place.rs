//! Where a service of AWS is reached and who we are there, as sources and destinations say it alike: `region`, `endpoint`, `access_key_id`,
//! `secret_access_key`, `session_token`, `profile`.

use tidegate_aws::{AwsIdentity, AwsKeys};
use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use url::Url;

use super::surroundings::ObjectInputs;

const REGION_CHARS_MAX: usize = 40;
/// What signatures for an endpoint name that nobody has given a region.
const REGION_OF_ENDPOINTS: &str = "us-east-1";

/// A region or an endpoint, and where keys come from.
pub(super) struct AwsPlace {
    pub(super) region: String,
    pub(super) endpoint: Option<Url>,
    pub(super) identity: AwsIdentity,
}

/// None where something is wrong, or a secret is not at hand. `service` is how the variable of its endpoint ends: `KINESIS`.
pub(super) fn aws_place(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, service: &str) -> Option<AwsPlace> {
    let endpoint = endpoint(f, inputs, service);
    let has_endpoint = !matches!(endpoint, Some(None));
    let region = region(f, inputs, has_endpoint);
    let identity = identity(f, inputs);
    Some(AwsPlace { region: region?, endpoint: endpoint?, identity: identity? })
}

fn ambient(inputs: &ObjectInputs<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| inputs.ambient(name).filter(|text| !text.is_empty()))
}

/// `Some(None)` where nobody names one.
fn endpoint(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, service: &str) -> Option<Option<Url>> {
    let of_service = format!("AWS_ENDPOINT_URL_{service}");
    let written = match f.text("endpoint") {
        Some(text) => Some(text),
        None if f.has("endpoint") => return None,
        None => ambient(inputs, &[of_service.as_str(), "AWS_ENDPOINT_URL"]),
    };
    let Some(text) = written else { return Some(None) };
    let url = Url::parse(&text).ok();
    if let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Some(Some(url));
    }
    let message = format!("`endpoint` is {:?}, which is no address", shortened(&text, QUOTED_CHARS_MAX));
    f.problem("endpoint", message, "write one such as http://127.0.0.1:4566, or take it away (and AWS_ENDPOINT_URL)");
    None
}

fn region(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, has_endpoint: bool) -> Option<String> {
    const FIX: &str = "write the region, such as eu-west-1, or set AWS_REGION";
    let region = match f.text("region") {
        Some(text) => text,
        None if f.has("region") => return None,
        None => match ambient(inputs, &["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            Some(region) => region,
            None if has_endpoint => REGION_OF_ENDPOINTS.to_owned(),
            None => {
                f.problem("region", "nothing says which region it is", FIX);
                return None;
            }
        },
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=REGION_CHARS_MAX).contains(&region.len()) && region.bytes().all(fits) {
        return Some(region);
    }
    let message = format!("`region` is {:?}, which is none", shortened(&region, QUOTED_CHARS_MAX));
    f.problem("region", message, FIX);
    None
}

fn identity(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<AwsIdentity> {
    let (id, secret, token) = (f.text("access_key_id"), f.text("secret_access_key"), f.text("session_token"));
    let profile = f.text("profile");
    let names = ["access_key_id", "secret_access_key", "session_token"];
    if let Some(name) = names.into_iter().find(|name| f.has(name)) {
        if f.has("profile") {
            f.problem("profile", format!("`profile` and `{name}` are both there"), "take one of them away");
            return None;
        }
        for name in ["access_key_id", "secret_access_key"] {
            if !f.has(name) {
                let message = format!("there are keys of AWS without `{name}`");
                f.problem(name, message, format!("add `{name}`, or leave all keys out for those of the environment"));
                return None;
            }
        }
        if token.is_none() && f.has("session_token") {
            return None;
        }
        return Some(AwsIdentity::of_keys(AwsKeys::new(id?, secret?, token)));
    }
    if profile.is_none() && f.has("profile") {
        return None;
    }
    Some(AwsIdentity::from_variables(profile.as_deref(), |name| inputs.ambient(name)))
}
