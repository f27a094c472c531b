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
use super::forget::{ForgetFunctions, ForgetIndexes};
use super::guest::Guest;

/// A component that is linked to its world.
#[derive(Clone)]
pub(super) enum Pre {
    Transform(TransformPre<Guest>),
    Fields(TransformFieldsPre<Guest>),
    /// And where the export `forget` is, if it has that.
    Destination(DestinationPluginPre<Guest>, Option<ForgetIndexes>),
}

/// An instance that is configured.
pub(super) enum StartedGuest {
    Transform(Transform),
    Fields(TransformFields),
    Destination(DestinationPlugin, Option<ForgetFunctions>),
}

impl Pre {
    /// Fits the instance to the world of its kind.
    pub(super) fn new(pre: InstancePre<Guest>, kind: ManifestKind) -> wasmtime::Result<Self> {
        Ok(match kind {
            ManifestKind::Transform => Self::Transform(TransformPre::new(pre)?),
            ManifestKind::Fields => Self::Fields(TransformFieldsPre::new(pre)?),
            ManifestKind::Destination => {
                let forget = ForgetIndexes::of(&pre)?;
                Self::Destination(DestinationPluginPre::new(pre)?, forget)
            }
        })
    }

    pub(super) const fn kind(&self) -> ManifestKind {
        match self {
            Self::Transform(_) => ManifestKind::Transform,
            Self::Fields(_) => ManifestKind::Fields,
            Self::Destination(..) => ManifestKind::Destination,
        }
    }

    /// Whether it has the export `forget`.
    pub(super) const fn can_forget(&self) -> bool {
        matches!(self, Self::Destination(_, Some(_)))
    }

    /// Instantiates and configures.
    pub(super) async fn start(&self, store: &mut Store<Guest>, call: &Call<'_>) -> Result<StartedGuest, CallFailure> {
        let started = match self {
            Self::Transform(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Transform),
            Self::Fields(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Fields),
            Self::Destination(pre, None) => {
                pre.instantiate_async(&mut *store).await.map(|plugin| StartedGuest::Destination(plugin, None))
            }
            Self::Destination(pre, Some(forget)) => started_to_forget(pre, forget, store).await,
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
            StartedGuest::Destination(plugin, _) => {
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

/// An instance with the export `forget`.
async fn started_to_forget(
    pre: &DestinationPluginPre<Guest>,
    forget: &ForgetIndexes,
    store: &mut Store<Guest>,
) -> wasmtime::Result<StartedGuest> {
    let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
    let plugin = DestinationPlugin::new(&mut *store, &instance)?;
    let functions = ForgetFunctions::of(store, &instance, forget)?;
    Ok(StartedGuest::Destination(plugin, Some(functions)))
}
