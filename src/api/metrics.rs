//! `/metrics`: the numbers of the server, for Prometheus.
//!
//! They are for whoever may read what runs, for whoever shows the token of `metrics` in `tidegate.yaml`, or for everybody where it says so.

mod scrape;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;
use tidegate_catalog::SecretValue;
use tidegate_metrics::{MetricsText, SpanBoard};
use tidegate_source::http::IntakeCounts;

use super::access::{self, AccessAction, AccessObject, Principal, WORKSPACE_DEFAULT};
use super::refusal::ApiRefusal;
use super::{SharedApi, bearer};

/// What the numbers of the process are taken from, and who may read all of them.
pub struct MetricsSettings {
    /// Everybody who reaches the port may.
    pub open: bool,
    /// Whoever shows this may.
    pub token: Option<SecretValue>,
    pub intake: Arc<IntakeCounts>,
    pub spans: SpanBoard,
    /// When the process started, microseconds since the epoch.
    pub started_us: i64,
}

/// Somebody who may read the numbers, and nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricsReader;

impl MetricsSettings {
    /// Whether somebody may read the numbers who shows this.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = bearer(headers).map(str::as_bytes);
        let is_shown = |token: &SecretValue| shown.is_some_and(|shown| bool::from(shown.ct_eq(token.expose())));
        self.open || self.token.as_ref().is_some_and(is_shown)
    }
}

/// The numbers as text.
pub(super) async fn show(State(shared): State<Arc<SharedApi>>, request: Request) -> Result<Response, ApiRefusal> {
    let may = {
        let extensions = request.extensions();
        let is_admin = |principal: &Principal| {
            access::authorise(principal, AccessAction::Read, &AccessObject::Workspace, WORKSPACE_DEFAULT).is_ok()
        };
        extensions.get::<MetricsReader>().is_some() || extensions.get::<Principal>().is_some_and(is_admin)
    };
    drop(request);
    if !may {
        return Err(ApiRefusal::forbidden());
    }
    let of = Arc::clone(&shared);
    let text = shared.scraped.or_make(move || Bytes::from(scrape::scrape(&of.settings))).await?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(MetricsText::MEDIA_TYPE))];
    Ok((kind, text).into_response())
}
