//! The paths that a guest of the fields world makes once and reads and edits by.

use std::sync::Arc;

use tidegate_document::pointer;
use wasmtime::component::Resource;

use super::host_trap::HostTrap;
use super::legible::legible;

/// Paths that one instance may hold, and what they may take up together.
const PATHS_MAX: usize = 10_000;
const PATHS_BYTES_MAX: usize = 1 << 20;

/// Levels of a path, and of a value that is set.
pub(super) const DEPTH_MAX: usize = 64;

/// A parsed JSON pointer; the guest's handle is its place in [`GuestPaths`].
pub struct GuestPath;

/// The paths that an instance has made, by handle.
#[derive(Default)]
pub(super) struct GuestPaths {
    made: Vec<Option<Arc<[String]>>>,
    free: Vec<u32>,
    /// What they take up.
    bytes: usize,
}

impl GuestPaths {
    pub(super) fn get(&self, path: &Resource<GuestPath>) -> wasmtime::Result<&Arc<[String]>> {
        self.made.get(path.rep() as usize).and_then(Option::as_ref).ok_or_else(|| HostTrap::Handle.into())
    }

    /// Keeps a path that the guest made.
    pub(super) fn add(&mut self, json_pointer: &str) -> wasmtime::Result<Resource<GuestPath>> {
        let steps: Option<Arc<[String]>> = json_pointer.strip_prefix('/').map(|rest| pointer::steps(rest).collect());
        let Some(steps) = steps.filter(|steps| steps.len() <= DEPTH_MAX) else {
            return Err(HostTrap::Pointer(legible(json_pointer, 80)).into());
        };
        if self.bytes + path_bytes(&steps) > PATHS_BYTES_MAX {
            return Err(HostTrap::PathsBytes(PATHS_BYTES_MAX).into());
        }
        self.bytes += path_bytes(&steps);
        if let Some(rep) = self.free.pop() {
            self.made[rep as usize] = Some(steps);
            return Ok(Resource::new_own(rep));
        }
        if self.made.len() >= PATHS_MAX {
            return Err(HostTrap::Paths(PATHS_MAX).into());
        }
        self.made.push(Some(steps));
        Ok(Resource::new_own(u32::try_from(self.made.len() - 1).unwrap_or(u32::MAX)))
    }

    /// Forgets a path that the guest has dropped.
    pub(super) fn remove(&mut self, path: &Resource<GuestPath>) {
        if let Some(place) = self.made.get_mut(path.rep() as usize)
            && let Some(steps) = place.take()
        {
            self.bytes -= path_bytes(&steps);
            self.free.push(path.rep());
        }
    }
}

/// What a path takes up, the places of its steps included.
fn path_bytes(path: &[String]) -> usize {
    path.iter().map(|step| step.len() + size_of::<String>()).sum()
}
