//! Types that columns shall have whatever values come.
//!
//! Whoever knows what events look like (a contract) declares fields by their path; from the path alone follow the table
//! and the column, as for a value of an event. A column so declared is there from the start, and a value that its type
//! does not hold is kept in the row's overflow instead of widening it. Declaring a field twice joins the two types.

use std::collections::BTreeMap;

use tidegate_event::EventKind;

use super::evolve::Type;
use super::name::{self, Path};
use super::table::{BasePlace, Family, OVERFLOW};

/// Types by the table's own name (without a schema) and the column's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    pub tables: BTreeMap<Box<str>, BTreeMap<Box<str>, Type>>,
}

impl Declared {
    /// Declares the field at `path` of an event. A track has its name's table; the table of tracks holds other events
    /// too and is left to its values, and so are the tables of pages and screens where one name alone is meant.
    pub fn field(&mut self, kind: EventKind, event_name: Option<&str>, path: &[String], wanted: Type) {
        let (family, table) = match (kind, event_name) {
            (EventKind::Track, Some(event)) => (Family::Event, name::table(event, &Family::FIXED)),
            (EventKind::Track, None) | (EventKind::Page | EventKind::Screen, Some(_)) => return,
            (kind, _) => {
                let family = Family::of(kind);
                (family, family.table().unwrap_or_default().to_owned())
            }
        };
        let Some(column) = column(family, path) else { return };
        let columns = self.tables.entry(table.into()).or_default();
        columns.entry(column.into()).and_modify(|kind| *kind = kind.join(wanted)).or_insert(wanted);
    }
}

/// The column of the field at `path` in a table of this family; `None` when it is one of the table's own.
fn column(family: Family, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let (root, rest, prefixed) = match family.place(first) {
        BasePlace::Nowhere | BasePlace::Base(_) | BasePlace::Id(_) | BasePlace::Instant(_) => return None,
        BasePlace::Own => (Path::root(family.own(), ""), rest, false),
        BasePlace::Context => (Path::root("context", "context"), rest, true),
        BasePlace::Message => (Path::root("", "message"), path, true),
    };
    if rest.is_empty() {
        return None;
    }
    let path = rest.iter().fold(root, |path, key| path.child(key));
    Some(path.column(|name| if prefixed { name == OVERFLOW } else { family.takes(name) }).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_declared_where_its_values_go() {
        let mut declared = Declared::default();
        let mut field = |kind, name, path: &str, wanted| {
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            declared.field(kind, name, &path, wanted);
        };
        let order = Some("Order Completed");
        field(EventKind::Track, order, "properties/orderId", Type::Text);
        field(EventKind::Track, order, "properties/id", Type::Integer);
        field(EventKind::Track, order, "properties/total", Type::Integer);
        field(EventKind::Track, order, "properties/total", Type::Decimal);
        field(EventKind::Track, order, "context/page/URL", Type::Text);
        field(EventKind::Track, order, "traits/plan", Type::Text);
        field(EventKind::Track, order, "userId", Type::Integer);
        field(EventKind::Track, order, "properties", Type::Json);
        field(EventKind::Identify, None, "traits/age", Type::Integer);
        field(EventKind::Page, Some("Home"), "properties/x", Type::Integer);
        let table = |columns: &[(&str, Type)]| columns.iter().map(|(name, kind)| ((*name).into(), *kind)).collect();
        let expected = [
            (
                "order_completed".into(),
                table(&[
                    ("_id", Type::Integer),
                    ("context_page_url", Type::Text),
                    ("message_traits_plan", Type::Text),
                    ("order_id", Type::Text),
                    ("total", Type::Decimal),
                ]),
            ),
            ("identifies".into(), table(&[("age", Type::Integer)])),
        ];
        assert_eq!(declared.tables, expected.into());
    }
}
