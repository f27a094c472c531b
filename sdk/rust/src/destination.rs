//! A destination, apart from the bindings, and the macro that makes the bindings for it.

use crate::delivery::{Plan, Response, Verdict, classify_deletion};

/// What is the same for all events of a batch, and the same on replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The time in Unix milliseconds.
    pub now_ms: u64,
    pub seed: u64,
}

/// Events in, HTTP requests out. An instance has its settings and lives for one batch.
pub trait Destination: Sized {
    /// Reads the settings, in which a secret is a placeholder.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    fn configure(settings_json: &str) -> Result<Self, String>;

    /// Which requests deliver a batch of events, each given as JSON.
    fn prepare(&self, batch: &[String], context: Context) -> Plan;

    /// What a response means for `events`. A pure function: it may run on another instance.
    fn classify(&self, tag: &str, events: &[u32], response: &Response) -> Verdict;
}

/// A destination whose tool can delete what it has about people: `forget: true` in plugin.yaml, and
/// `destination!(forgetting Plugin, "wit")`.
pub trait Forget: Destination {
    /// Which requests have the tool delete what it has. Each of `people` is one id as JSON in the shape of an event,
    /// `{"type": "forget", "userId": ".."}`, or with `anonymousId`, `groupId` or `traits`; requests name them by position.
    fn forget(&self, people: &[String], context: Context) -> Plan;

    /// What a response means for `people`.
    fn classify_forget(&self, _tag: &str, _people: &[u32], response: &Response) -> Verdict {
        classify_deletion(response)
    }
}

/// Makes a type that implements [`Destination`] the plugin; with `forgetting` before it, one that implements [`Forget`] too. The
/// text is the folder with `plugin.wit`, seen from the `Cargo.toml`. The bindings are made where the macro stands: natively there
/// are none, and it makes nothing.
#[macro_export]
macro_rules! destination {
    (forgetting $plugin:ty, $wit:literal) => {
        $crate::destination!(@world $plugin, $wit, "forgetting-destination", {
            impl exports::tidegate::plugin::forget::Guest for Guest {
                fn prepare(people: Vec<String>) -> Result<wit::Plan, wit::BatchError> {
                    let Some(plugin) = PLUGIN.get() else {
                        return Err(wit::BatchError::Fatal(error(ErrorKind::Internal, not_configured())));
                    };
                    let context = Context { now_ms: host::now_ms(), seed: host::seed() };
                    Ok(plan($crate::Forget::forget(plugin, &people, context)))
                }

                fn classify(tag: String, people: Vec<u32>, response: wit::Response) -> wit::Verdict {
                    let Some(plugin) = PLUGIN.get() else {
                        return wit::Verdict::Rejected(error(ErrorKind::Internal, not_configured()));
                    };
                    verdict($crate::Forget::classify_forget(plugin, &tag, &people, &read(response)))
                }
            }
        });
    };
    ($plugin:ty, $wit:literal) => {
        $crate::destination!(@world $plugin, $wit, "destination-plugin", {});
    };
    (@world $plugin:ty, $wit:literal, $world:literal, { $($forget:item)* }) => {
        #[cfg(target_arch = "wasm32")]
        mod guest {
            use std::sync::OnceLock;

            use exports::tidegate::plugin::destination as wit;
            use exports::tidegate::plugin::lifecycle::{self, Setup};
            use tidegate::plugin::host;
            use tidegate::plugin::types::{ErrorKind, PluginError};
            use $crate::{Context, Destination, Failure, Method, Plan, Response, Verdict};

            $crate::wit_bindgen::generate!({
                path: $wit,
                world: $world,
                runtime_path: "tidegate_sdk::wit_bindgen::rt",
            });

            #[global_allocator]
            static HEAP: $crate::Heap = $crate::Heap::new();

            /// Set once by `configure`, which comes before anything else.
            static PLUGIN: OnceLock<$plugin> = OnceLock::new();

            struct Guest;

            impl lifecycle::Guest for Guest {
                fn configure(setup: Setup) -> Result<(), PluginError> {
                    let plugin = <$plugin>::configure(&setup.settings_json)
                        .map_err(|message| error(ErrorKind::InvalidConfig, Failure::new("settings", message)))?;
                    PLUGIN.get_or_init(|| plugin);
                    Ok(())
                }
            }

            impl wit::Guest for Guest {
                fn prepare(batch: Vec<String>) -> Result<wit::Plan, wit::BatchError> {
                    let Some(plugin) = PLUGIN.get() else {
                        return Err(wit::BatchError::Fatal(error(ErrorKind::Internal, not_configured())));
                    };
                    Ok(plan(plugin.prepare(&batch, Context { now_ms: host::now_ms(), seed: host::seed() })))
                }

                fn classify(tag: String, events: Vec<u32>, response: wit::Response) -> wit::Verdict {
                    let Some(plugin) = PLUGIN.get() else {
                        return wit::Verdict::Rejected(error(ErrorKind::Internal, not_configured()));
                    };
                    verdict(plugin.classify(&tag, &events, &read(response)))
                }
            }

            $($forget)*

            fn read(response: wit::Response) -> Response {
                let wit::Response { status, headers, body, attempt } = response;
                Response { status, headers, body, attempt, now_ms: host::now_ms() }
            }

            fn verdict(verdict: Verdict) -> wit::Verdict {
                match verdict {
                    Verdict::Delivered => wit::Verdict::Delivered,
                    Verdict::Retry(after_ms) => wit::Verdict::Retry(after_ms),
                    Verdict::Reauthenticate => wit::Verdict::Reauthenticate,
                    Verdict::Rejected(failure) => wit::Verdict::Rejected(error(ErrorKind::InvalidEvent, failure)),
                    Verdict::Partial(events) => wit::Verdict::Partial(events),
                    Verdict::Bisect(failure) => wit::Verdict::Bisect(error(ErrorKind::InvalidEvent, failure)),
                    Verdict::Disable(failure) => wit::Verdict::Disable(error(ErrorKind::InvalidConfig, failure)),
                }
            }

            fn not_configured() -> Failure {
                Failure::new("not-configured", "`configure` was not called")
            }

            fn error(kind: ErrorKind, failure: Failure) -> PluginError {
                PluginError { kind, code: failure.code, message: failure.message }
            }

            fn plan(plan: Plan) -> wit::Plan {
                let skipped = |(event, reason)| wit::Skipped { event, reason };
                let failed = |(event, failure)| wit::Failed { event, error: error(ErrorKind::InvalidEvent, failure) };
                wit::Plan {
                    requests: plan.requests.into_iter().map(request).collect(),
                    skipped: plan.skipped.into_iter().map(skipped).collect(),
                    failed: plan.failed.into_iter().map(failed).collect(),
                }
            }

            fn request(request: $crate::Request) -> wit::Request {
                wit::Request {
                    method: match request.method {
                        Method::Get => wit::Method::Get,
                        Method::Post => wit::Method::Post,
                        Method::Put => wit::Method::Put,
                        Method::Patch => wit::Method::Patch,
                        Method::Delete => wit::Method::Delete,
                    },
                    url: request.url,
                    headers: request.headers,
                    body: request.body.into_bytes(),
                    events: request.events,
                    tag: request.tag,
                }
            }

            export!(Guest);
        }
    };
}
