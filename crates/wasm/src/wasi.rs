//! Inert stand-ins for the WASI names that standard libraries import without being asked.
//!
//! There is nothing behind them: an environment without variables, an input at its end, outputs that are the function's
//! log, an `exit` that is a trap. Everything else of WASI (files, sockets, clocks, HTTP) is refused when a module is
//! loaded. The stand-ins are defined by name from what the component asks for, so any 0.2 version is served.

use std::sync::Arc;

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{AsContextMut, StoreContextMut};

use super::engine::Engine;
use super::guest::Guest;
use super::host_trap::HostTrap;

/// The interfaces that are served, without their versions.
const INERT: [&str; 14] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure-seed",
];

/// Whether `import` is one of the WASI names that get a stand-in.
pub(super) fn is_inert(import: &str) -> bool {
    let Some((name, version)) = import.split_once('@') else { return false };
    version.starts_with("0.2.") && INERT.contains(&name)
}

/// Defines stand-ins for everything that `instance`, imported as `import`, asks for.
pub(super) fn define(
    linker: &mut Linker<Guest>,
    engine: &Engine,
    import: &str,
    instance: &ComponentInstance,
) -> wasmtime::Result<()> {
    let mut defined = linker.instance(import)?;
    for (name, item) in instance.exports(engine.raw()) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => define_function(&mut defined, import, name)?,
            ComponentItem::Resource(_) => {
                if let Some(ty) = resource(name) {
                    defined.resource(name, ty, |_, _| Ok(()))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

struct InputStream;
struct OutputStream;
struct Pollable;
struct IoError;
struct TerminalInput;
struct TerminalOutput;

fn resource(name: &str) -> Option<ResourceType> {
    Some(match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<IoError>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        _ => return None,
    })
}

fn define_function(defined: &mut LinkerInstance<'_, Guest>, import: &str, name: &str) -> wasmtime::Result<()> {
    let names: Arc<(String, String)> = Arc::new((name.to_owned(), format!("{import}#{name}")));
    // Asynchronous only because giving a borrowed handle back is: no stand-in ever waits.
    defined.func_new_async(name, move |mut store, _, params, results| {
        let names = names.clone();
        Box::new(async move {
            let value = answer(store.as_context_mut(), &names.0, &names.1, params)?;
            if let (Some(value), Some(result)) = (value, results.first_mut()) {
                *result = value;
            }
            for param in params {
                if let Val::Resource(handle) = param {
                    handle.resource_drop_async(&mut store).await?;
                }
            }
            Ok(())
        })
    })
}

/// What the stand-in for `function` says.
fn answer(
    mut store: StoreContextMut<'_, Guest>,
    function: &str,
    whole: &str,
    params: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let fine = || Val::Result(Ok(None));
    let closed = || Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None)))));
    Ok(Some(match function {
        "get-environment" | "get-arguments" => Val::List(Vec::new()),
        "initial-cwd" | "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr" => Val::Option(None),
        "insecure-seed" => {
            let seed = store.data().seed();
            Val::Tuple(vec![Val::U64(seed), Val::U64(seed.rotate_left(32))])
        }
        "get-stdin" => owned(Resource::<InputStream>::new_own(0), &mut store)?,
        "get-stdout" | "get-stderr" => owned(Resource::<OutputStream>::new_own(0), &mut store)?,
        "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => {
            owned(Resource::<Pollable>::new_own(0), &mut store)?
        }
        "[method]output-stream.check-write" => Val::Result(Ok(Some(Box::new(Val::U64(4_096))))),
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            if let Some(Val::List(bytes)) = params.get(1) {
                let bytes = bytes.iter().filter_map(|byte| if let Val::U8(byte) = byte { Some(*byte) } else { None });
                store.data_mut().print(&bytes.collect::<Vec<u8>>());
            }
            fine()
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => fine(),
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => closed(),
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => closed(),
        "[method]pollable.ready" => Val::Bool(true),
        "[method]pollable.block" => return Ok(None),
        "[method]error.to-debug-string" => Val::String("closed".to_owned()),
        "exit" | "exit-with-code" => return Err(HostTrap::Exit.into()),
        _ => return Err(HostTrap::Absent(whole.to_owned()).into()),
    }))
}

fn owned<T: 'static>(resource: Resource<T>, store: &mut StoreContextMut<'_, Guest>) -> wasmtime::Result<Val> {
    Ok(Val::Resource(ResourceAny::try_from_resource(resource, store)?))
}
