//! The ways out of the limits, each of which ends a call.

/// How a guest was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    Trap,
    CpuBudget,
    WallLimit,
    /// The wall limit came while the call had hardly run. A guest has nothing to wait for: the machine stood still.
    Starved,
    MemoryLimit,
    OutputLimit,
}

impl StopReason {
    /// The word in errors and in quarantine. To those who read it a machine that stood still is a wall limit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::CpuBudget => "cpu-budget",
            Self::WallLimit | Self::Starved => "wall-limit",
            Self::MemoryLimit => "memory-limit",
            Self::OutputLimit => "output-limit",
        }
    }
}
