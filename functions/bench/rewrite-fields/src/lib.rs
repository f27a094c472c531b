//! The edits of `rewrite`, field by field on events that the host has parsed: the price of the fast way.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

use std::cell::OnceCell;

use exports::tidegate::plugin::{field_transformer, lifecycle};
use tidegate::plugin::fields::{Batch, Path};

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
    fn transform(batch: &Batch) -> Result<(), field_transformer::BatchError> {
        PATHS.with(|paths| {
            let Some(paths) = paths.get() else { return };
            for event in 0..batch.len() {
                one(batch, event, paths);
            }
        });
        Ok(())
    }
}

fn one(batch: &Batch, event: u32, paths: &Paths) {
    if let Some(order_id) = batch.get_string(event, &paths.order_id) {
        batch.remove(event, &paths.order_id);
        if let Err(reason) = batch.set_string(event, &paths.renamed, &order_id) {
            batch.fail_event(event, "no-properties", &reason);
        }
    }
    if let Err(reason) = batch.set_json(event, &paths.processed, "true") {
        batch.fail_event(event, "no-properties", &reason);
    }
}

export!(RewriteFields);
