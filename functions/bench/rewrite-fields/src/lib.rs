//! The edits of `rewrite`, field by field on events that the host has parsed: the price of the fast way.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

use std::cell::OnceCell;

use exports::tidegate::plugin::{field_transformer, lifecycle};
use tidegate::plugin::fields::{self, Path};

struct RewriteFields;

/// Made once, in `configure`: a path is parsed by the host when it is made.
struct Paths {
    order_id: Path,
    renamed: Path,
    processed: Path,
}

thread_local! {
    static PATHS: OnceCell<Paths> = const { OnceCell::new() };
}

impl lifecycle::Guest for RewriteFields {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        let path = |name: &str| Path::new(&format!("/properties/{name}"));
        PATHS.with(|paths| {
            paths.get_or_init(|| Paths {
                order_id: path("order_id"),
                renamed: path("orderId"),
                processed: path("processed"),
            });
        });
        Ok(())
    }
}

impl field_transformer::Guest for RewriteFields {
    fn transform(events: u32) -> Result<(), field_transformer::BatchError> {
        PATHS.with(|paths| {
            let Some(paths) = paths.get() else { return };
            (0..events).for_each(|event| one(event, paths));
        });
        Ok(())
    }
}

fn one(event: u32, paths: &Paths) {
    let moved = paths.order_id.move_to(event, &paths.renamed).map(drop);
    if let Err(reason) = moved.and_then(|()| paths.processed.set_json(event, "true")) {
        fields::fail_event(event, "no-properties", &reason);
    }
}

export!(RewriteFields);
