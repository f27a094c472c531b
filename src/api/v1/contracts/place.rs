//! Where the parts of a domain are: the names of their objects are the paths of files below `events/`, in one of two layouts.

use std::collections::BTreeSet;

const SLUG_CHARS_MAX: usize = 80;
/// The name that the file of a domain has, which no event has.
const OF_DOMAIN: &str = "domain";
const ENDING: &str = ".yaml";

/// The layout of a workspace's contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DomainShape {
    /// `domains/shop/domain.yaml`, `domains/shop/order-completed.yaml`, `domains/shop/components/price.yaml`.
    Domains,
    /// The older one, without components: `contracts/shop.yaml`, `contracts/shop/order-completed.yaml`.
    Contracts,
}

/// The place of one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DomainPlace {
    pub(super) shape: DomainShape,
    pub(super) slug: String,
}

impl DomainPlace {
    /// Of the name of a domain's object; none when it is in neither layout.
    pub(super) fn of(name: &str) -> Option<Self> {
        let steps: Vec<&str> = name.split('/').collect();
        let (shape, slug) = match steps.as_slice() {
            ["domains", slug, "domain.yaml"] => (DomainShape::Domains, *slug),
            ["contracts", file] => (DomainShape::Contracts, file.strip_suffix(ENDING)?),
            _ => return None,
        };
        (!slug.is_empty()).then(|| Self { shape, slug: slug.to_owned() })
    }

    /// The name of the domain's object.
    pub(super) fn name(&self) -> String {
        match self.shape {
            DomainShape::Domains => format!("domains/{}/{OF_DOMAIN}{ENDING}", self.slug),
            DomainShape::Contracts => format!("contracts/{}{ENDING}", self.slug),
        }
    }

    /// How the names of its events begin.
    pub(super) fn events(&self) -> String {
        match self.shape {
            DomainShape::Domains => format!("domains/{}/", self.slug),
            DomainShape::Contracts => format!("contracts/{}/", self.slug),
        }
    }

    /// How the names of its components begin.
    pub(super) fn components(&self) -> String {
        format!("{}components/", self.events())
    }

    /// Whether this is the name of an event for the file of the domain itself.
    pub(super) fn is_reserved(&self, event_slug: &str) -> bool {
        self.shape == DomainShape::Domains && event_slug.eq_ignore_ascii_case(OF_DOMAIN)
    }
}

/// What stands behind the beginning of a name: the slug of an event or a component. None for what lies deeper.
pub(super) fn slug_in<'n>(name: &'n str, beginning: &str) -> Option<&'n str> {
    name.strip_prefix(beginning)?.strip_suffix(ENDING).filter(|slug| !slug.is_empty() && !slug.contains('/'))
}

/// The beginning of the name of an event or a component: all up to its slug.
pub(super) fn beginning_of(name: &str) -> &str {
    name.rfind('/').and_then(|at| name.get(..=at)).unwrap_or_default()
}

/// The name of an object with this slug.
pub(super) fn named(beginning: &str, slug: &str) -> String {
    format!("{beginning}{slug}{ENDING}")
}

/// Whether a slug can be the name of a file everywhere.
pub(super) fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=SLUG_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// A slug made of a text, which none of `taken` is. `otherwise` is for a text that has no letter and no digit.
pub(super) fn fresh_slug(text: &str, otherwise: &str, taken: &BTreeSet<String>) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    // All of it is ASCII. Some room is left for a number.
    slug.truncate(SLUG_CHARS_MAX - 10);
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { otherwise } else { slug };
    let numbered = (2..).map(|number: u32| format!("{slug}-{number}"));
    std::iter::once(slug.to_owned()).chain(numbered).find(|slug| !taken.contains(slug)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_told_by_the_name_of_its_file_and_its_parts_by_theirs() {
        let shop = DomainPlace::of("domains/shop/domain.yaml").unwrap();
        assert_eq!((shop.name().as_str(), shop.shape), ("domains/shop/domain.yaml", DomainShape::Domains));
        assert_eq!(slug_in("domains/shop/order-completed.yaml", &shop.events()), Some("order-completed"));
        assert_eq!(slug_in("domains/shop/components/price.yaml", &shop.events()), None);
        assert_eq!(slug_in("domains/shop/components/price.yaml", &shop.components()), Some("price"));
        assert_eq!(beginning_of("domains/shop/components/price.yaml"), shop.components());
        let old = DomainPlace::of("contracts/shop.yaml").unwrap();
        assert_eq!((old.name().as_str(), old.events().as_str()), ("contracts/shop.yaml", "contracts/shop/"));
        for name in ["", "shop", "domains/shop/order.yaml", "contracts/.yaml", "domains//domain.yaml", "events/x"] {
            assert_eq!(DomainPlace::of(name), None, "{name}");
        }
        assert!(shop.is_reserved("Domain") && !old.is_reserved("domain"));
    }

    #[test]
    fn a_slug_is_made_of_letters_and_digits_and_of_a_number_when_it_is_taken() {
        let none = BTreeSet::new();
        assert_eq!(fresh_slug("Order Completed – v2!", "event", &none), "order-completed-v2");
        assert_eq!(fresh_slug("–é–", "event", &none), "event");
        let taken = BTreeSet::from(["event".to_owned(), "event-2".to_owned()]);
        assert_eq!(fresh_slug("event", "x", &taken), "event-3");
        assert!(is_slug(&fresh_slug(&"long ".repeat(100), "x", &none)));
        assert!(is_slug("Order_1") && !is_slug("") && !is_slug("a/b") && !is_slug("a.b") && !is_slug(&"x".repeat(81)));
    }
}
