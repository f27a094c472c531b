//! A provider: its description and keys, fetched when they are needed and kept for a while, and the two flows.

use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::algorithm::JsonWebKey;
use crate::error::{OidcError, TokenProblem};
use crate::fetch::{self, shown};
use crate::id_token::{ExpectedToken, verified};
use crate::identity::{ProvenIdentity, is_enough, proven};
use crate::settings::{ProviderSettings, endpoint};

const SECOND_US: i64 = 1_000_000;
/// A description, and keys, are fetched anew after an hour.
const KEPT_US: i64 = 3_600 * SECOND_US;
/// Keys that a token asks for and that are not there are fetched once a minute.
const KEYS_AGAIN_US: i64 = 60 * SECOND_US;
/// A provider that could not be asked is left alone for so long, from when it was asked on: longer than one exchange may take, so that
/// whoever waits behind it is answered and no queue grows.
const REST_US: i64 = 15 * SECOND_US;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How often a device asks, unless the provider says otherwise (RFC 8628), and at most.
const INTERVAL_S: (u64, u64) = (5, 60);
const DEVICE_LIFE_MAX_S: u64 = 1_800;

/// A provider that people sign in at. Nothing is fetched before somebody does.
#[derive(Debug)]
pub struct OidcProvider {
    settings: ProviderSettings,
    client: Result<Client, OidcError>,
    fetched: Mutex<Fetched>,
}

/// What was fetched, and when: microseconds since the Unix epoch, UTC.
#[derive(Debug, Default)]
struct Fetched {
    description: Option<(Arc<ProviderDescription>, i64)>,
    keys: Option<(Arc<Vec<JsonWebKey>>, i64)>,
    /// The description could not be fetched.
    failed: Option<(OidcError, i64)>,
    /// The keys could not.
    keys_failed: Option<(OidcError, i64)>,
}

/// Its discovery document.
#[derive(Debug)]
struct ProviderDescription {
    authorization: Url,
    token: Url,
    keys: Url,
    userinfo: Option<Url>,
    device: Option<Url>,
    end_session: Option<Url>,
    /// The client shows its secret in the body, because the provider takes no header.
    has_secret_in_body: bool,
    /// Answers of the code flow name the issuer (RFC 9207).
    names_issuer: bool,
}

/// One try of the code flow, from its begin to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRequest {
    pub redirect_uri: String,
    pub state: String,
    pub nonce: String,
    /// 43 to 128 characters (RFC 7636).
    pub verifier: String,
}

/// A device flow that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStart {
    /// For the provider alone.
    pub device_code: String,
    /// What the person types.
    pub user_code: String,
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    pub interval_s: u64,
    pub expires_in_s: u64,
}

/// How far a device flow is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicePoll {
    /// Nobody has typed the code yet; ask less often if the provider says so.
    Pending {
        slow_down: bool,
    },
    Proven(ProvenIdentity),
}

/// What a token endpoint gives.
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct DeviceAnswered {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl OidcProvider {
    #[must_use]
    pub fn new(settings: ProviderSettings) -> Self {
        let client = fetch::client(&settings.web);
        Self { settings, client, fetched: Mutex::default() }
    }

    #[must_use]
    pub const fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Where the browser goes to.
    ///
    /// # Errors
    /// The provider cannot be asked how it is used.
    pub async fn authorization_url(&self, request: &CodeRequest, now_us: i64) -> Result<Url, OidcError> {
        let description = self.description(now_us).await?;
        let mut url = description.authorization.clone();
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, request.verifier.as_bytes()).as_ref());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", request.redirect_uri.as_str())
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &request.state)
            .append_pair("nonce", &request.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who came back with this code. `issuer` is what the answer named as its issuer.
    ///
    /// # Errors
    /// The provider cannot be asked, or says no, or what it says is not believed.
    pub async fn redeem(
        &self,
        request: &CodeRequest,
        code: &str,
        issuer: Option<&str>,
        now_us: i64,
    ) -> Result<ProvenIdentity, OidcError> {
        let description = self.description(now_us).await?;
        let is_named_wrong = issuer.is_some_and(|issuer| issuer != self.settings.issuer);
        if is_named_wrong || (issuer.is_none() && description.names_issuer) {
            return Err(TokenProblem::Issuer.into());
        }
        let fields: [(&str, &str); 4] = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &request.redirect_uri),
            ("code_verifier", request.verifier.as_str()),
        ];
        let request_of_token = self.posted(&description, &description.token, &fields)?;
        let answer = fetch::send(request_of_token, description.token.as_str()).await?.taken()?;
        self.identity(&description, answer, Some(&request.nonce), now_us).await
    }

    /// Begins a device flow.
    ///
    /// # Errors
    /// The provider has none, cannot be asked, or says no.
    pub async fn start_device(&self, now_us: i64) -> Result<DeviceStart, OidcError> {
        let description = self.description(now_us).await?;
        let device = description.device.as_ref().ok_or(OidcError::NoDeviceFlow)?;
        let scopes = self.settings.scopes.join(" ");
        let request = self.posted(&description, device, &[("scope", scopes.as_str())])?;
        let answer = fetch::send(request, device.as_str()).await?.taken()?;
        let answered: DeviceAnswered = read(device, answer)?;
        let complete = answered.verification_uri_complete.filter(|uri| is_page(uri));
        if !is_page(&answered.verification_uri) {
            return Err(not_understood(device, &"`verification_uri` is no page of the web"));
        }
        Ok(DeviceStart {
            device_code: answered.device_code,
            user_code: shown(&answered.user_code),
            verification_uri: answered.verification_uri,
            verification_uri_complete: complete,
            interval_s: answered.interval.unwrap_or(INTERVAL_S.0).clamp(1, INTERVAL_S.1),
            expires_in_s: answered.expires_in.min(DEVICE_LIFE_MAX_S),
        })
    }

    /// Asks whether the person has typed the code.
    ///
    /// # Errors
    /// The provider cannot be asked, or says no, or what it says is not believed.
    pub async fn poll_device(&self, device_code: &str, now_us: i64) -> Result<DevicePoll, OidcError> {
        let description = self.description(now_us).await?;
        let fields = [("grant_type", DEVICE_GRANT), ("device_code", device_code)];
        let request = self.posted(&description, &description.token, &fields)?;
        match fetch::send(request, description.token.as_str()).await?.taken() {
            Ok(answer) => self.identity(&description, answer, None, now_us).await.map(DevicePoll::Proven),
            Err(OidcError::Refused { error, .. }) if error == "authorization_pending" => {
                Ok(DevicePoll::Pending { slow_down: false })
            }
            Err(OidcError::Refused { error, .. }) if error == "slow_down" => {
                Ok(DevicePoll::Pending { slow_down: true })
            }
            Err(error) => Err(error),
        }
    }

    /// Where a browser signs out at the provider as well, if it has a page for that. `back` is where it comes back to.
    ///
    /// # Errors
    /// The provider cannot be asked how it is used.
    pub async fn end_session_url(&self, back: Option<&str>, now_us: i64) -> Result<Option<Url>, OidcError> {
        let description = self.description(now_us).await?;
        let Some(mut url) = description.end_session.clone() else { return Ok(None) };
        url.query_pairs_mut().append_pair("client_id", &self.settings.client_id);
        if let Some(back) = back {
            url.query_pairs_mut().append_pair("post_logout_redirect_uri", back);
        }
        Ok(Some(url))
    }

    /// The person that a token endpoint tells of.
    async fn identity(
        &self,
        description: &ProviderDescription,
        answer: Value,
        nonce: Option<&str>,
        now_us: i64,
    ) -> Result<ProvenIdentity, OidcError> {
        let answer: TokenAnswer = read(&description.token, answer)?;
        let token = Zeroizing::new(answer.id_token.ok_or(TokenProblem::Absent)?);
        let expected =
            ExpectedToken { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce, now_us };
        let keys = self.keys(description, KEPT_US, now_us).await?;
        let mut claims = match verified(&token, &keys, &expected) {
            // It may be a key of this morning.
            Err(TokenProblem::NoKey | TokenProblem::Signature) => {
                let keys = self.keys(description, KEYS_AGAIN_US, now_us).await?;
                verified(&token, &keys, &expected)?
            }
            other => other?,
        };
        if let (false, Some(userinfo), Some(access)) =
            (is_enough(&claims, &self.settings), &description.userinfo, answer.access_token)
        {
            self.add_userinfo(&mut claims, userinfo, Zeroizing::new(access)).await?;
        }
        Ok(proven(&claims, &self.settings)?)
    }

    /// Adds claims that the ID token does not have. What it has stays.
    async fn add_userinfo(
        &self,
        claims: &mut Map<String, Value>,
        userinfo: &Url,
        access: Zeroizing<String>,
    ) -> Result<(), OidcError> {
        let request = self.client()?.get(userinfo.clone()).header(ACCEPT, "application/json");
        let request = request.header(AUTHORIZATION, credentials(&format!("Bearer {}", *access))?);
        let more = fetch::send(request, userinfo.as_str()).await?.taken()?;
        let Value::Object(more) = more else { return Err(not_understood(userinfo, &"it is no object")) };
        if more.get("sub") != claims.get("sub") {
            return Err(TokenProblem::OtherSubject.into());
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// A form for an endpoint, with what the client is known by.
    fn posted(
        &self,
        description: &ProviderDescription,
        url: &Url,
        fields: &[(&str, &str)],
    ) -> Result<RequestBuilder, OidcError> {
        let ProviderSettings { client_id, client_secret, .. } = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut request = self.client()?.post(url.clone()).header(ACCEPT, "application/json");
        match client_secret {
            Some(secret) if !description.has_secret_in_body => {
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
                request =
                    request.header(AUTHORIZATION, credentials(&format!("Basic {}", BASE64.encode(pair.as_bytes())))?);
            }
            Some(secret) => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose());
            }
            None => {
                form.append_pair("client_id", client_id);
            }
        }
        Ok(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish()))
    }

    fn client(&self) -> Result<&Client, OidcError> {
        self.client.as_ref().map_err(Clone::clone)
    }

    /// Its description, as it was within the last hour. One that cannot be fetched anew goes on.
    async fn description(&self, now_us: i64) -> Result<Arc<ProviderDescription>, OidcError> {
        let mut fetched = self.fetched.lock().await;
        if let Some((description, at_us)) = &fetched.description
            && is_within(*at_us, KEPT_US, now_us)
        {
            return Ok(Arc::clone(description));
        }
        let before = fetched.description.as_ref().map(|(description, _)| Arc::clone(description));
        if let Some((error, at_us)) = &fetched.failed
            && is_within(*at_us, REST_US, now_us)
        {
            return before.ok_or_else(|| error.clone());
        }
        match self.fetch_description().await {
            Ok(description) => {
                let description = Arc::new(description);
                fetched.failed = None;
                fetched.description = Some((Arc::clone(&description), now_us));
                Ok(description)
            }
            Err(error) => {
                fetched.failed = Some((error.clone(), now_us));
                before.ok_or(error)
            }
        }
    }

    async fn fetch_description(&self) -> Result<ProviderDescription, OidcError> {
        let issuer = &self.settings.issuer;
        let text = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let wrong = |what: &str| OidcError::Discovery(what.to_owned());
        let (url, of) = (Url::parse(&text).ok(), Url::parse(issuer).ok());
        let (url, of) = url.zip(of).ok_or_else(|| wrong("the issuer is no URL"))?;
        let request = self.client()?.get(url).header(ACCEPT, "application/json");
        let found = fetch::send(request, &text).await?.taken()?;
        if found.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            let named = found.get("issuer").and_then(Value::as_str).map_or("nobody".to_owned(), shown);
            return Err(OidcError::Discovery(format!("its issuer is {named:?}, and `issuer` says {issuer:?}")));
        }
        let named = |name: &str| found.get(name).and_then(Value::as_str);
        let needed = |name: &str| {
            let text = named(name).ok_or_else(|| OidcError::Discovery(format!("it names no {name}")))?;
            endpoint(&of, text)
        };
        let perhaps = |name: &str| named(name).map(|text| endpoint(&of, text)).transpose();
        let methods = found.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let has = |method: &str| methods.is_some_and(|methods| methods.iter().any(|known| known == method));
        Ok(ProviderDescription {
            authorization: needed("authorization_endpoint")?,
            token: needed("token_endpoint")?,
            keys: needed("jwks_uri")?,
            userinfo: perhaps("userinfo_endpoint")?,
            device: perhaps("device_authorization_endpoint")?,
            end_session: perhaps("end_session_endpoint")?,
            has_secret_in_body: has("client_secret_post") && !has("client_secret_basic"),
            names_issuer: found.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }

    /// Its keys, no older than `age_max_us`.
    async fn keys(
        &self,
        description: &ProviderDescription,
        age_max_us: i64,
        now_us: i64,
    ) -> Result<Arc<Vec<JsonWebKey>>, OidcError> {
        let mut fetched = self.fetched.lock().await;
        if let Some((keys, at_us)) = &fetched.keys
            && is_within(*at_us, age_max_us, now_us)
        {
            return Ok(Arc::clone(keys));
        }
        if let Some((error, at_us)) = &fetched.keys_failed
            && is_within(*at_us, REST_US, now_us)
        {
            return Err(error.clone());
        }
        match self.fetch_keys(&description.keys).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                fetched.keys_failed = None;
                fetched.keys = Some((Arc::clone(&keys), now_us));
                Ok(keys)
            }
            Err(error) => {
                fetched.keys_failed = Some((error.clone(), now_us));
                Err(error)
            }
        }
    }

    async fn fetch_keys(&self, url: &Url) -> Result<Vec<JsonWebKey>, OidcError> {
        let request = self.client()?.get(url.clone()).header(ACCEPT, "application/json");
        let set = fetch::send(request, url.as_str()).await?.taken()?;
        JsonWebKey::of_set(&set).ok_or_else(|| not_understood(url, &"it is no set of keys"))
    }
}

/// A clock that was put back makes nothing older.
fn is_within(at_us: i64, age_max_us: i64, now_us: i64) -> bool {
    (0..age_max_us).contains(&now_us.saturating_sub(at_us))
}

/// An answer as what it should be. What is wrong with it is told without its texts, which may be secret.
fn read<T: DeserializeOwned>(url: &Url, answer: Value) -> Result<T, OidcError> {
    if !answer.is_object() {
        return Err(not_understood(url, &"it is no object"));
    }
    T::deserialize(answer).map_err(|_| not_understood(url, &"a field is missing, or is of another type"))
}

fn not_understood(url: &Url, reason: &dyn std::fmt::Display) -> OidcError {
    OidcError::Answer { url: url.to_string(), reason: reason.to_string() }
}

/// Whether a person may be told to open this.
fn is_page(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The value of an `Authorization` header, which never prints.
fn credentials(text: &str) -> Result<HeaderValue, OidcError> {
    let mut value = HeaderValue::try_from(text).map_err(|error| OidcError::Setup(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_answer_says_where_it_does_not_fit_is_not_repeated() {
        let url = Url::parse("https://a.example/token").unwrap();
        for answer in [json!("hunter2"), json!(["hunter2"]), json!({ "id_token": { "hunter2": 1 } })] {
            let error = read::<TokenAnswer>(&url, answer).err().unwrap().to_string();
            assert!(error.contains("cannot be understood") && !error.contains("hunter2"), "{error}");
        }
        let device = json!({ "device_code": "c", "user_code": "u", "verification_uri": "v", "expires_in": "hunter2" });
        let error = read::<DeviceAnswered>(&url, device).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(read::<TokenAnswer>(&url, json!({ "id_token": "x", "more": 1 })).is_ok());
    }
}
