//! Host bindings for `wit/plugin.wit`, generated: the three worlds over one set of value types. Typed bindings matter:
//! lists of dynamic values have no bulk path.

/// Values and host functions that all worlds share, and the world of functions over JSON text.
pub mod transform {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of functions over parsed events.
pub mod fields {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform-fields",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "tidegate:plugin/types": super::transform::tidegate::plugin::types,
            "tidegate:plugin/host": super::transform::tidegate::plugin::host,
            "tidegate:plugin/lookup": super::transform::tidegate::plugin::lookup,
            "tidegate:plugin/fields.path": crate::guest_path::GuestPath,
        },
    });
}

/// The world of destination plugins.
pub mod destination {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "destination-plugin",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "tidegate:plugin/types": super::transform::tidegate::plugin::types,
            "tidegate:plugin/host": super::transform::tidegate::plugin::host,
        },
    });
}
