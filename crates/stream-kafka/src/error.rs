//! What an error of the client means for who waits: try again, or wait for an operator.

use krafka::KrafkaError;
use krafka::error::ErrorCode;
use tidegate_net::trust::{RefusedCertificate, is_without_tls};
use tidegate_stream::StreamError;

/// What an operator writes where a topic or a group is forbidden.
pub(crate) const ACL_OF_TOPIC: &str = "allow this client's user to READ and DESCRIBE the topic (to WRITE it, where it is a destination): \
     `kafka-acls --add --allow-principal User:NAME --operation Read --operation Describe --topic TOPIC`";
pub(crate) const ACL_OF_GROUP: &str = "allow this client's user to READ the group: \
     `kafka-acls --add --allow-principal User:NAME --operation Read --group GROUP`";

/// The error as the one who waits is told it; `place` is how it begins.
pub(crate) fn stream_error(place: &str, error: &KrafkaError) -> StreamError {
    let reason = format!("{place}: {error}");
    match advice(error) {
        Some(advice) => StreamError::Stop { reason, advice },
        None => StreamError::Retry(reason),
    }
}

/// What an operator has to do; none where another try may help.
fn advice(error: &KrafkaError) -> Option<String> {
    Some(match error {
        KrafkaError::Broker { code, .. } => return of_code(*code).map(str::to_owned),
        KrafkaError::Auth { .. } => match RefusedCertificate::in_causes(error) {
            Some(refused) => refused.advice("`tls.ca`"),
            None if is_without_tls(error) => {
                "the broker's port speaks no TLS: take `tls` away, or name the port that speaks it".to_owned()
            }
            None => "see to `sasl` (mechanism, user, password or token) and to `tls.certificate`: the brokers do not let this client in"
                .to_owned(),
        },
        KrafkaError::Config { .. } => "correct the setting that the message names".to_owned(),
        _ => return None,
    })
}

fn of_code(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TopicAuthorizationFailed => ACL_OF_TOPIC,
        ErrorCode::GroupAuthorizationFailed => ACL_OF_GROUP,
        ErrorCode::TransactionalIdAuthorizationFailed => {
            "allow this client's user to WRITE and DESCRIBE the transactional id: \
             `kafka-acls --add --allow-principal User:NAME --operation Write --operation Describe --transactional-id ID`"
        }
        ErrorCode::ClusterAuthorizationFailed => {
            "allow this client's user what the message names: `kafka-acls --add --allow-principal User:NAME --operation OPERATION --cluster`"
        }
        ErrorCode::SaslAuthenticationFailed | ErrorCode::IllegalSaslState => {
            "see to `sasl`: the brokers do not know this user with this password or token"
        }
        ErrorCode::UnsupportedSaslMechanism => {
            "write another `sasl.mechanism`: the brokers do not offer this one on this port"
        }
        ErrorCode::InvalidGroupId => "write another `group`",
        ErrorCode::InvalidTopic => "correct `topics`: the broker takes such a name for no topic",
        ErrorCode::GroupMaxSizeReached => "raise the brokers' `group.max.size`, or take members out of the group",
        _ => return None,
    })
}
