//! What of a workspace somebody sees.

use super::authorise::authorise;
use super::principal::ActingPrincipal;
use super::target::RightsTarget;
use super::verb::Verb;
use crate::object::{CatalogObject, CatalogSnapshot};

/// The objects that a principal may view, in order.
#[must_use]
pub fn visible<'s>(principal: &ActingPrincipal, snapshot: &'s CatalogSnapshot) -> Vec<&'s CatalogObject> {
    let may_view = |object: &&CatalogObject| {
        let target = RightsTarget::of(object, |kind, name| snapshot.named(kind, name));
        authorise(principal, Verb::View.into(), &target).is_ok()
    };
    snapshot.objects.iter().filter(may_view).collect()
}
