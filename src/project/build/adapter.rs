//! The stand-in for the system interface that C libraries and Go import. With it a component has no imports but ours.

use super::super::component::EncodeError;
use super::bindings;

const TEXT: &str = include_str!("adapter.wat");

/// The stand-in as a module that the encoder takes.
pub(super) fn preview1() -> Result<Vec<u8>, EncodeError> {
    let mut module = wat::parse_str(TEXT).map_err(EncodeError::of)?;
    bindings::embed_host_type(&mut module)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Linker, Memory, MemoryType, Module, Store};

    #[test]
    fn only_the_time_of_day_asks_the_host() {
        const HOST: &str = "tidegate:plugin/host@0.1.0";
        let engine = Engine::default();
        let module = Module::new(&engine, super::preview1().unwrap()).unwrap();
        // How often the host was asked.
        let mut store = Store::new(&engine, 0_u32);
        let mut linker: Linker<u32> = Linker::new(&engine);
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        linker.define(&store, "env", "memory", memory).unwrap();
        linker.func_wrap(HOST, "log", |_: i32, _: i32, _: i32| {}).unwrap();
        linker.func_wrap(HOST, "seed", || 0_i64).unwrap();
        linker
            .func_wrap(HOST, "now-ms", |mut caller: wasmtime::Caller<'_, u32>| {
                *caller.data_mut() += 1;
                7_i64
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let clock = instance.get_typed_func::<(i32, i64, i32), i32>(&mut store, "clock_time_get").unwrap();
        for (clock_id, asked, nanoseconds) in [(1, 0, 1_000), (1, 0, 2_000), (0, 1, 7_003_000)] {
            clock.call(&mut store, (clock_id, 0, 64)).unwrap();
            let mut read = [0; 8];
            memory.read(&store, 64, &mut read).unwrap();
            assert_eq!((*store.data(), u64::from_le_bytes(read)), (asked, nanoseconds));
        }
    }
}
