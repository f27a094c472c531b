//! Files on their way into an internal stage.
//!
//! `PUT` is a statement that uploads nothing: it answers where to upload to, and with what credentials, which depends on
//! the cloud that the account is in. The stage is one of the router's own, encrypted by the far side, because files for
//! the other kind would have to be encrypted by the client.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt, RetryConfig};
use serde_json::Value;

use super::error::SnowflakeError;
use super::http::{self, Http};
use super::session::SnowflakeSession;

const UPLOAD_TIME_MAX: Duration = Duration::from_secs(300);
const SENDINGS: u32 = 3;

/// Where one file goes.
#[derive(Debug, PartialEq, Eq)]
enum StageTarget {
    /// An address that is signed or guarded by a token, and the headers it wants.
    Web { url: String, headers: Vec<(&'static str, String)> },
    S3 {
        bucket: String,
        key: String,
        region: String,
        endpoint: Option<String>,
        id: String,
        secret: String,
        token: String,
    },
}

/// Which file of a stage.
pub(super) struct StagePlace<'a> {
    pub(super) stage: &'a str,
    pub(super) folder: &'a str,
    pub(super) name: &'a str,
}

/// Puts a file into the stage, over one that may be there.
pub(super) async fn put(
    session: &mut SnowflakeSession,
    http: &Http,
    place: &StagePlace<'_>,
    file: Vec<u8>,
) -> Result<(), SnowflakeError> {
    let StagePlace { stage, folder, name } = *place;
    let sql = format!(
        "PUT 'file:///tmp/{name}' @{stage}/{folder} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP OVERWRITE = TRUE"
    );
    let answer = session.run("asking where to upload to", &sql).await?;
    if answer.data["encryptionMaterial"].as_object().is_some_and(|material| !material.is_empty()) {
        let problem = "the stage wants files that the client has encrypted".to_owned();
        return Err(SnowflakeError::Upload { problem, lasting: true });
    }
    let target = target(&answer.data["stageInfo"], name)?;
    let file = bytes::Bytes::from(file);
    let mut sending = 0;
    loop {
        let sent = match &target {
            StageTarget::Web { url, headers } => put_web(http, url, headers, file.clone()).await,
            StageTarget::S3 { .. } => put_s3(http, &target, file.clone()).await,
        };
        sending += 1;
        match sent {
            Err(error) if error.is_of_the_way() && sending < SENDINGS => {
                tokio::time::sleep(Duration::from_millis(100 << sending)).await;
            }
            other => return other,
        }
    }
}

/// Reads the answer to PUT.
fn target(info: &Value, name: &str) -> Result<StageTarget, SnowflakeError> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let wrong = |problem: String| SnowflakeError::Upload { problem, lasting: true };
    let location = text(&info["location"]).unwrap_or_default();
    let (container, folder) = location.split_once('/').unwrap_or((&location, ""));
    let separator = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
    let key = format!("{folder}{separator}{name}");
    let endpoint =
        text(&info["endPoint"]).map(|host| if host.contains("://") { host } else { format!("https://{host}") });
    let credential = |name: &str| text(&info["creds"][name]).ok_or_else(|| wrong(format!("the stage gives no {name}")));
    let kind = info["locationType"].as_str().unwrap_or_default();
    match kind.to_ascii_uppercase().as_str() {
        "GCS" => {
            if let Some(url) = text(&info["presignedUrl"]) {
                return Ok(StageTarget::Web { url, headers: Vec::new() });
            }
            let token = credential("GCS_ACCESS_TOKEN")?;
            let base = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
            let headers = vec![("Authorization", format!("Bearer {token}"))];
            Ok(StageTarget::Web { url: format!("{base}/{container}/{}", escaped(&key)), headers })
        }
        "AZURE" => {
            let token = credential("AZURE_SAS_TOKEN")?;
            let account = text(&info["storageAccount"]).unwrap_or_default();
            let base = match endpoint {
                Some(base) if base.starts_with("http://") => base,
                Some(base) => base.replacen("://", &format!("://{account}."), 1),
                None => format!("https://{account}.blob.core.windows.net"),
            };
            let url = format!("{base}/{container}/{}?{}", escaped(&key), token.trim_start_matches('?'));
            Ok(StageTarget::Web { url, headers: vec![("x-ms-blob-type", "BlockBlob".to_owned())] })
        }
        "S3" => Ok(StageTarget::S3 {
            bucket: container.to_owned(),
            key,
            region: text(&info["region"]).ok_or_else(|| wrong("the stage gives no region".to_owned()))?,
            endpoint,
            id: credential("AWS_KEY_ID")?,
            secret: credential("AWS_SECRET_KEY")?,
            token: credential("AWS_TOKEN")?,
        }),
        other => Err(wrong(format!("the stage is at a place of the unknown kind {other:?}"))),
    }
}

/// A key as an address spells it.
fn escaped(key: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
    percent_encoding::utf8_percent_encode(key, KEPT).to_string()
}

async fn put_web(
    http: &Http,
    url: &str,
    headers: &[(&'static str, String)],
    file: bytes::Bytes,
) -> Result<(), SnowflakeError> {
    if url.starts_with("http://") && !http.is_plain() {
        return Err(SnowflakeError::Upload { problem: "the address is not encrypted".to_owned(), lasting: true });
    }
    let mut request = http.client.put(url).timeout(UPLOAD_TIME_MAX).header("Content-Type", "application/octet-stream");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let (status, body) = http::send(request.body(file), "uploading a file").await?;
    if status.is_success() { Ok(()) } else { Err(http::unexpected(status, &body, "uploading a file")) }
}

/// Gives the house's own connections to the signer of requests.
#[derive(Debug)]
struct SharedConnector(reqwest::Client);

impl HttpConnector for SharedConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

async fn put_s3(http: &Http, target: &StageTarget, file: bytes::Bytes) -> Result<(), SnowflakeError> {
    let StageTarget::S3 { bucket, key, region, endpoint, id, secret, token } = target else { return Ok(()) };
    let failed = |error: object_store::Error| SnowflakeError::Upload { problem: error.to_string(), lasting: false };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_access_key_id(id)
        .with_secret_access_key(secret)
        .with_token(token)
        .with_allow_http(http.is_plain())
        .with_retry(RetryConfig { max_retries: 2, retry_timeout: UPLOAD_TIME_MAX, ..RetryConfig::default() })
        .with_http_connector(SharedConnector(http.client.clone()));
    builder = match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint),
        // Buckets of stages are reached by a host of their own.
        None => builder.with_virtual_hosted_style_request(true),
    };
    let store = builder.build().map_err(failed)?;
    let key = Path::parse(key).map_err(|error| SnowflakeError::Upload { problem: error.to_string(), lasting: true })?;
    store.put(&key, file.into()).await.map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_cloud_says_in_its_own_way_where_a_file_goes() {
        let creds = json!({ "AWS_KEY_ID": "i", "AWS_SECRET_KEY": "s", "AWS_TOKEN": "t" });
        let s3 = json!({ "locationType": "S3", "location": "bucket/stages/x/", "region": "eu-west-1", "endPoint": null,
            "creds": creds });
        let StageTarget::S3 { bucket, key, endpoint, .. } = target(&s3, "a.gz").unwrap() else { panic!() };
        assert_eq!((&*bucket, &*key, endpoint), ("bucket", "stages/x/a.gz", None));
        let azure = json!({ "locationType": "AZURE", "location": "stages/a b", "storageAccount": "acct",
            "endPoint": "blob.core.windows.net", "creds": { "AZURE_SAS_TOKEN": "?sv=1&sig=x" } });
        let StageTarget::Web { url, headers } = target(&azure, "a.gz").unwrap() else { panic!() };
        assert_eq!(url, "https://acct.blob.core.windows.net/stages/a%20b/a.gz?sv=1&sig=x");
        assert_eq!(headers, [("x-ms-blob-type", "BlockBlob".to_owned())]);
        let gcs = json!({ "locationType": "GCS", "location": "bucket/p/", "creds": { "GCS_ACCESS_TOKEN": "t" } });
        let StageTarget::Web { url, .. } = target(&gcs, "a.gz").unwrap() else { panic!() };
        assert_eq!(url, "https://storage.googleapis.com/bucket/p/a.gz");
        assert!(target(&json!({ "locationType": "LOCAL_FS" }), "a.gz").is_err());
    }
}
