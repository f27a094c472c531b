//! What is asked of the store for one page, one change, one name: the same, however many objects there are. Counted, not timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tidegate_catalog::*;

use crate::rig::{CatalogRig, CatalogTest, KEY, PRODUCTION, SeededEntropy, SqliteRig, labels};

/// Statements that were run, and rows that they gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StoreWork {
    statements: u64,
    rows: u64,
}

/// The same, while it is counted.
#[derive(Default)]
struct WorkCount {
    statements: AtomicU64,
    rows: AtomicU64,
}

impl WorkCount {
    fn add(&self, statements: usize, rows: usize) {
        self.statements.fetch_add(statements as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// What was counted since it was asked last.
    fn take(&self) -> StoreWork {
        let (statements, rows) = (&self.statements, &self.rows);
        StoreWork { statements: statements.swap(0, Ordering::Relaxed), rows: rows.swap(0, Ordering::Relaxed) }
    }
}

/// A store whose work is counted.
struct CountedStore {
    inner: Arc<dyn CatalogStore>,
    count: Arc<WorkCount>,
}

struct CountedTransaction {
    inner: Box<dyn CatalogTransaction>,
    count: Arc<WorkCount>,
}

impl CatalogStore for CountedStore {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn migrations(&self) -> &'static [Migration] {
        self.inner.migrations()
    }

    fn begin(&self, access: StoreAccess) -> StoreReply<'_, Box<dyn CatalogTransaction>> {
        Box::pin(async move {
            let inner = self.inner.begin(access).await?;
            let counted: Box<dyn CatalogTransaction> =
                Box::new(CountedTransaction { inner, count: Arc::clone(&self.count) });
            Ok(counted)
        })
    }
}

impl CatalogTransaction for CountedTransaction {
    fn run<'a>(&'a mut self, sql: &'a str, cells: Vec<StoreCell>) -> StoreReply<'a, Vec<StoredRow>> {
        Box::pin(async move {
            let rows = self.inner.run(sql, cells).await?;
            self.count.add(1, rows.len());
            Ok(rows)
        })
    }

    fn run_each<'a>(&'a mut self, sql: &'a str, rows: Vec<Vec<StoreCell>>) -> StoreReply<'a, ()> {
        self.count.add(rows.len(), 0);
        self.inner.run_each(sql, rows)
    }

    fn run_script<'a>(&'a mut self, sql: &'a str) -> StoreReply<'a, ()> {
        self.count.add(1, 0);
        self.inner.run_script(sql)
    }

    fn commit(self: Box<Self>) -> StoreReply<'static, ()> {
        self.inner.commit()
    }
}

/// A catalog of so many sources that a folder manages, whose work is counted.
struct CountedCatalog {
    test: CatalogTest,
    count: Arc<WorkCount>,
    wanted: Vec<WantedObject>,
    /// Keeps the files.
    _rig: SqliteRig,
}

impl CountedCatalog {
    fn of(objects: usize) -> Self {
        let (rig, count) = (SqliteRig::new().unwrap(), Arc::new(WorkCount::default()));
        let store = Arc::new(CountedStore { inner: rig.store(), count: Arc::clone(&count) });
        let test = CatalogTest::open(store, InstanceKey::new(KEY).into()).unwrap();
        let source = |n: usize| WantedObject {
            kind: ObjectKind::Source,
            name: format!("source {n:05}"),
            was: None,
            labels: labels(&[("team", if n < 50 { "web" } else { "shop" })]),
            owner: None,
            spec: json!({"kind": "http", "rate": n}),
        };
        let wanted: Vec<WantedObject> = (0..objects).map(source).collect();
        let made = plan(&test.snapshot(), &wanted, PlanOptions::default());
        let entropy = SeededEntropy::new(7);
        let change = made.change(Authority::Program, Actor::default(), test.tick(), entropy.as_ref()).unwrap();
        test.commit_change(&change).unwrap();
        count.take();
        Self { test, count, wanted, _rig: rig }
    }

    /// What something takes.
    fn work(&self, of: impl FnOnce(&CatalogTest)) -> StoreWork {
        self.count.take();
        of(&self.test);
        self.count.take()
    }
}

const FEW: usize = 200;
const MANY: usize = 10_000;

#[test]
fn a_page_of_many_objects_takes_what_a_page_of_few_takes() {
    let (few, many) = (CountedCatalog::of(FEW), CountedCatalog::of(MANY));
    let all = ListQuery { workspace: PRODUCTION.into(), limit: 20, ..ListQuery::default() };
    for query in [
        all.clone(),
        ListQuery { kind: Some(ObjectKind::Source), ..all.clone() },
        ListQuery { name_prefix: Some("source 0000".into()), ..all.clone() },
        ListQuery { label: Some(("team".into(), "web".into())), ..all.clone() },
        ListQuery { managed_by: Some(ManagedFilter::Folder), ..all.clone() },
        ListQuery { managed_by: Some(ManagedFilter::Nobody), ..all },
    ] {
        let page = |test: &CatalogTest| test.wait(test.catalog.list(&query)).unwrap();
        let mut pages = Vec::new();
        for counted in [&few, &many] {
            let work = counted.work(|test| pages.push(page(test)));
            assert!(work.rows <= 21, "{query:?}: {work:?}");
            assert_eq!(work.statements, 1, "{query:?}");
        }
        let names = |page: &ListPage| page.objects.iter().map(|it| it.content.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&pages[0]), names(&pages[1]), "{query:?}");
        assert_eq!(pages[0].next, pages[1].next, "{query:?}");
    }
}

#[test]
fn pages_of_ten_thousand_objects_have_each_once_and_read_each_once() {
    let many = CountedCatalog::of(MANY);
    let mut query = ListQuery { workspace: PRODUCTION.into(), limit: 1_000, ..ListQuery::default() };
    let mut names = Vec::new();
    let work = many.work(|test| {
        loop {
            let page = test.wait(test.catalog.list(&query)).unwrap();
            names.extend(page.objects.into_iter().map(|object| object.content.name));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
    });
    let wanted: Vec<String> = many.wanted.iter().map(|object| object.name.clone()).collect();
    assert_eq!(names, wanted);
    // Of each page but the last it is seen that another one follows.
    assert_eq!(work, StoreWork { statements: 10, rows: MANY as u64 + 9 });
}

#[test]
fn a_change_of_one_object_takes_the_same_whatever_else_is_there() {
    let work = [FEW, MANY].map(|objects| {
        let counted = CountedCatalog::of(objects);
        let made = counted.work(|test| drop(test.made(ObjectKind::Destination, "warehouse", json!({}))));
        let destination = counted.test.snapshot().named(ObjectKind::Destination, "warehouse").unwrap().id.clone();
        let sync = json!({"source": "source 00007", "destination": "warehouse"});
        let named = counted.work(|test| drop(test.made(ObjectKind::Sync, "sync", sync)));
        let changed = counted.work(|test| {
            test.commit(vec![test.respecified(&destination, json!({"kind": "sqlite"}))]).unwrap();
        });
        let looked = counted.work(|test| drop(test.get(&destination)));
        [made, named, changed, looked]
    });
    assert_eq!(work[0], work[1]);
    assert!(work[0].iter().all(|work| work.statements > 0), "{work:?}");
}

#[test]
fn a_plan_of_ten_thousand_objects_reads_them_once_and_names_what_differs() {
    let mut many = CountedCatalog::of(MANY);
    let mut planned = None;
    let work = many.work(|test| planned = Some(plan(&test.snapshot(), &many.wanted, PlanOptions::default())));
    assert!(planned.unwrap().is_empty());
    assert!(work.rows < MANY as u64 + 20 && work.statements < 20, "{work:?}");
    for object in many.wanted.iter_mut().step_by(1_000) {
        object.spec["rate"] = json!("another one");
    }
    let gone = many.wanted.pop().unwrap();
    let there = many.test.snapshot();
    let made = plan(&there, &many.wanted, PlanOptions { prune: true, ..PlanOptions::default() });
    assert_eq!(made.counts(), (0, 10, 1));
    let is_gone = |change: &PlannedChange| matches!(change, PlannedChange::Delete { name, .. } if *name == gone.name);
    assert!(made.changes.iter().any(is_gone));
    let change = made.change(Authority::Program, Actor::default(), many.test.tick(), SeededEntropy::new(9).as_ref());
    many.test.commit_change(&change.unwrap()).unwrap();
    assert!(plan(&many.test.snapshot(), &many.wanted, PlanOptions::default()).is_empty());
    many.test.verified().unwrap();
}
