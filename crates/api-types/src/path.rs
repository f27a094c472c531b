/// All functions: GET.
pub const FUNCTIONS: &str = "/admin/functions";
/// One function: GET.
pub const FUNCTION: &str = "/admin/functions/{name}";
/// Uploads a version: POST.
pub const FUNCTION_VERSIONS: &str = "/admin/functions/{name}/versions";
/// Makes a version live: POST.
pub const FUNCTION_LIVE: &str = "/admin/functions/{name}/live";
/// Goes back: POST.
pub const FUNCTION_ROLLBACK: &str = "/admin/functions/{name}/rollback";
/// Begins and ends what is tried beside the live version: POST.
pub const FUNCTION_CANARY: &str = "/admin/functions/{name}/canary";
/// Changes settings: POST.
pub const FUNCTION_SETTINGS: &str = "/admin/functions/{name}/settings";
/// Shows it the events of a source: POST.
pub const FUNCTION_ATTACH: &str = "/admin/functions/{name}/attach";
/// Shows it the events of a source no more: POST.
pub const FUNCTION_DETACH: &str = "/admin/functions/{name}/detach";
/// What it logged: GET.
pub const FUNCTION_LOGS: &str = "/admin/functions/{name}/logs";
/// All destinations: GET.
pub const DESTINATIONS: &str = "/admin/destinations";
/// One destination: GET.
pub const DESTINATION: &str = "/admin/destinations/{name}";
/// Uploads a version: POST.
pub const DESTINATION_VERSIONS: &str = "/admin/destinations/{name}/versions";
/// Makes a version live: POST.
pub const DESTINATION_LIVE: &str = "/admin/destinations/{name}/live";
/// Goes back: POST.
pub const DESTINATION_ROLLBACK: &str = "/admin/destinations/{name}/rollback";
/// Changes settings: POST.
pub const DESTINATION_SETTINGS: &str = "/admin/destinations/{name}/settings";
/// What it logged: GET.
pub const DESTINATION_LOGS: &str = "/admin/destinations/{name}/logs";
/// How far a build is: GET.
pub const BUILD: &str = "/admin/builds/{id}";
/// All write keys of all sources: GET.
pub const WRITE_KEYS: &str = "/admin/write-keys";
/// Reads the workspace's folder again: POST.
pub const RELOAD: &str = "/admin/reload";
/// The OpenAPI document: GET.
pub const OPENAPI: &str = "/api/openapi.json";
