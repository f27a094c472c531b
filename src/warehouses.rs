//! The warehouses that there are: a line for each kind, in each of the tables below.

use tidegate_event::destination::{Destination, Failure};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::forget::ForgetDialect;
use tidegate_warehouse::plan::{FoundRow, PlannedPlace, WarehousePlan};
use tidegate_warehouse::rights::{self, Right};
use tidegate_warehouse::schema_cache::FoundSchema;
use tidegate_warehouse::swap::{TableSwap, impossible};
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::table_reader::TableReader;
use tidegate_warehouse_clickhouse as clickhouse;
use tidegate_warehouse_lake as lake;
use tidegate_warehouse_postgres as postgres;
use tidegate_warehouse_snowflake as snowflake;
use tidegate_warehouse_sqlite as sqlite;

/// A warehouse as an operator describes it.
#[derive(Debug, Clone)]
pub enum WarehouseSettings {
    Sqlite(sqlite::SqliteSettings),
    Postgres(Box<postgres::PostgresSettings>),
    ClickHouse(clickhouse::ClickHouseSettings),
    Snowflake(snowflake::SnowflakeSettings),
    Lake(Box<lake::LakeSettings>),
}

/// What each warehouse says about itself, in the order of the documentation.
pub const ALL_CAPABILITIES: [&Capabilities; 6] = [
    &sqlite::CAPABILITIES,
    &postgres::CAPABILITIES,
    &clickhouse::CAPABILITIES,
    &snowflake::CAPABILITIES,
    &snowflake::CAPABILITIES_STREAMING,
    &lake::CAPABILITIES,
];

impl WarehouseSettings {
    /// What this kind of warehouse says about itself.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Sqlite(_) => &sqlite::CAPABILITIES,
            Self::Postgres(_) => &postgres::CAPABILITIES,
            Self::ClickHouse(_) => &clickhouse::CAPABILITIES,
            Self::Lake(_) => &lake::CAPABILITIES,
            Self::Snowflake(settings) => match settings.load {
                snowflake::LoadMode::Staged => &snowflake::CAPABILITIES,
                snowflake::LoadMode::Streaming => &snowflake::CAPABILITIES_STREAMING,
            },
        }
    }

    /// How it spells statements that remove somebody.
    #[must_use]
    pub const fn forget_dialect(&self) -> ForgetDialect {
        match self {
            Self::Sqlite(_) => ForgetDialect::Sqlite,
            Self::Postgres(_) => ForgetDialect::Postgres,
            Self::ClickHouse(_) => ForgetDialect::ClickHouse,
            Self::Snowflake(_) => ForgetDialect::Snowflake,
            Self::Lake(_) => ForgetDialect::Lake,
        }
    }

    /// How wide and how many its tables may become.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self {
            Self::Sqlite(settings) => settings.limits,
            Self::Postgres(settings) => settings.limits,
            Self::ClickHouse(settings) => settings.limits,
            Self::Lake(settings) => settings.limits,
            Self::Snowflake(settings) => settings.limits,
        }
    }

    /// What stands before the names of a part's tables where the warehouse has no schemas of its own.
    #[must_use]
    pub fn prefix(&self, part: &SyncPart) -> String {
        match (self, &part.schema) {
            (Self::Sqlite(_), Some(schema)) => format!("{schema}__"),
            _ => String::new(),
        }
    }

    /// Where the tables and the ledger of a sync with this schema are. Two that have them in one place would take them for their own.
    /// Two places that are written alike are one; whether two names of a server lead to one place is not known here.
    #[must_use]
    pub fn tables_place(&self, schema: Option<&str>) -> String {
        let kind = self.capabilities().kind;
        match self {
            // All syncs to one file, or to one lake, have their ledger in common.
            Self::Sqlite(settings) => format!("{kind} {}", settings.path.display()),
            Self::Lake(settings) => format!("{kind} {}", settings.place),
            Self::Postgres(settings) => {
                format!("{kind} {} {}", settings.address.place(), schema.unwrap_or(&settings.schema))
            }
            Self::ClickHouse(settings) => format!("{kind} {} {}", settings.url, schema.unwrap_or(&settings.database)),
            Self::Snowflake(settings) => {
                format!("{kind} {} {} {}", settings.account, settings.database, schema.unwrap_or(&settings.schema))
            }
        }
    }

    /// The schema of a part as the warehouse's SQL spells it: what stands before the dot of a table's name. Empty where the
    /// schema is part of that name.
    #[must_use]
    pub fn schema_sql(&self, part: &SyncPart) -> String {
        let named = part.schema.as_deref();
        match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres(settings) => postgres::quoted(named.unwrap_or(&settings.schema)),
            Self::ClickHouse(settings) => clickhouse::quoted(named.unwrap_or(&settings.database)),
            Self::Snowflake(settings) => settings.schema_sql(part),
            Self::Lake(settings) => named.unwrap_or(&settings.schema).to_owned(),
        }
    }

    /// The statement that makes the schema of a part where `found` does not have it.
    #[must_use]
    pub fn schema_statement(&self, part: &SyncPart, found: &FoundSchema) -> Option<String> {
        let word = match self {
            _ if found.has_schema => return None,
            Self::Sqlite(_) | Self::Lake(_) => return None,
            Self::ClickHouse(_) => "DATABASE",
            Self::Postgres(_) => "SCHEMA",
            // An empty one is not seen.
            Self::Snowflake(_) => "SCHEMA IF NOT EXISTS",
        };
        Some(format!("CREATE {word} {}", self.schema_sql(part)))
    }

    /// A warehouse in which nothing has been made yet.
    #[must_use]
    pub fn nothing(&self, part: &SyncPart) -> FoundSchema {
        // Every database of PostgreSQL and of Snowflake is made with it.
        let has_schema = match self {
            Self::Postgres(_) => self.schema_sql(part) == "\"public\"",
            Self::Snowflake(_) => self.schema_sql(part).ends_with(".\"PUBLIC\""),
            _ => false,
        };
        FoundSchema { has_schema, ..FoundSchema::default() }
    }

    /// What would be done to the tables of a part that are `found`.
    #[must_use]
    pub fn plan(&self, part: &SyncPart, found: FoundSchema) -> WarehousePlan {
        let place = PlannedPlace {
            capabilities: self.capabilities(),
            limits: self.limits(),
            prefix: self.prefix(part),
            schema: self.schema_sql(part),
            schema_statement: self.schema_statement(part, &found),
        };
        WarehousePlan::new(place, part, found)
    }

    /// Opens one sync's part. Nothing need be reachable yet: a warehouse that is away is found out at the first batch.
    ///
    /// # Errors
    /// The settings cannot be used, or a file is no warehouse; another try would fail again.
    pub fn open(&self, part: &SyncPart) -> Result<Box<dyn Destination>, Failure> {
        Ok(match self {
            Self::Sqlite(settings) => Box::new(settings.clone().check(part)?.open()?.run()?),
            Self::Postgres(settings) => Box::new(settings.check(part)?.open()),
            Self::ClickHouse(settings) => Box::new(settings.clone().check(part)?.open()?),
            Self::Lake(settings) => Box::new(lake::LakeSettings::clone(settings).check(part)?.open()),
            Self::Snowflake(settings) => Box::new(settings.clone().check(part)?.open()?),
        })
    }

    /// Prepares to read the rows of a schema, whoever has written them. Nothing need be reachable yet.
    ///
    /// # Errors
    /// The settings cannot be used, or rows of this kind of warehouse cannot be read.
    pub fn reader(&self, schema: Option<&str>) -> Result<Box<dyn TableReader>, Failure> {
        let part = SyncPart { sync: "compare".to_owned(), schema: schema.map(str::to_owned), ..SyncPart::default() };
        Ok(match self {
            Self::Sqlite(settings) => Box::new(settings.clone().check(&part)?.reader()),
            Self::Postgres(settings) => Box::new(settings.check(&part)?.reader()),
            Self::ClickHouse(settings) => Box::new(settings.clone().check(&part)?.reader()?),
            Self::Snowflake(_) | Self::Lake(_) => {
                let title = self.capabilities().title;
                return Err(Failure::Stop {
                    reason: format!(
                        "rows of {title} are not read here: only SQLite, PostgreSQL and ClickHouse are compared"
                    ),
                    advice: "have a further sync write the same source to one of them, and compare that".to_owned(),
                    cause: None,
                });
            }
        })
    }

    /// What the router may do in one sync's part; changes nothing.
    ///
    /// # Errors
    /// The warehouse cannot be asked.
    pub async fn rights(&self, part: &SyncPart) -> Result<Vec<Right>, Failure> {
        match self {
            Self::Sqlite(settings) => Ok(rights::of_a_path(&settings.path)),
            Self::Postgres(settings) => settings.check(part)?.rights().await,
            Self::ClickHouse(settings) => settings.clone().check(part)?.rights().await,
            Self::Snowflake(settings) => settings.clone().check(part)?.open()?.rights().await,
            Self::Lake(settings) => Ok(match &settings.place {
                lake::ObjectPlace::Folder(folder) => rights::of_a_path(folder),
                _ => vec![Right::unknown(
                    format!("write below {}", settings.place),
                    "it could be read; whether it can be written is seen with the first batch, for nothing was written now",
                )],
            }),
        }
    }

    /// The tables of one sync's part as they are; changes nothing.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub async fn find(&self, part: &SyncPart) -> Result<FoundSchema, Failure> {
        match self {
            Self::Sqlite(settings) => settings.clone().check(part)?.find(),
            Self::Postgres(settings) => settings.check(part)?.find().await,
            Self::ClickHouse(settings) => settings.clone().check(part)?.find().await,
            Self::Lake(settings) => lake::LakeSettings::clone(settings).check(part)?.find().await,
            Self::Snowflake(settings) => settings.clone().check(part)?.open()?.find().await,
        }
    }

    /// Whether tables that were made anew can take the place of those that are read.
    ///
    /// # Errors
    /// They cannot; what to do instead.
    pub fn can_swap(&self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => Ok(()),
            Self::ClickHouse(_) | Self::Snowflake(_) | Self::Lake(_) => Err(impossible(self.capabilities().title)),
        }
    }

    /// What stands in the name of a schema where a sync names none; nothing where its tables have no prefix then.
    #[must_use]
    pub fn schema_default(&self) -> Option<&str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(settings) => Some(&settings.schema),
            Self::ClickHouse(settings) => Some(&settings.database),
            Self::Lake(settings) => Some(&settings.schema),
            Self::Snowflake(settings) => Some(&settings.schema),
        }
    }

    /// Has tables that were made anew take the place of those that are read: all of them or none. One that was done before is done.
    ///
    /// # Errors
    /// Nothing is changed.
    pub async fn swap(&self, swap: &TableSwap) -> Result<(), Failure> {
        match self {
            Self::Sqlite(settings) => {
                let (settings, swap) = (settings.clone(), swap.clone());
                let ended = |cause: tokio::task::JoinError| Failure::Retry {
                    reason: "the tables could not be swapped".to_owned(),
                    cause: Some(Box::new(cause)),
                };
                tokio::task::spawn_blocking(move || settings.swap(&swap)).await.map_err(ended)?
            }
            Self::Postgres(settings) => settings.swap(swap).await,
            Self::ClickHouse(_) | Self::Snowflake(_) | Self::Lake(_) => Err(impossible(self.capabilities().title)),
        }
    }

    /// The statement that shows the rows of a table with an id.
    #[must_use]
    pub fn id_query(&self, part: &SyncPart, table: &str, id: &str) -> String {
        let name = match self {
            Self::ClickHouse(_) => clickhouse::quoted(table),
            Self::Snowflake(_) => postgres::quoted(&table.to_uppercase()),
            Self::Sqlite(_) | Self::Postgres(_) | Self::Lake(_) => postgres::quoted(table),
        };
        let schema = self.schema_sql(part);
        let from = if schema.is_empty() { name } else { format!("{schema}.{name}") };
        let literal = match self {
            Self::ClickHouse(_) | Self::Snowflake(_) => id.replace('\\', "\\\\").replace('\'', "\\'"),
            Self::Sqlite(_) | Self::Postgres(_) | Self::Lake(_) => id.replace('\'', "''"),
        };
        format!("SELECT * FROM {from} WHERE id = '{literal}'")
    }

    /// The rows of a table with an id; `None` of a warehouse that is not asked for single rows. Changes nothing.
    ///
    /// # Errors
    /// The warehouse cannot be asked.
    pub async fn rows_with_id(&self, part: &SyncPart, table: &str, id: &str) -> Result<Option<Vec<FoundRow>>, Failure> {
        match self {
            Self::Sqlite(settings) => settings.clone().check(part)?.rows_with_id(table, id).map(Some),
            Self::Postgres(settings) => settings.check(part)?.rows_with_id(table, id).await.map(Some),
            Self::ClickHouse(_) | Self::Snowflake(_) | Self::Lake(_) => Ok(None),
        }
    }
}
