//! What ten thousand objects cost beside a thousand: a page, a filter, a plan, one change. SQLite, one node.
//!
//! Prints each as a ratio of the same with a thousand, from one run, the two interleaved; what grows with the number of objects by its
//! nature (a plan, a snapshot) is shown for each object. The median of the rounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tidegate_catalog::{
    Actor, Authority, Catalog, CatalogChange, Entropy, InstanceKey, Labels, ListQuery, ObjectContent, ObjectEdit,
    ObjectKind, PlanOptions, SqliteCatalog, WantedObject, plan,
};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
const WORKSPACE: &str = "production";

struct BenchEntropy;

impl Entropy for BenchEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let drawn: [u8; 32] = tidegate_process::clock::random();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// A catalog of so many lookups, and what a folder says of them.
struct FilledCatalog {
    catalog: Catalog,
    wanted: Vec<WantedObject>,
    /// Names that were given.
    named: u64,
}

impl FilledCatalog {
    fn new(runtime: &Runtime, folder: &Path, objects: usize) -> Self {
        let store = SqliteCatalog::open(&folder.join(format!("{objects}.db"))).expect("a catalog");
        let open = Catalog::open(Arc::new(store), InstanceKey::new([7; 32]).into(), Arc::new(BenchEntropy), 1);
        let catalog = runtime.block_on(open).expect("a catalog");
        let label = |n: usize| (String::from("team"), if n.is_multiple_of(100) { "web" } else { "shop" }.to_owned());
        let object = |n: usize| WantedObject {
            kind: ObjectKind::Lookup,
            name: format!("table-{n:05}"),
            was: None,
            labels: Labels::from([label(n)]),
            owner: None,
            spec: json!({"kind": "table", "entries": {"number": n, "text": "x".repeat(200)}}),
        };
        let wanted: Vec<WantedObject> = (0..objects).map(object).collect();
        let snapshot = runtime.block_on(catalog.snapshot(WORKSPACE, None)).expect("a snapshot");
        let made = plan(&snapshot, &wanted, PlanOptions::default());
        let change = made.change(Authority::Program, Actor::default(), 2, &BenchEntropy).expect("a change");
        runtime.block_on(catalog.commit(&change)).expect("a commit");
        Self { catalog, wanted, named: 0 }
    }
}

/// Milliseconds of one piece of work.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs one kind of work on both in turns.
fn compare(what: &str, rounds: usize, mut work: impl FnMut(bool)) -> (f64, f64) {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        few.push(timed(|| work(false)));
        many.push(timed(|| work(true)));
    }
    let (few, many) = (median(few), median(many));
    println!("{what:<44} {few:>9.3} ms {many:>9.3} ms {:>8.2}", many / few);
    (few, many)
}

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--quick") { 9 } else { 51 };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let mut both = [FEW, MANY].map(|objects| FilledCatalog::new(&runtime, folder.path(), objects));
    println!("{:<44} {FEW:>12} {MANY:>12} {:>8}", "", "ratio");
    let page = ListQuery { workspace: WORKSPACE.to_owned(), limit: 50, ..ListQuery::default() };
    let prefixed = ListQuery { name_prefix: Some("table-0050".to_owned()), ..page.clone() };
    let labelled = ListQuery { label: Some(("team".to_owned(), "web".to_owned())), limit: 10, ..page.clone() };
    for (what, query) in [("a page of 50", &page), ("names with a prefix", &prefixed), ("10 with a label", &labelled)] {
        compare(what, rounds, |is_many| {
            let listed = runtime.block_on(both[usize::from(is_many)].catalog.list(query)).expect("a list");
            assert!(!listed.objects.is_empty());
        });
    }
    compare("one object is made", rounds, |is_many| {
        let filled = &mut both[usize::from(is_many)];
        filled.named += 1;
        let content = ObjectContent {
            kind: ObjectKind::Domain,
            name: format!("domains/made-{}/domain.yaml", filled.named),
            labels: Labels::new(),
            owner: None,
            spec: json!({"name": "Made"}),
        };
        let edit = ObjectEdit::Create { id: filled.catalog.new_id(ObjectKind::Domain), content };
        let change = CatalogChange::by_program(WORKSPACE, vec![edit], 3);
        runtime.block_on(filled.catalog.commit(&change)).expect("a commit");
    });
    let (few, many) = compare("a plan in which nothing differs", rounds.min(15), |is_many| {
        let filled = &both[usize::from(is_many)];
        let snapshot = runtime.block_on(filled.catalog.snapshot(WORKSPACE, None)).expect("a snapshot");
        assert!(plan(&snapshot, &filled.wanted, PlanOptions::default()).is_empty());
    });
    let each = (many / MANY as f64) / (few / FEW as f64);
    println!("{:<44} {:>33.2}", "the same, of each object", each);
}
