//! How much of a message is read.

/// Bounds on what is read of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Parts of a message.
    pub parts_max: usize,
    /// Bytes of a part that is read; a larger one cannot be mapped.
    pub bytes_max: usize,
    /// Containers within containers.
    pub depth_max: usize,
    /// Object keys at any depth, or fields of a form.
    pub keys_max: usize,
}

/// A message has more parts than are taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyParts(pub usize);
