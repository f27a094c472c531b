//! The connection to Tidegate.

use std::sync::OnceLock;

use exports::tidegate::plugin::destination as wit;
use exports::tidegate::plugin::lifecycle::{self, Setup};
use tidegate::plugin::types::{ErrorKind, PluginError};

use crate::plan::{Failure, Method, Plan, Request, Verdict};
use crate::webhook::{Settings, classify, prepare};

wit_bindgen::generate!({ path: "../../../wit", world: "destination-plugin" });

#[global_allocator]
static HEAP: tidegate_heap::Heap = tidegate_heap::Heap::new();

struct Webhook;

/// Set once by `configure`: an instance lives for one batch.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

impl lifecycle::Guest for Webhook {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings = Settings::parse(&setup.settings_json)
            .map_err(|message| error(ErrorKind::InvalidConfig, Failure::new("invalid-settings", message)))?;
        SETTINGS.get_or_init(|| settings);
        Ok(())
    }
}

impl wit::Guest for Webhook {
    fn prepare(batch: Vec<String>) -> Result<wit::Plan, wit::BatchError> {
        match SETTINGS.get() {
            Some(settings) => Ok(prepare(&batch, settings).into()),
            None => {
                let failure = Failure::new("not-configured", "`configure` was not called");
                Err(wit::BatchError::Fatal(error(ErrorKind::Internal, failure)))
            }
        }
    }

    fn classify(_tag: String, events: Vec<u32>, response: wit::Response) -> wit::Verdict {
        match classify(&events, response.status, &response.headers, &response.body) {
            Verdict::Delivered => wit::Verdict::Delivered,
            Verdict::Retry(after_ms) => wit::Verdict::Retry(after_ms),
            Verdict::Rejected(failure) => wit::Verdict::Rejected(error(ErrorKind::InvalidEvent, failure)),
            Verdict::Partial(events) => wit::Verdict::Partial(events),
            Verdict::Disable(failure) => wit::Verdict::Disable(error(ErrorKind::InvalidConfig, failure)),
        }
    }
}

impl From<Plan> for wit::Plan {
    fn from(plan: Plan) -> Self {
        let skipped = |(event, reason)| wit::Skipped { event, reason };
        let failed = |(event, failure)| wit::Failed { event, error: error(ErrorKind::InvalidEvent, failure) };
        Self {
            requests: plan.requests.into_iter().map(wit::Request::from).collect(),
            skipped: plan.skipped.into_iter().map(skipped).collect(),
            failed: plan.failed.into_iter().map(failed).collect(),
        }
    }
}

impl From<Request> for wit::Request {
    fn from(request: Request) -> Self {
        Self {
            method: match request.method {
                Method::Post => wit::Method::Post,
                Method::Put => wit::Method::Put,
                Method::Patch => wit::Method::Patch,
            },
            url: request.url,
            headers: request.headers,
            body: request.body.into_bytes(),
            events: request.events,
            tag: String::new(),
        }
    }
}

fn error(kind: ErrorKind, failure: Failure) -> PluginError {
    PluginError { kind, code: failure.code, message: failure.message }
}

export!(Webhook);
