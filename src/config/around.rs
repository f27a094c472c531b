//! What the workspace has around a destination.

use std::path::Path;

use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

/// What a destination may refer to.
pub(super) struct Around<'a> {
    pub(super) data: &'a Path,
    pub(super) outgoing: &'a Outgoing,
    pub(super) inputs: &'a ObjectInputs<'a>,
}
