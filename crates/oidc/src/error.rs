//! Why nobody is signed in, in words for whoever runs the server.

/// Why a provider could not be asked, or what it said was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error("the client for the provider cannot be set up: {0}")]
    Setup(String),
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("the answer of {url} is longer than {bytes_max} bytes")]
    TooLarge { url: String, bytes_max: usize },
    #[error("the answer of {url} cannot be understood: {reason}")]
    Answer { url: String, reason: String },
    #[error("the provider describes itself in a way that cannot be used: {0}")]
    Discovery(String),
    /// What the provider itself said: its error, and perhaps a sentence.
    #[error("the provider says {error}{}", described(.description))]
    Refused { error: String, description: String },
    #[error("the provider has no device flow; sign in with a browser, or with a token")]
    NoDeviceFlow,
    #[error(transparent)]
    Token(#[from] TokenProblem),
}

impl OidcError {
    /// Whether the provider said no to this person or this try, so that asking again is of no use.
    #[must_use]
    pub const fn is_about_the_person(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Token(_) | Self::NoDeviceFlow)
    }
}

fn described(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(": {description}") }
}

/// Why an ID token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    #[error("the provider gave no ID token; `openid` must be one of the scopes")]
    Absent,
    #[error("the ID token is none: it has not three parts of JSON and base64url")]
    Malformed,
    #[error("the ID token is signed with {0:?}; RS256, PS256, ES256 and EdDSA are taken")]
    Algorithm(String),
    #[error("the ID token has critical extensions, which are not understood")]
    Critical,
    #[error("the ID token is signed with a key that the provider does not show")]
    NoKey,
    #[error("the signature of the ID token is not the provider's")]
    Signature,
    #[error("the ID token is of another issuer")]
    Issuer,
    #[error("the ID token is for another client than `client_id` names")]
    Audience,
    #[error("the ID token was asked for by another client (`azp`)")]
    AuthorizedParty,
    #[error("the ID token has no time {0:?}")]
    NoTime(&'static str),
    #[error("the ID token has expired; are the clocks right?")]
    Expired,
    #[error("the ID token is of the future; are the clocks right?")]
    Future,
    #[error("the ID token answers another sign-in (its nonce is another one)")]
    Nonce,
    #[error("the ID token names nobody (`sub`)")]
    Subject,
    #[error("the provider tells of two people at once: `sub` of the ID token and of userinfo differ")]
    OtherSubject,
    #[error("the claim `{name}` is not what `required_claims` asks for")]
    RequiredClaim { name: String },
}
