//! Tables of embedded warehouses behind the admin API.

use reqwest::Method;
use tidegate_api_types::path;
use tidegate_api_types::query::{QueriedRows, QueriedTables, QueryDestination};

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn queried_tables(&self, destination: &str) -> Result<QueriedTables, ClientError> {
        let found = self.get(path::DESTINATION_QUERY, destination, &self.workspace()).await;
        found.map_err(|error| error.about("destination", destination))
    }

    pub(in crate::cli) async fn query(&self, destination: &str, sql: &str) -> Result<QueriedRows, ClientError> {
        let asked = QueryDestination { sql: sql.to_owned() };
        let sent = self.send(Method::POST, (path::DESTINATION_QUERY, destination), None, &asked).await;
        sent.map_err(|error| error.about("destination", destination))
    }
}
