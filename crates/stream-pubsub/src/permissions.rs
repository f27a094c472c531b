//! Whether something may be done, asked without doing it.

use std::time::Duration;

use crate::grpc::{GrpcClient, GrpcMethod};
use crate::proto::{PermissionsAnswer, PermissionsRequest};

const TEST: GrpcMethod = GrpcMethod {
    path: "/google.iam.v1.IAMPolicy/TestIamPermissions",
    about: "resource",
    time_max: Duration::from_secs(10),
};

/// Whether whoever asks has a permission such as `pubsub.topics.publish` on a subscription or a topic; nothing where upstream does not say, as
/// emulators do not.
pub(crate) async fn may(client: &GrpcClient, resource: &str, permission: &str) -> Option<bool> {
    let request = PermissionsRequest { resource: resource.to_owned(), permissions: vec![permission.to_owned()] };
    let answer: PermissionsAnswer = client.call(TEST, resource, &request).await.ok()?;
    Some(answer.permissions.iter().any(|has| has == permission))
}
