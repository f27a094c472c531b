//! The ways in which the host ends a call from within.

use std::time::Duration;

/// Why the host ends a call from within.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostTrap {
    #[error("the CPU budget of {} ms is gone", .0.as_millis())]
    Cpu(Duration),
    #[error("the wall limit is reached")]
    Wall,
    #[error("the guest called exit")]
    Exit,
    #[error("{0} is not available to a function")]
    Absent(String),
    #[error("there is no event {index}: the batch has {events}")]
    Index { index: u32, events: usize },
    #[error("the handle is none of a path")]
    Handle,
    #[error("{0:?} is no JSON pointer; write /properties/name")]
    Pointer(String),
    #[error("the guest holds {0} paths; make each once, in `configure`")]
    Paths(usize),
    #[error("the guest holds paths of more than {0} bytes; make each once, in `configure`")]
    PathsBytes(usize),
    #[error("the guest wrote more than max(output_bytes_min, output_per_input * input)")]
    Written,
}
