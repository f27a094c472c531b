//! How a destination proves who it is: what a manifest says under `authentication`.

use tidegate_document::fields::Fields;
use tidegate_document::problem::{NAME_CHARS_MAX, shortened};

/// How the host signs requests in. Every `String` that is called a secret or a setting is the name of a property of the
/// settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// `header: prefix + secret`.
    ApiKey { header: String, prefix: String, secret: String },
    /// `authorization: Bearer secret`.
    Bearer { secret: String },
    /// The user name may be a setting or a secret, the password a secret or absent (empty).
    Basic { user: String, password: Option<String> },
    /// A token from `token_url`, kept until it expires or `reauthenticate` comes back.
    OAuth2 { token_url: String, client_id: String, client_secret: String, scopes: Vec<String> },
    /// `header: prefix + hex(HMAC(secret, body))`.
    Hmac { header: String, prefix: String, secret: String, digest: Digest },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy)]
enum Way {
    ApiKey,
    Bearer,
    Basic,
    OAuth2,
    Hmac,
}

pub(super) fn authentication(fields: &mut Fields<'_>) -> Option<Authentication> {
    let ways = [
        ("api_key", Way::ApiKey),
        ("bearer", Way::Bearer),
        ("basic", Way::Basic),
        ("oauth2_client_credentials", Way::OAuth2),
        ("hmac", Way::Hmac),
    ];
    fields.required("kind", "bearer")?;
    Some(match fields.word("kind", &ways)? {
        Way::ApiKey => Authentication::ApiKey {
            header: header(fields)?,
            prefix: fields.text("prefix").unwrap_or_default(),
            secret: fields.required("secret", "api_key")?,
        },
        Way::Bearer => Authentication::Bearer { secret: fields.required("secret", "api_key")? },
        Way::Basic => {
            Authentication::Basic { user: fields.required("user", "api_key")?, password: fields.text("password") }
        }
        Way::OAuth2 => Authentication::OAuth2 {
            token_url: fields.required("token_url", "https://login.example.com/oauth/token")?,
            client_id: fields.required("client_id", "client_id")?,
            client_secret: fields.required("client_secret", "client_secret")?,
            scopes: fields.texts("scopes"),
        },
        Way::Hmac => Authentication::Hmac {
            header: header(fields)?,
            prefix: fields.text("prefix").unwrap_or_default(),
            secret: fields.required("secret", "signing_secret")?,
            digest: fields
                .word("digest", &[("sha1", Digest::Sha1), ("sha256", Digest::Sha256), ("sha512", Digest::Sha512)])
                .unwrap_or(Digest::Sha256),
        },
    })
}

fn header(fields: &mut Fields<'_>) -> Option<String> {
    let header = fields.required("header", "x-api-key")?.to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if header.is_empty() || !header.bytes().all(fits) {
        let named = shortened(&header, NAME_CHARS_MAX);
        fields.problem("header", format!("{named:?} is no header name"), "use letters, digits and -");
        return None;
    }
    Some(header)
}
