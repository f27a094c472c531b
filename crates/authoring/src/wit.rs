//! The interface as authors with tools of their own take it: a folder, a package, and a page about it.

use std::fmt::Write as _;
use std::path::Path;

use wit_bindgen_core::wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, Resolve, Type, TypeDefKind, WorldItem, WorldKey,
};

use super::build::WIT;
use super::component::EncodeError;
use super::template::{NewError, put};

/// Where [`write()`] puts the text, as `wkg` lays out what it fetches.
pub const PLACE: &str = "deps/tidegate-plugin-0.1.0/package.wit";

/// The text of the interface.
#[must_use]
pub const fn text() -> &'static str {
    WIT
}

/// Writes the text below `dir`.
///
/// # Errors
/// The disk refuses.
pub fn write(dir: &Path) -> Result<(), NewError> {
    put(&dir.join(PLACE), WIT)
}

/// The package in its binary form, which `wkg publish` and `wasm-tools` take.
///
/// # Errors
/// The interface of this program is wrong.
pub fn package() -> Result<Vec<u8>, EncodeError> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", WIT).map_err(EncodeError::of)?;
    wit_component::encode(&resolve, package).map_err(EncodeError::of)
}

/// A page about every world, interface, type and function, in Markdown.
///
/// # Errors
/// The interface of this program is wrong.
pub fn docs() -> Result<String, EncodeError> {
    let mut resolve = Resolve::default();
    resolve.push_str("plugin.wit", WIT).map_err(EncodeError::of)?;
    let mut page =
        "# The interface `tidegate:plugin@0.1.0`\n\nMade from `wit/plugin.wit` by `tidegate wit --docs`.\n".to_owned();
    for (_, world) in &resolve.worlds {
        page.push_str(&format!("\n## World `{}`\n\n", world.name));
        page.push_str("| | interface |\n|---|---|\n");
        for (what, items) in [("imports", &world.imports), ("exports", &world.exports)] {
            for (key, item) in items {
                if let (WorldKey::Interface(id), WorldItem::Interface { .. }) = (key, item)
                    && let Some(name) = &resolve.interfaces[*id].name
                {
                    let _ = writeln!(page, "| {what} | [`{name}`](#interface-{name}) |");
                }
            }
        }
    }
    for (_, interface) in &resolve.interfaces {
        let _ = writeln!(page, "\n## Interface `{}`\n", interface.name.as_deref().unwrap_or_default());
        described(&mut page, &interface.docs);
        types(&mut page, &resolve, interface);
        for (_, function) in interface.functions.iter().filter(|(_, function)| is_free(function)) {
            let _ = writeln!(page, "\n### `{}`\n", signature(&resolve, function));
            described(&mut page, &function.docs);
        }
    }
    // One blank line between paragraphs, and none at the end.
    while page.contains("\n\n\n") {
        page = page.replace("\n\n\n", "\n\n");
    }
    Ok(format!("{}\n", page.trim_end()))
}

fn described(page: &mut String, docs: &Docs) {
    if let Some(text) = &docs.contents {
        let _ = writeln!(page, "{}", text.trim());
    }
}

fn is_free(function: &Function) -> bool {
    matches!(function.kind, FunctionKind::Freestanding)
}

fn types(page: &mut String, resolve: &Resolve, interface: &Interface) {
    for (name, id) in &interface.types {
        let ty = &resolve.types[*id];
        // What is used from elsewhere is described there.
        if matches!(ty.kind, TypeDefKind::Type(Type::Id(_))) {
            continue;
        }
        let (what, rows) = members(resolve, interface, &ty.kind);
        let _ = writeln!(page, "\n### {what} `{name}`\n");
        described(page, &ty.docs);
        if !rows.is_empty() {
            page.push_str("\n| | |\n|---|---|\n");
        }
        for (member, docs) in rows {
            let text = docs.contents.as_deref().unwrap_or_default().trim().replace('\n', " ");
            let _ = writeln!(page, "| `{}` | {text} |", member.replace('|', "\\|"));
        }
    }
}

/// What kind of type it is, and its parts.
fn members<'a>(
    resolve: &'a Resolve,
    interface: &'a Interface,
    kind: &'a TypeDefKind,
) -> (&'static str, Vec<(String, &'a Docs)>) {
    match kind {
        TypeDefKind::Record(record) => {
            let field = |field: &'a wit_bindgen_core::wit_parser::Field| {
                (format!("{}: {}", field.name, named(resolve, &field.ty)), &field.docs)
            };
            ("Record", record.fields.iter().map(field).collect())
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &'a wit_bindgen_core::wit_parser::Case| match &case.ty {
                Some(ty) => (format!("{}({})", case.name, named(resolve, ty)), &case.docs),
                None => (case.name.clone(), &case.docs),
            };
            ("Variant", variant.cases.iter().map(case).collect())
        }
        TypeDefKind::Enum(of) => ("Enum", of.cases.iter().map(|case| (case.name.clone(), &case.docs)).collect()),
        TypeDefKind::Resource => {
            let methods = interface.functions.values().filter(|function| !is_free(function));
            ("Resource", methods.map(|function| (signature(resolve, function), &function.docs)).collect())
        }
        _ => ("Type", Vec::new()),
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let own = function.name.rsplit(['.', ']']).next().unwrap_or(&function.name);
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let parameters = function.params.iter().skip(usize::from(is_method));
    let parameters: Vec<String> =
        parameters.map(|parameter| format!("{}: {}", parameter.name, named(resolve, &parameter.ty))).collect();
    let result = match (&function.kind, &function.result) {
        (FunctionKind::Constructor(_), _) | (_, None) => String::new(),
        (_, Some(ty)) => format!(" -> {}", named(resolve, ty)),
    };
    let own = if matches!(function.kind, FunctionKind::Constructor(_)) { "constructor" } else { own };
    format!("{own}({}){result}", parameters.join(", "))
}

fn named(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_ascii_lowercase() };
    let definition = &resolve.types[*id];
    if let Some(name) = &definition.name {
        return name.clone();
    }
    let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| named(resolve, ty));
    match &definition.kind {
        TypeDefKind::List(ty) => format!("list<{}>", named(resolve, ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", named(resolve, ty)),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (ok, None) => format!("result<{}>", optional(ok)),
            (ok, err) => format!("result<{}, {}>", optional(ok), optional(err)),
        },
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(|ty| named(resolve, ty)).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Borrow(id)) => {
            format!("borrow<{}>", resolve.types[*id].name.as_deref().unwrap_or_default())
        }
        TypeDefKind::Handle(Handle::Own(id)) => resolve.types[*id].name.clone().unwrap_or_default(),
        TypeDefKind::Type(ty) => named(resolve, ty),
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_of_the_interface_as_it_is() {
        let page = docs().unwrap();
        assert_eq!(page, include_str!("../../../docs/wit.md"), "run: tidegate wit --docs > docs/wit.md");
        for said in [
            "### `transform(batch: list<event-json>) -> result<list<outcome>, batch-error>`",
            "| `fail(plugin-error)` |",
        ] {
            assert!(page.contains(said), "{said} is not in\n{page}");
        }
    }

    #[test]
    fn the_package_holds_every_world() {
        let decoded = wit_component::decode(&package().unwrap()).unwrap();
        let names: Vec<&str> = decoded.resolve().worlds.iter().map(|(_, world)| world.name.as_str()).collect();
        assert_eq!(names, ["transform", "transform-fields", "destination-plugin", "forgetting-destination"]);
    }
}
