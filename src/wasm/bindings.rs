//! Host bindings for `wit/plugin.wit`, generated. Typed bindings matter: lists of dynamic values have no bulk path.

wasmtime::component::bindgen!({
    path: "wit",
    world: "transform",
    exports: { default: async },
    require_store_data_send: true,
});
