//! A catalog of its own for each test, on each store.

#[path = "../../../warehouse-postgres/tests/it/rig/server.rs"]
#[allow(dead_code, reason = "the tests of the warehouse use more of it")]
pub mod server;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};
use tidegate_catalog::*;

use server::Server;

/// Where a store comes from.
pub trait CatalogRig: Sized {
    /// An empty place. An error says what this machine lacks: the test is then skipped.
    fn new() -> Result<Self, String>;
    /// Opens it, as a process of its own would.
    fn store(&self) -> Arc<dyn CatalogStore>;
}

pub struct SqliteRig(tempfile::TempDir);

impl CatalogRig for SqliteRig {
    fn new() -> Result<Self, String> {
        tempfile::tempdir().map(Self).map_err(|error| error.to_string())
    }

    fn store(&self) -> Arc<dyn CatalogStore> {
        sqlite_store(self.0.path())
    }
}

pub fn sqlite_store(folder: &Path) -> Arc<dyn CatalogStore> {
    Arc::new(SqliteCatalog::open(&folder.join("catalog.db")).unwrap())
}

pub struct PostgresRig {
    pub server: &'static Server,
    pub schema: String,
}

impl CatalogRig for PostgresRig {
    fn new() -> Result<Self, String> {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let server = Server::shared()?;
        Ok(Self { server, schema: format!("catalog {}", SCHEMAS.fetch_add(1, Ordering::Relaxed)) })
    }

    fn store(&self) -> Arc<dyn CatalogStore> {
        Arc::new(self.catalog())
    }
}

impl PostgresRig {
    pub fn catalog(&self) -> PostgresCatalog {
        let address = format!(
            "host={} port={} user=postgres dbname=postgres sslmode=disable",
            self.server.folder.display(),
            self.server.port
        );
        let (address, schema) = (address.parse().unwrap(), self.schema.clone());
        PostgresCatalog::new(PostgresCatalogSettings { address, schema, ca_file: None })
    }
}

/// Numbers that look random and repeat from a seed.
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

pub const KEY: [u8; 32] = [42; 32];
pub const SECOND_US: i64 = 1_000_000;
pub const PRODUCTION: &str = "production";

/// An open catalog with a clock of its own.
pub struct CatalogTest {
    pub runtime: tokio::runtime::Runtime,
    pub store: Arc<dyn CatalogStore>,
    pub catalog: Arc<Catalog>,
    pub now: AtomicI64,
    /// The same place once more, as another node would open it.
    pub other: Option<Arc<dyn CatalogStore>>,
}

static SEEDS: AtomicU64 = AtomicU64::new(1);

impl CatalogTest {
    pub fn open(store: Arc<dyn CatalogStore>, instance: InstanceKeys) -> Result<Self, CatalogError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let entropy = SeededEntropy::new(SEEDS.fetch_add(1, Ordering::Relaxed) << 32);
        let start = 1_800_000_000 * SECOND_US;
        let catalog = runtime.block_on(Catalog::open(Arc::clone(&store), instance, entropy, start))?;
        Ok(Self { runtime, store, catalog: Arc::new(catalog), now: AtomicI64::new(start), other: None })
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A second later with every call.
    pub fn tick(&self) -> i64 {
        self.now.fetch_add(SECOND_US, Ordering::Relaxed) + SECOND_US
    }

    /// Statements past the catalog, as somebody with the file or the database could send them.
    pub fn tamper(&self, sql: &str) {
        self.wait(async {
            let mut transaction = self.store.begin(StoreAccess::Write).await.unwrap();
            transaction.run_script(sql).await.unwrap();
            transaction.commit().await.unwrap();
        });
    }

    pub fn rows(&self, sql: &str) -> Vec<StoredRow> {
        self.wait(async {
            let mut transaction = self.store.begin(StoreAccess::Read).await.unwrap();
            transaction.run(sql, Vec::new()).await.unwrap()
        })
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.rows(sql)[0].integer(0).unwrap()
    }

    /// A change of `production` by the program.
    pub fn commit(&self, edits: Vec<ObjectEdit>) -> Result<Committed, CatalogError> {
        self.commit_change(&CatalogChange::by_program(PRODUCTION, edits, self.tick()))
    }

    /// A change by a user or a token.
    pub fn commit_by(
        &self,
        principal: &ObjectId,
        workspace: &str,
        edits: Vec<ObjectEdit>,
    ) -> Result<Committed, CatalogError> {
        self.commit_change(&CatalogChange::by(principal, workspace, edits, self.tick()))
    }

    pub fn commit_change(&self, change: &CatalogChange) -> Result<Committed, CatalogError> {
        self.wait(self.catalog.commit(change))
    }

    pub fn create(&self, kind: ObjectKind, name: &str, spec: Value) -> ObjectEdit {
        ObjectEdit::Create { id: self.catalog.new_id(kind), content: content(kind, name, spec) }
    }

    /// Makes one object by the program.
    pub fn made(&self, kind: ObjectKind, name: &str, spec: Value) -> ObjectId {
        self.made_in(if kind.is_of_server() { SERVER_WORKSPACE } else { PRODUCTION }, content(kind, name, spec))
    }

    pub fn made_in(&self, workspace: &str, content: ObjectContent) -> ObjectId {
        let id = self.catalog.new_id(content.kind);
        let edit = ObjectEdit::Create { id: id.clone(), content };
        self.commit_change(&CatalogChange::by_program(workspace, vec![edit], self.tick())).unwrap();
        id
    }

    /// A user in a group of their own that has these roles, by workspace.
    pub fn person(&self, name: &str, roles: &[(&str, &str)]) -> ObjectId {
        let user = self.made(ObjectKind::User, name, json!({}));
        let roles: serde_json::Map<String, Value> =
            roles.iter().map(|(place, role)| ((*place).to_owned(), json!(role))).collect();
        self.made(ObjectKind::Group, name, json!({ "members": [user], "roles": roles }));
        user
    }

    pub fn get(&self, id: &ObjectId) -> CatalogObject {
        self.wait(self.catalog.get(PRODUCTION, id)).unwrap()
    }

    /// The object with another spec, for its revision.
    pub fn respecified(&self, id: &ObjectId, spec: Value) -> ObjectEdit {
        let object = self.get(id);
        let content = ObjectContent { spec, ..object.content };
        ObjectEdit::Update { id: id.clone(), expected: Some(object.revision), content }
    }

    pub fn snapshot(&self) -> CatalogSnapshot {
        self.wait(self.catalog.snapshot(PRODUCTION, None)).unwrap()
    }

    pub fn verified(&self) -> Result<VerifiedAudit, AuditBreak> {
        self.wait(self.catalog.verify_audit(0, &[])).unwrap()
    }
}

pub fn content(kind: ObjectKind, name: &str, spec: Value) -> ObjectContent {
    ObjectContent { kind, name: name.to_owned(), labels: Labels::new(), owner: None, spec }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Runs one case, or says why not.
pub fn run<R: CatalogRig>(name: &str, case: fn(&CatalogTest)) {
    match R::new() {
        Ok(rig) => {
            let mut test = CatalogTest::open(rig.store(), InstanceKey::new(KEY).into()).unwrap();
            test.other = Some(rig.store());
            case(&test);
        }
        Err(lack) => skipped(name, &lack),
    }
}

/// Reports what this machine lacks, in the file whose lines `make test` shows last.
pub fn skipped(name: &str, lack: &str) {
    let line = format!("skipped: {name}: {}\n", lack.lines().next().unwrap_or_default());
    print!("{line}");
    let binary = std::env::current_exe().unwrap();
    let target = binary.ancestors().find(|folder| folder.ends_with("deps")).and_then(|deps| deps.parent()?.parent());
    let mut log = std::fs::File::options().create(true).append(true).open(target.unwrap().join("skipped.log")).unwrap();
    std::io::Write::write_all(&mut log, line.as_bytes()).unwrap();
}
