//! What an error of a call means for who waits: try again, or wait for an operator.

use tidegate_stream::StreamError;

use crate::grpc::{GrpcCode, GrpcError};

/// What an operator has to allow.
pub(crate) const ROLE_OF_READERS: &str = "give the service account the role roles/pubsub.subscriber on the subscription: \
     `gcloud pubsub subscriptions add-iam-policy-binding SUBSCRIPTION --member=serviceAccount:EMAIL --role=roles/pubsub.subscriber`";
pub(crate) const ROLE_OF_WRITERS: &str = "give the service account the role roles/pubsub.publisher on the topic: \
     `gcloud pubsub topics add-iam-policy-binding TOPIC --member=serviceAccount:EMAIL --role=roles/pubsub.publisher`";
/// What to do where the name is not there.
pub(crate) const MAKE_SUBSCRIPTION: &str =
    "correct `project` and `subscription`, or make it: `gcloud pubsub subscriptions create SUBSCRIPTION --topic=TOPIC`";
pub(crate) const MAKE_TOPIC: &str = "correct `project` and `topic`, or make it: `gcloud pubsub topics create TOPIC`";

/// What an operator is told, by what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PubsubAdvice {
    pub(crate) role: &'static str,
    pub(crate) make: &'static str,
}

pub(crate) const READING: PubsubAdvice = PubsubAdvice { role: ROLE_OF_READERS, make: MAKE_SUBSCRIPTION };
pub(crate) const WRITING: PubsubAdvice = PubsubAdvice { role: ROLE_OF_WRITERS, make: MAKE_TOPIC };

/// The error as the one who waits is told it; `place` is how it begins, and `name` what the call was about.
pub(crate) fn stream_error(place: &str, name: &str, error: &GrpcError, advice: PubsubAdvice) -> StreamError {
    let (code, message) = match error {
        GrpcError::Stream(StreamError::Stop { reason, advice }) => {
            return StreamError::Stop { reason: format!("{place}: {reason}"), advice: advice.clone() };
        }
        GrpcError::Stream(StreamError::Retry(reason)) | GrpcError::Away(reason) => {
            return StreamError::Retry(format!("{place}: {reason}"));
        }
        GrpcError::TimedOut => return StreamError::Retry(format!("{place}: {name}: no answer came in time")),
        GrpcError::TooLarge => return StreamError::Retry(format!("{place}: {name}: an answer is too large")),
        GrpcError::Status { code, message, .. } => (*code, message),
    };
    let reason = format!("{place}: {name}: {message}");
    let advice = match code {
        GrpcCode::NotFound => format!("{name} is not there; {}", advice.make),
        GrpcCode::PermissionDenied => advice.role.to_owned(),
        GrpcCode::Unauthenticated => {
            "see to `credentials`: Google does not know who is asking; make a new key for the service account".to_owned()
        }
        GrpcCode::InvalidArgument => "correct `project`, `subscription` or `topic`".to_owned(),
        GrpcCode::FailedPrecondition => {
            "a subscription must be one that is pulled, without a push endpoint and without an export to BigQuery or Cloud Storage, \
             and be attached to a topic"
                .to_owned()
        }
        GrpcCode::Unimplemented => "correct `endpoint`: what answers there is no Pub/Sub".to_owned(),
        GrpcCode::DeadlineExceeded | GrpcCode::Other(_) => return StreamError::Retry(reason),
    };
    StreamError::Stop { reason, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: GrpcCode) -> StreamError {
        let error = GrpcError::Status { code, message: "no".to_owned(), details: None };
        stream_error("pubsub at here", "projects/p/subscriptions/s", &error, READING)
    }

    #[test]
    fn what_another_try_cannot_mend_says_what_to_do() {
        for (code, words) in [
            (GrpcCode::NotFound, "gcloud pubsub subscriptions create"),
            (GrpcCode::PermissionDenied, "roles/pubsub.subscriber"),
            (GrpcCode::Unauthenticated, "`credentials`"),
        ] {
            let StreamError::Stop { reason, advice } = told(code) else { panic!("{code:?} is tried again") };
            assert!(
                advice.contains(words) && reason.starts_with("pubsub at here: projects/p/subscriptions/s"),
                "{advice}"
            );
        }
        // Unavailable, resource exhausted.
        for code in [GrpcCode::Other(14), GrpcCode::Other(8), GrpcCode::DeadlineExceeded] {
            assert!(matches!(told(code), StreamError::Retry(_)), "{code:?}");
        }
    }
}
