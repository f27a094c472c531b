//! Reading the log: filters, pages, lines of JSON.

use super::entry::{AUDIT_COLUMNS, AuditEntry, AuditResult};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{ObjectId, ObjectKind};
use crate::store::{StoreAccess, StoreCell};

/// Entries of one page.
const PAGE_MAX: usize = 1_000;

/// Which entries; what is none asks for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    pub workspace: Option<String>,
    pub principal: Option<ObjectId>,
    pub action: Option<String>,
    pub kind: Option<ObjectKind>,
    pub object: Option<ObjectId>,
    pub result: Option<AuditResult>,
    /// Inclusive, microseconds since the Unix epoch, UTC.
    pub since_us: Option<i64>,
    /// Exclusive, microseconds since the Unix epoch, UTC.
    pub until_us: Option<i64>,
}

/// Entries, and where the next page begins.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    /// The number of the last entry, when there are more.
    pub next: Option<u64>,
}

impl AuditFilter {
    /// Conditions with the cells for them, from `$1` on.
    fn conditions(&self) -> (Vec<String>, Vec<StoreCell>) {
        let texts = [
            ("workspace =", self.workspace.clone()),
            ("principal =", self.principal.clone().map(String::from)),
            ("action =", self.action.clone()),
            ("kind =", self.kind.map(|kind| kind.name().to_owned())),
            ("object =", self.object.clone().map(String::from)),
            ("result =", self.result.map(|result| result.name().to_owned())),
        ];
        let times = [("at_us >=", self.since_us), ("at_us <", self.until_us)];
        let texts = texts.into_iter().filter_map(|(column, text)| Some((column, StoreCell::from(text?))));
        let times = times.into_iter().filter_map(|(column, time)| Some((column, StoreCell::from(time?))));
        let (mut conditions, mut cells) = (Vec::new(), Vec::new());
        for (column, cell) in texts.chain(times) {
            cells.push(cell);
            conditions.push(format!("{column} ${}", cells.len()));
        }
        (conditions, cells)
    }
}

impl Catalog {
    /// Entries, newest first; `before` is the `next` of the page before.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, CatalogError> {
        self.audit_page(filter, before.map(|seq| ("seq <", seq)), "DESC", limit).await
    }

    /// Entries as lines of JSON, oldest first, and where the next lines begin; `after` is what the call before gave.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn export_audit(
        &self,
        filter: &AuditFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(String, Option<u64>), CatalogError> {
        let page = self.audit_page(filter, after.map(|seq| ("seq >", seq)), "ASC", limit).await?;
        let lines = page.entries.iter().map(|entry| entry.to_json_line() + "\n").collect();
        Ok((lines, page.next))
    }

    async fn audit_page(
        &self,
        filter: &AuditFilter,
        from: Option<(&str, u64)>,
        order: &str,
        limit: usize,
    ) -> Result<AuditPage, CatalogError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let (mut conditions, mut cells) = filter.conditions();
        if let Some((column, seq)) = from {
            cells.push(seq.into());
            conditions.push(format!("{column} ${}", cells.len()));
        }
        let conditions = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") };
        let limit_and_one = limit + 1;
        let sql =
            format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE {conditions} ORDER BY seq {order} LIMIT {limit_and_one}");
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let rows = transaction.run(&sql, cells).await?;
        let mut entries: Vec<AuditEntry> = rows.iter().map(AuditEntry::read).collect::<Result<_, _>>()?;
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| has_more).map(|entry| entry.seq);
        Ok(AuditPage { entries, next })
    }
}
