//! Keys that a container is given: ECS, and EKS with its pod identity.

use std::net::IpAddr;

use reqwest::Client;
use tidegate_document::file;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::error::AwsError;
use crate::exchange::{EXCHANGE_TIME_MAX, exchange};
use crate::identity::ContainerKeys;
use crate::keys::{FoundKeys, of_json};

const WHOSE: &str = "the service of AWS_CONTAINER_CREDENTIALS";
/// Of ECS and EKS. Nothing else hears a token without encryption.
const KNOWN_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

pub(crate) async fn keys(client: &Client, source: &ContainerKeys) -> Result<FoundKeys, AwsError> {
    let url = Url::parse(&source.url).ok().filter(is_allowed).ok_or_else(|| {
        AwsError::no_keys(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI names no place that keys may come from",
            "write one that begins with https://, or an address of this machine or of ECS or EKS",
        )
    })?;
    let mut request = client.get(url).header("accept", "application/json").timeout(EXCHANGE_TIME_MAX);
    if let Some(path) = &source.token_file {
        let token = file::read_text(path, file::SECRET_BYTES_MAX).map(Zeroizing::new).map_err(|error| {
            let reason = format!("the token in {} cannot be read: {error}", path.display());
            AwsError::no_keys(reason, "see to AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        })?;
        request = request.header("authorization", token.trim());
    }
    let answer = exchange(request, WHOSE).await?;
    if answer.is_success() {
        return of_json(&answer.body, WHOSE);
    }
    let reason = format!("{WHOSE} gives no keys: {} {}", answer.status, answer.shown());
    if answer.is_busy() {
        return Err(AwsError::Away(reason));
    }
    Err(AwsError::no_keys(reason, "give the task or the pod a role"))
}

fn is_allowed(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(name)) => return url.scheme() == "https" || name == "localhost",
        None => return false,
    };
    let is_known = || KNOWN_HOSTS.iter().any(|known| known.parse::<IpAddr>() == Ok(address));
    url.scheme() == "https" || (url.scheme() == "http" && (address.is_loopback() || is_known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_but_to_the_services_that_give_keys() {
        let is = |url: &str| is_allowed(&Url::parse(url).unwrap());
        for url in [
            "http://169.254.170.2/v2/x",
            "http://[fd00:ec2::23]/v1",
            "https://keys.example.com/",
            "http://127.0.0.1:9/",
        ] {
            assert!(is(url), "{url}");
        }
        for url in ["http://169.254.169.254/", "http://keys.example.com/", "http://10.0.0.1/", "file:///etc/passwd"] {
            assert!(!is(url), "{url}");
        }
    }
}
