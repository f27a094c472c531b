//! Lists: filters, and pages that a cursor goes on from.

use data_encoding::BASE64URL_NOPAD;

use super::rows::{OBJECT_COLUMNS, object};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{CatalogObject, ObjectId, ObjectKind};
use crate::store::{StoreAccess, StoreCell};

/// Objects of one page.
const PAGE_MAX: usize = 1_000;

/// No name is longer, and a store bounds what it compares with.
const NAME_CHARS_MAX: usize = 200;

/// By who decides what an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedFilter {
    Nobody,
    Folder,
}

/// Which objects; what is none asks for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    pub workspace: String,
    pub kind: Option<ObjectKind>,
    /// What names begin with.
    pub name_prefix: Option<String>,
    /// What names have in them; large and small letters of ASCII are the same.
    pub name_part: Option<String>,
    /// Key and value.
    pub label: Option<(String, String)>,
    pub managed_by: Option<ManagedFilter>,
    /// A user, whose tokens are meant as well, or a token.
    pub owner: Option<ObjectId>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// At most; 1 to 1,000.
    pub limit: usize,
}

/// Objects in the order of the names of their kinds, then of their names.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPage {
    pub objects: Vec<CatalogObject>,
    /// When there are more.
    pub next: Option<String>,
}

impl ListQuery {
    fn conditions(&self) -> Result<(String, Vec<StoreCell>), CatalogError> {
        let mut conditions = vec!["workspace = $1".to_owned()];
        let mut cells: Vec<StoreCell> = vec![self.workspace.as_str().into()];
        let mut add = |condition: &str, values: Vec<StoreCell>| {
            let mut text = condition.to_owned();
            for value in values {
                cells.push(value);
                text = text.replacen('#', &format!("${}", cells.len()), 1);
            }
            conditions.push(text);
        };
        if let Some(kind) = self.kind {
            add("kind = #", vec![kind.name().into()]);
        }
        if let Some(prefix) = self.name_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            // No name has the last character that there is.
            add("name >= # AND name < #", vec![prefix.into(), format!("{prefix}\u{10FFFF}").into()]);
        }
        if self.name_part.as_ref().is_some_and(|part| part.chars().count() > NAME_CHARS_MAX) {
            add("1 = 0", Vec::new());
        } else if let Some(part) = self.name_part.as_deref().filter(|part| !part.is_empty()) {
            let literal = part.to_ascii_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
            add("lower(name) LIKE # ESCAPE '!'", vec![format!("%{literal}%").into()]);
        }
        if let Some((name, value)) = &self.label {
            let labelled = "id IN (SELECT id FROM label WHERE name = # AND value = #)";
            add(labelled, vec![name.as_str().into(), value.as_str().into()]);
        }
        if let Some(managed) = self.managed_by {
            let condition = match managed {
                ManagedFilter::Nobody => "is_managed = 0",
                ManagedFilter::Folder => "is_managed <> 0",
            };
            add(condition, Vec::new());
        }
        if let Some(owner) = &self.owner {
            let is_theirs = "(owner = # OR owner IN (SELECT id FROM object WHERE kind = 'token' AND owner = #))";
            add(is_theirs, vec![owner.as_str().into(), owner.as_str().into()]);
        }
        if let Some(cursor) = &self.cursor {
            let (kind, name) = read_cursor(cursor)?;
            let after = "(kind > # OR (kind = # AND name > #))";
            add(after, vec![kind.as_str().into(), kind.as_str().into(), name.into()]);
        }
        Ok((conditions.join(" AND "), cells))
    }
}

impl Catalog {
    /// Living objects, page by page. Whoever goes on with a cursor sees each object that was there all the while once.
    ///
    /// # Errors
    /// They cannot be read, or the cursor is none.
    pub async fn list(&self, query: &ListQuery) -> Result<ListPage, CatalogError> {
        let (conditions, cells) = query.conditions()?;
        let limit = query.limit.clamp(1, PAGE_MAX);
        let limit_and_one = limit + 1;
        let sql =
            format!("SELECT {OBJECT_COLUMNS} FROM object WHERE {conditions} ORDER BY kind, name LIMIT {limit_and_one}");
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let rows = transaction.run(&sql, cells).await?;
        let objects: Vec<CatalogObject> = rows.iter().take(limit).map(object).collect::<Result<_, _>>()?;
        let next = objects.last().filter(|_| rows.len() > limit).map(cursor);
        Ok(ListPage { objects, next })
    }
}

/// The last kind and name of a page, as text that is safe in a URL.
fn cursor(last: &CatalogObject) -> String {
    let (kind, name) = last.key();
    BASE64URL_NOPAD.encode(format!("{}\n{name}", kind.name()).as_bytes())
}

fn read_cursor(text: &str) -> Result<(String, String), CatalogError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| CatalogError::Cursor)?;
    let text = String::from_utf8(bytes).map_err(|_| CatalogError::Cursor)?;
    let (kind, name) = text.split_once('\n').ok_or(CatalogError::Cursor)?;
    let kind: ObjectKind = kind.parse().map_err(|_| CatalogError::Cursor)?;
    if name.contains('\0') { Err(CatalogError::Cursor) } else { Ok((kind.name().to_owned(), name.to_owned())) }
}
