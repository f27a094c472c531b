//! Keys of a role for a token in a file, as Kubernetes (EKS, IRSA) and others put it there.

use reqwest::Client;
use tidegate_document::file;
use tidegate_event::time;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::error::AwsError;
use crate::exchange::{EXCHANGE_TIME_MAX, exchange};
use crate::identity::WebIdentityKeys;
use crate::keys::{AwsKeys, FoundKeys};

/// Where tokens become keys in a region.
pub(crate) fn sts_of(region: &str) -> Option<Url> {
    let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://sts.{region}.{end}/")).ok()
}

pub(crate) async fn keys(client: &Client, sts: &Url, source: &WebIdentityKeys) -> Result<FoundKeys, AwsError> {
    let path = &source.token_file;
    let token = file::read_text(path, file::SECRET_BYTES_MAX).map(Zeroizing::new).map_err(|error| {
        let reason = format!("the token in {} cannot be read: {error}", path.display());
        AwsError::no_keys(reason, "see to AWS_WEB_IDENTITY_TOKEN_FILE, and to what is mounted there")
    })?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", &source.role_arn)
        .append_pair("RoleSessionName", &source.session_name)
        .append_pair("WebIdentityToken", token.trim())
        .finish();
    let request = client
        .post(sts.clone())
        .header("content-type", "application/x-www-form-urlencoded")
        .timeout(EXCHANGE_TIME_MAX)
        .body(form);
    let whose = format!("STS at {}", sts.host_str().unwrap_or_default());
    let answer = exchange(request, &whose).await?;
    if answer.is_success() {
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        return of_xml(text).ok_or_else(|| AwsError::Away(format!("{whose} answers with something else than keys")));
    }
    let shown = answer.shown();
    let named = element(&shown, "Message").or_else(|| element(&shown, "Code")).unwrap_or(&shown);
    let reason = format!("{whose} gives no keys of the role {}: {} {named}", source.role_arn, answer.status);
    // A token that has just ended is replaced soon.
    if answer.is_busy() || shown.contains("ExpiredToken") || shown.contains("IDPCommunicationError") {
        return Err(AwsError::Away(reason));
    }
    let advice = "see to AWS_ROLE_ARN, and let the role's trust policy allow sts:AssumeRoleWithWebIdentity to this token's issuer and subject";
    Err(AwsError::no_keys(reason, advice))
}

fn of_xml(text: &str) -> Option<FoundKeys> {
    let value = |name: &str| element(text, name).filter(|value| !value.is_empty()).map(str::to_owned);
    let keys = AwsKeys::new(value("AccessKeyId")?, value("SecretAccessKey")?, Some(value("SessionToken")?));
    Some(FoundKeys { keys, ends_at_us: Some(time::parse(element(text, "Expiration")?)?) })
}

/// The text of the first element of this name. What keys are made of needs no escapes.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_out_of_an_answer_of_sts() {
        let answer = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n<AssumeRoleWithWebIdentityResult>\
                      <Credentials><SessionToken>AQo/x==</SessionToken>\n<SecretAccessKey> wJ+ </SecretAccessKey>\
                      <Expiration>2014-10-24T23:00:23Z</Expiration><AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId></Credentials>";
        let found = of_xml(answer).unwrap();
        assert_eq!(found.keys.access_key_id, "ASgeIAIOSFODNN7EXAMPLE");
        assert_eq!(found.keys.secret_access_key.as_str(), "wJ+");
        assert_eq!(found.ends_at_us, time::parse("2014-10-24T23:00:23Z"));
        for torn in ["", "<AccessKeyId>a", "<AccessKeyId>a</AccessKeyId>", "<Expiration></Expiration>"] {
            assert!(of_xml(torn).is_none(), "{torn}");
        }
    }

    #[test]
    fn regions_of_china_have_an_ending_of_their_own() {
        let host = |region: &str| sts_of(region).unwrap().host_str().unwrap().to_owned();
        assert_eq!(host("eu-west-1"), "sts.eu-west-1.amazonaws.com");
        assert_eq!(host("cn-north-1"), "sts.cn-north-1.amazonaws.com.cn");
    }
}
