//! The worlds of plugins: what a component of each kind may import and must export, as the host spells it.

use tidegate_plugin::ManifestKind;

/// The interfaces that a component of this kind may import, as the host spells them.
pub(super) const fn imports(kind: ManifestKind) -> &'static [&'static str] {
    match kind {
        ManifestKind::Transform => {
            &["tidegate:plugin/host@0.1.0", "tidegate:plugin/types@0.1.0", "tidegate:plugin/lookup@0.1.0"]
        }
        ManifestKind::Fields => &[
            "tidegate:plugin/host@0.1.0",
            "tidegate:plugin/types@0.1.0",
            "tidegate:plugin/lookup@0.1.0",
            "tidegate:plugin/fields@0.1.0",
        ],
        ManifestKind::Destination => {
            &["tidegate:plugin/host@0.1.0", "tidegate:plugin/types@0.1.0", "tidegate:plugin/secrets@0.1.0"]
        }
    }
}

/// The interfaces that a component of this kind must export.
pub(super) const fn exports(kind: ManifestKind) -> [&'static str; 2] {
    [
        "tidegate:plugin/lifecycle@0.1.0",
        match kind {
            ManifestKind::Transform => "tidegate:plugin/transformer@0.1.0",
            ManifestKind::Fields => "tidegate:plugin/field-transformer@0.1.0",
            ManifestKind::Destination => "tidegate:plugin/destination@0.1.0",
        },
    ]
}

/// What a destination may export besides: it has its tool delete what it has about somebody.
pub(super) const FORGET: &str = "tidegate:plugin/forget@0.1.0";

/// The version of tidegate:plugin in the name of an interface, where it is not the one that this host speaks.
pub(super) fn other_version(interface: &str) -> Option<&str> {
    let (_, version) = interface.strip_prefix("tidegate:plugin/")?.split_once('@')?;
    (version != "0.1.0").then_some(version)
}
