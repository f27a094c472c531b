//! The stand-in for the system interface that components of C and Go are built with.

use wasmtime::{Caller, Engine, Linker, Memory, MemoryType, Module, Store};

const TEXT: &str = include_str!("../../crates/authoring/src/build/adapter.wat");

#[test]
fn only_the_time_of_day_asks_the_host() {
    const HOST: &str = "tidegate:plugin/host@0.1.0";
    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(TEXT).unwrap()).unwrap();
    // How often the host was asked.
    let mut store = Store::new(&engine, 0_u32);
    let mut linker: Linker<u32> = Linker::new(&engine);
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    linker.define(&store, "env", "memory", memory).unwrap();
    linker.func_wrap(HOST, "log", |_: i32, _: i32, _: i32| {}).unwrap();
    linker.func_wrap(HOST, "seed", || 0_i64).unwrap();
    linker
        .func_wrap(HOST, "now-ms", |mut caller: Caller<'_, u32>| {
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
