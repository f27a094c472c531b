//! What was counted of violations, behind the admin API.

use tidegate_api_types::path;
use tidegate_api_types::violations::{ContractViolations, ViolationsQuery};

use super::control::CatalogClient;
use super::error::ClientError;

impl CatalogClient {
    pub(in crate::cli) async fn contract_violations(
        &self,
        query: &ViolationsQuery,
    ) -> Result<ContractViolations, ClientError> {
        let query = ViolationsQuery { workspace: self.workspace().workspace, ..query.clone() };
        self.get(path::CONTRACT_VIOLATIONS, "", &query).await
    }
}
