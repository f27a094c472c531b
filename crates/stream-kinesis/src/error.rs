//! What an error of Kinesis means for who waits: try again, or wait for an operator.

use tidegate_aws::AwsError;
use tidegate_stream::StreamError;

pub(crate) const EXPIRED_ITERATOR: &str = "ExpiredIteratorException";
pub(crate) const INVALID_ARGUMENT: &str = "InvalidArgumentException";
pub(crate) const NOT_FOUND: &str = "ResourceNotFoundException";
/// Codes by which keys that were right may be so no more.
const KEYS_REFUSED: [&str; 4] =
    ["ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"];
const THROTTLED: [&str; 5] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "KMSThrottlingException",
    "RequestLimitExceeded",
];

const READ_RIGHTS: &str = "kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords";
const WRITE_RIGHTS: &str = "kinesis:PutRecords (and kinesis:DescribeStreamSummary, for checks)";

/// Why a call has no answer that could be used. No text of it has a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum KinesisCallError {
    #[error("{action}: {code}: {message}")]
    Refused { action: &'static str, code: String, message: String },
    #[error("{0}")]
    Away(String),
    #[error("the certificate was refused: {0}")]
    Certificate(String),
    #[error(transparent)]
    Keys(#[from] AwsError),
}

impl KinesisCallError {
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    pub(crate) fn is_throttled(&self) -> bool {
        THROTTLED.contains(&self.code())
    }

    /// Whether other keys may be taken.
    pub(crate) fn is_of_keys(&self) -> bool {
        KEYS_REFUSED.contains(&self.code())
    }

    /// Whether another try may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Away(_) | Self::Keys(AwsError::Away(_)) => true,
            Self::Refused { code, .. } => {
                self.is_throttled()
                    || matches!(code.as_str(), "InternalFailure" | "ServiceUnavailable" | "ExpiredNextTokenException")
            }
            Self::Certificate(_) | Self::Keys(AwsError::NoKeys { .. }) => false,
        }
    }

    /// As the one who waits is told it; `place` is how it begins.
    pub(crate) fn told(&self, place: &str) -> StreamError {
        let advice = match self {
            Self::Keys(error) => return of_keys(place, error),
            _ if self.is_passing() => return StreamError::Retry(format!("{place}: {self}")),
            Self::Certificate(advice) => advice.clone(),
            Self::Away(_) => String::new(),
            Self::Refused { action, code, .. } => match advice(action, code) {
                Some(advice) => advice,
                None => return StreamError::Retry(format!("{place}: {self}")),
            },
        };
        StreamError::Stop { reason: format!("{place}: {self}"), advice }
    }
}

/// The same for keys that nobody gives.
pub(crate) fn of_keys(place: &str, error: &AwsError) -> StreamError {
    match error {
        AwsError::Away(reason) => StreamError::Retry(format!("{place}: {reason}")),
        AwsError::NoKeys { reason, advice } => {
            StreamError::Stop { reason: format!("{place}: {reason}"), advice: advice.clone() }
        }
    }
}

fn advice(action: &str, code: &str) -> Option<String> {
    let is_write = matches!(action, "PutRecords" | "DescribeStreamSummary");
    Some(match code {
        NOT_FOUND if is_write => "create the stream, or correct `topic`, `region` or `endpoint`".to_owned(),
        NOT_FOUND => "create the stream, or correct `stream`, `region` or `endpoint`".to_owned(),
        INVALID_ARGUMENT if action == "GetShardIterator" => {
            "the stream has no such sequence number: it was made anew, perhaps; go on with `tidegate source seek NAME --to earliest`, or to latest"
                .to_owned()
        }
        "AccessDeniedException" | "AccessDenied" => {
            let rights = if is_write { WRITE_RIGHTS } else { READ_RIGHTS };
            format!("allow {rights} on the ARN of the stream to this user or role")
        }
        "KMSAccessDeniedException" => {
            let right = if is_write { "kms:GenerateDataKey" } else { "kms:Decrypt" };
            format!("allow {right} on the key of the stream to this user or role")
        }
        "KMSDisabledException" | "KMSInvalidStateException" | "KMSNotFoundException" | "KMSOptInRequired" => {
            "see to the key that encrypts the stream".to_owned()
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "MissingAuthenticationTokenException" => {
            "see to the access key id: AWS does not know it, or not in this region".to_owned()
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "IncompleteSignatureException" => {
            "see to the secret access key, and to this machine's clock".to_owned()
        }
        "RequestExpired" | "RequestTimeTooSkewed" => "set this machine's clock".to_owned(),
        "ExpiredTokenException" | "ExpiredToken" => {
            "the session token has ended: write new keys, or let the machine have a role, whose keys are renewed by themselves".to_owned()
        }
        INVALID_ARGUMENT | "ValidationException" => "correct the setting that the message names".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(action: &'static str, code: &str) -> StreamError {
        KinesisCallError::Refused { action, code: code.to_owned(), message: "why".to_owned() }
            .told("kinesis in eu-west-1")
    }

    #[test]
    fn what_an_operator_has_to_do_is_named() {
        for (action, code, words) in [
            ("GetRecords", "AccessDeniedException", "kinesis:GetShardIterator"),
            ("PutRecords", "AccessDeniedException", "kinesis:PutRecords"),
            ("ListShards", NOT_FOUND, "`stream`"),
            ("PutRecords", NOT_FOUND, "`topic`"),
            ("ListShards", "UnrecognizedClientException", "access key id"),
            ("ListShards", "ExpiredTokenException", "has ended"),
        ] {
            let StreamError::Stop { reason, advice } = told(action, code) else { panic!("{code}") };
            assert!(reason.starts_with("kinesis in eu-west-1: ") && advice.contains(words), "{reason}; {advice}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        for code in ["ProvisionedThroughputExceededException", "InternalFailure", "SomethingNew"] {
            assert!(matches!(told("GetRecords", code), StreamError::Retry(_)), "{code}");
        }
        let away = KinesisCallError::Away("broken".to_owned());
        assert!(away.is_passing() && !away.is_throttled());
    }
}
