//! A question that a provider asks with GET before it sends anything, as WebSub and Meta do: `hub.challenge` comes back when
//! `hub.verify_token` is right.

use std::fmt;

use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use super::CHALLENGE_BYTES_MAX;

/// Which parameters of a query are the question.
#[derive(Clone)]
pub struct WebhookChallenge {
    /// The parameter whose value is the answer.
    pub echo: String,
    /// A parameter, and the secret that must be its value.
    pub token: Option<(String, String)>,
}

/// The secret does not print.
impl fmt::Debug for WebhookChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookChallenge").field("echo", &self.echo).finish_non_exhaustive()
    }
}

/// What there is to say to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeAnswer {
    Echo(String),
    /// The secret is not the right one.
    WrongToken,
    /// It asks nothing.
    Nothing,
}

impl WebhookChallenge {
    /// Answers the query of a GET.
    #[must_use]
    pub fn answer(&self, query: &str) -> ChallengeAnswer {
        let value = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
        let Some((_, asked)) = value(&self.echo).filter(|(_, asked)| asked.len() <= CHALLENGE_BYTES_MAX) else {
            return ChallengeAnswer::Nothing;
        };
        if let Some((name, secret)) = &self.token {
            let is_right = value(name).is_some_and(|(_, said)| said.as_bytes().ct_eq(secret.as_bytes()).into());
            if !is_right {
                return ChallengeAnswer::WrongToken;
            }
        }
        ChallengeAnswer::Echo(asked.into_owned())
    }
}
