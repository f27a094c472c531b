//! A component that is linked to its world, ready to be instantiated: the worlds differ in their bindings alone.

use tidegate_plugin::ManifestKind;
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::destination::{DestinationPlugin, DestinationPluginPre};
use super::bindings::fields::{TransformFields, TransformFieldsPre};
use super::bindings::transform::tidegate::plugin::types;
use super::bindings::transform::{Transform, TransformPre};
use super::call::Call;
use super::call_failure::{CallFailure, CallStage};
use super::guest::Guest;

/// A component that is linked to its world.
#[derive(Clone)]
pub(super) enum Pre {
    Transform(TransformPre<Guest>),
    Fields(TransformFieldsPre<Guest>),
    Destination(DestinationPluginPre<Guest>),
}

/// An instance that is configured.
pub(super) enum StartedGuest {
    Transform(Transform),
    Fields(TransformFields),
    Destination(DestinationPlugin),
}

impl Pre {
    /// Fits the instance to the world of its kind.
    pub(super) fn new(pre: InstancePre<Guest>, kind: ManifestKind) -> wasmtime::Result<Self> {
        Ok(match kind {
            ManifestKind::Transform => Self::Transform(TransformPre::new(pre)?),
            ManifestKind::Fields => Self::Fields(TransformFieldsPre::new(pre)?),
            ManifestKind::Destination => Self::Destination(DestinationPluginPre::new(pre)?),
        })
    }

    pub(super) const fn kind(&self) -> ManifestKind {
        match self {
            Self::Transform(_) => ManifestKind::Transform,
            Self::Fields(_) => ManifestKind::Fields,
            Self::Destination(_) => ManifestKind::Destination,
        }
    }

    /// Instantiates and configures.
    pub(super) async fn start(&self, store: &mut Store<Guest>, call: &Call<'_>) -> Result<StartedGuest, CallFailure> {
        let started = match self {
            Self::Transform(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Transform),
            Self::Fields(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Fields),
            Self::Destination(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Destination),
        };
        let started = started.map_err(|error| store.data().failure(&error))?;
        store.data_mut().stage = CallStage::Configure;
        let setup = types::Setup { settings_json: call.settings_json.to_owned(), revision: call.revision };
        let answer = match &started {
            StartedGuest::Transform(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
            StartedGuest::Fields(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
            StartedGuest::Destination(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
        };
        match answer {
            Ok(Ok(())) => {
                store.data_mut().stage = CallStage::Transform;
                Ok(started)
            }
            Ok(Err(guest_error)) => Err(CallFailure::Configure(guest_error.into())),
            Err(error) => Err(store.data().failure(&error)),
        }
    }
}
