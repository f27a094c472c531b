//! Trying an object out, as it is ordered here. Who does it is not known here.

use std::pin::Pin;

use hyper::StatusCode;
use serde_json::Value;
use tidegate_api_types::script::FunctionTried;
use tidegate_api_types::tried::ObjectTried;
use tidegate_catalog::{CatalogOrder, ObjectKind};
use tidegate_registry::{RegistryError, Sha};

use super::SharedApi;
use super::refusal::ApiRefusal;
use super::reload::ReloadRefusal;

/// An order to try an object out. Nothing is changed by it.
#[derive(Debug)]
pub struct TryOrder {
    /// A destination or a sync.
    pub kind: ObjectKind,
    pub name: String,
    /// What would make the object what is tried; none for what it is now.
    pub change: Option<CatalogOrder>,
    /// Of a sync, or for a stream.
    pub events: TriedSample,
}

/// Events that are tried.
#[derive(Debug)]
pub enum TriedSample {
    /// At most so many of the newest events of the source.
    Newest(usize),
    /// These, as SDKs send them.
    Given(Vec<Value>),
}

/// An order to try a function out. Nothing is changed by it.
#[derive(Debug)]
pub struct TryFunctionOrder {
    pub name: String,
    pub code: TriedCode,
    /// Those that are live, when left out.
    pub settings: Option<Value>,
    /// Of which source the newest events are.
    pub source: Option<String>,
    pub events: TriedSample,
}

/// What of a function is tried.
#[derive(Debug)]
pub enum TriedCode {
    /// A script, as it would be.
    Script(String),
    /// A script, of which only is asked whether it can be read.
    ScriptAlone(String),
    /// A version; the live one, when none is named.
    Version(Option<Sha>),
}

/// Why an object was not tried.
#[derive(Debug)]
pub enum TryRefusal {
    /// It could not run.
    Workspace(ReloadRefusal),
    /// Something could not be read or loaded; a sentence.
    Failed(String),
    /// Events were given to a destination that says nothing of them by itself.
    NeedsSync,
    /// The store did not give what is tried.
    Store(Box<RegistryError>),
    /// Others are being tried.
    Busy,
    /// So many seconds were not enough.
    TooSlow(u64),
}

impl From<ReloadRefusal> for TryRefusal {
    fn from(refusal: ReloadRefusal) -> Self {
        Self::Workspace(refusal)
    }
}

impl From<RegistryError> for TryRefusal {
    fn from(error: RegistryError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// A try of a function on its way.
pub type TryingFunction = Pin<Box<dyn Future<Output = Result<FunctionTried, TryRefusal>> + Send>>;

/// Tries functions out.
pub type TryFunctions = Box<dyn Fn(TryFunctionOrder) -> TryingFunction + Send + Sync>;

/// A try on its way.
pub type Trying = Pin<Box<dyn Future<Output = Result<ObjectTried, TryRefusal>> + Send>>;

/// Tries objects out.
pub type TryObjects = Box<dyn Fn(TryOrder) -> Trying + Send + Sync>;

impl SharedApi {
    /// Tries an object of a workspace out, or says why that cannot be.
    pub(super) async fn tried(&self, workspace: &str, order: TryOrder) -> Result<ObjectTried, ApiRefusal> {
        let engine = self.engine(workspace)?;
        (engine.tries)(order).await.map_err(|refusal| self.not_tried(refusal))
    }

    /// Why something was not tried.
    pub(super) fn not_tried(&self, refusal: TryRefusal) -> ApiRefusal {
        match refusal {
            TryRefusal::Workspace(ReloadRefusal::Catalog(error)) => self.refused(*error),
            TryRefusal::Workspace(refusal) => refusal.into(),
            TryRefusal::Failed(detail) => {
                ApiRefusal::unprocessable("cannot-run", detail, "mend what the detail says, then try again")
            }
            TryRefusal::Store(error) => (*error).into(),
            TryRefusal::NeedsSync => {
                let detail =
                    "events are tried with a sync: of destinations only streams say by themselves what becomes of them";
                let fix = "leave `events` away, or try a sync to the destination";
                ApiRefusal::unprocessable("not-this-way", detail, fix).in_field("events")
            }
            TryRefusal::Busy => {
                let (detail, fix) = ("other objects are being tried", "send it again after Retry-After");
                let refusal = ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix);
                refusal.after(std::time::Duration::from_secs(5))
            }
            TryRefusal::TooSlow(seconds) => {
                let detail = format!("it was not done within {seconds} seconds, and was given up");
                let fix = "try fewer events with `count`; a function or a destination is slow";
                ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", detail, fix)
            }
        }
    }
}
