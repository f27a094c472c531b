//! Keys of the role of a machine (EC2), from its metadata service in the second version, which asks for a token first.

use std::time::Duration;

use reqwest::Client;
use url::Url;

use crate::error::AwsError;
use crate::exchange::{KeyAnswer, exchange};
use crate::keys::{FoundKeys, of_json};

const WHOSE: &str = "the metadata service of this machine";
/// It is next door, or not there at all.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
const TOKEN_LIFE_S: &str = "21600";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
const ROLE_CHARS_MAX: usize = 64;

/// None where there is no such service.
pub(crate) async fn keys(client: &Client, endpoint: &Url) -> Result<Option<FoundKeys>, AwsError> {
    let at = |path: &str| endpoint.join(path).map_err(|_| AwsError::Away(format!("{WHOSE} has no such path")));
    let ask = client
        .put(at("/latest/api/token")?)
        .header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_LIFE_S)
        .timeout(ANSWER_TIME_MAX);
    let Ok(answer) = exchange(ask, WHOSE).await else { return Ok(None) };
    if !answer.is_success() {
        let reason = format!("{WHOSE} gives no token: {}", answer.status);
        return if answer.is_busy() { Err(AwsError::Away(reason)) } else { Ok(None) };
    }
    let token = plain_text(&answer.body).ok_or_else(|| AwsError::Away(format!("{WHOSE} gives no readable token")))?;
    let roles = get(client, at(&format!("/{ROLES}"))?, &token).await?;
    if roles.status == 404 {
        return Err(AwsError::no_keys("this machine has no role", "attach an instance profile to it"));
    }
    let role = std::str::from_utf8(&roles.body).ok().and_then(|text| text.lines().next()).map(str::trim);
    let Some(role) = role.filter(|role| roles.is_success() && is_role(role)) else {
        return Err(AwsError::Away(format!("{WHOSE} names no role: {}", roles.status)));
    };
    let answer = get(client, at(&format!("/{ROLES}{role}"))?, &token).await?;
    if !answer.is_success() {
        return Err(AwsError::Away(format!("{WHOSE} gives no keys: {}", answer.status)));
    }
    of_json(&answer.body, WHOSE).map(Some)
}

async fn get(client: &Client, url: Url, token: &str) -> Result<KeyAnswer, AwsError> {
    exchange(client.get(url).header("x-aws-ec2-metadata-token", token).timeout(ANSWER_TIME_MAX), WHOSE).await
}

fn plain_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

/// Whether a text is the name of a role, and no path to something else.
fn is_role(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    (1..=ROLE_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits) && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_role_leads_nowhere_else() {
        assert!(is_role("tidegate+prod=1,a.b@c_d-e"));
        for text in ["", "..", "a/b", "a?b", "a b", &"x".repeat(65)] {
            assert!(!is_role(text), "{text}");
        }
    }
}
