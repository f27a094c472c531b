//! The export `forget`, which a destination plugin may have: it is looked for by its name, because a world has no optional exports. Its
//! functions have the types of those of `destination`.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Func, Instance, InstancePre};

use super::bindings::destination::exports::tidegate::plugin::destination as wit;
use super::bindings::transform::tidegate::plugin::types;
use super::delivery::AnsweredRequest;
use super::guest::Guest;
use super::world::FORGET;

type PrepareParams<'a> = (&'a [String],);
type PrepareResults = (Result<wit::Plan, types::BatchError>,);
type ClassifyParams<'a> = (&'a str, &'a [u32], &'a wit::Response);
type ClassifyResults = (wit::Verdict,);

/// Where the functions of the export are in a component.
#[derive(Clone, Copy)]
pub(super) struct ForgetIndexes {
    prepare: ComponentExportIndex,
    classify: ComponentExportIndex,
}

impl ForgetIndexes {
    /// Those of a component that has the export.
    pub(super) fn of(pre: &InstancePre<Guest>) -> wasmtime::Result<Option<Self>> {
        let component = pre.component();
        let Some(interface) = component.get_export_index(None, FORGET) else { return Ok(None) };
        let function = |name: &str| {
            let found = component.get_export_index(Some(&interface), name);
            found.ok_or_else(|| wasmtime::Error::msg(format!("`{FORGET}` has no function `{name}`")))
        };
        Ok(Some(Self { prepare: function("prepare")?, classify: function("classify")? }))
    }
}

/// The functions of the export in an instance.
pub(super) struct ForgetFunctions {
    prepare: Func,
    classify: Func,
}

impl ForgetFunctions {
    /// The functions, which have the types of the interface.
    pub(super) fn of(store: &mut Store<Guest>, instance: &Instance, indexes: &ForgetIndexes) -> wasmtime::Result<Self> {
        let absent = || wasmtime::Error::msg(format!("what `{FORGET}` exports is no function"));
        let prepare = instance.get_func(&mut *store, indexes.prepare).ok_or_else(absent)?;
        let classify = instance.get_func(&mut *store, indexes.classify).ok_or_else(absent)?;
        prepare.typed::<PrepareParams<'_>, PrepareResults>(&*store)?;
        classify.typed::<ClassifyParams<'_>, ClassifyResults>(&*store)?;
        Ok(Self { prepare, classify })
    }

    pub(super) async fn prepare(
        &self,
        store: &mut Store<Guest>,
        people: &[String],
    ) -> wasmtime::Result<Result<wit::Plan, types::BatchError>> {
        let function = self.prepare.typed::<PrepareParams<'_>, PrepareResults>(&*store)?;
        let (answer,) = function.call_async(store, (people,)).await?;
        Ok(answer)
    }

    pub(super) async fn classify(
        &self,
        store: &mut Store<Guest>,
        AnsweredRequest { tag, events, response }: AnsweredRequest<'_>,
    ) -> wasmtime::Result<wit::Verdict> {
        let function = self.classify.typed::<ClassifyParams<'_>, ClassifyResults>(&*store)?;
        let response = wit::Response::from(response);
        let (verdict,) = function.call_async(store, (tag, events, &response)).await?;
        Ok(verdict)
    }
}
