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
/// The script that a version was made of: GET. Makes one of a script: POST.
pub const FUNCTION_SCRIPT: &str = "/admin/functions/{name}/script";
/// What it would make of events: POST.
pub const FUNCTION_TRY: &str = "/admin/functions/{name}/try";
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
/// Who asks: GET.
pub const WHO_AM_I: &str = "/api/v1/whoami";
/// Signing in: GET tells how, POST takes a name and a password.
pub const LOGIN: &str = "/api/v1/login";
/// Sends a browser to a provider: GET.
pub const LOGIN_PROVIDER: &str = "/api/v1/login/{provider}";
/// Where a provider sends it back to: GET.
pub const LOGIN_CALLBACK: &str = "/api/v1/login/{provider}/callback";
/// Begins the device flow of a provider: POST.
pub const LOGIN_DEVICE: &str = "/api/v1/login/{provider}/device";
/// Whether it is done: POST.
pub const LOGIN_DEVICE_POLL: &str = "/api/v1/login/{provider}/device/poll";
/// The session of a browser, or the token of a program: DELETE ends it.
pub const SESSION: &str = "/api/v1/session";
/// The password of a user: PUT.
pub const USER_PASSWORD: &str = "/api/v1/users/{name}/password";
/// The objects of a kind: GET, POST.
pub const OBJECTS: &str = "/api/v1/objects/{kind}";
/// One object: GET, PUT, DELETE.
pub const OBJECT: &str = "/api/v1/objects/{kind}/{name}";
/// Its versions: GET.
pub const OBJECT_HISTORY: &str = "/api/v1/objects/{kind}/{name}/history";
/// What is different between two of them: GET.
pub const OBJECT_DIFF: &str = "/api/v1/objects/{kind}/{name}/diff";
/// What names it: GET.
pub const OBJECT_USED_BY: &str = "/api/v1/objects/{kind}/{name}/used-by";
/// Takes it out of the hands of a folder: POST.
pub const OBJECT_RELEASE: &str = "/api/v1/objects/{kind}/{name}/release";
/// Gives it back to the folder: POST.
pub const OBJECT_ADOPT: &str = "/api/v1/objects/{kind}/{name}/adopt";
/// Stops it for now: POST.
pub const OBJECT_PAUSE: &str = "/api/v1/objects/{kind}/{name}/pause";
/// Lets it go on: POST.
pub const OBJECT_RESUME: &str = "/api/v1/objects/{kind}/{name}/resume";
/// What it connects to and what it would make of events: POST.
pub const OBJECT_TEST: &str = "/api/v1/objects/{kind}/{name}/test";
/// Secrets, but for their values: GET.
pub const SECRETS: &str = "/api/v1/secrets";
/// What roles allow: GET.
pub const ROLES: &str = "/api/v1/roles";
/// The tables of an embedded warehouse: GET; the rows of a statement that reads them: POST.
pub const DESTINATION_QUERY: &str = "/api/v1/destinations/{name}/query";
/// Keeps the value of a secret: PUT.
pub const SECRET: &str = "/api/v1/secrets/{name}";
/// The write keys of a source: GET, POST.
pub const SOURCE_WRITE_KEYS: &str = "/api/v1/sources/{name}/write-keys";
/// One of them: DELETE.
pub const SOURCE_WRITE_KEY: &str = "/api/v1/sources/{name}/write-keys/{key}";
/// Makes another one in its place: POST.
pub const SOURCE_WRITE_KEY_ROTATE: &str = "/api/v1/sources/{name}/write-keys/{key}/rotate";
/// How the stream of a source is: GET.
pub const SOURCE_STREAM: &str = "/api/v1/sources/{name}/stream";
/// Has it go on elsewhere: POST.
pub const SOURCE_SEEK: &str = "/api/v1/sources/{name}/seek";
/// Holds a folder against the catalog: POST.
pub const PLANS: &str = "/api/v1/plans";
/// Makes the catalog say what a folder says, and what runs follow it: POST.
pub const APPLY: &str = "/api/v1/apply";
/// Gives a workspace what another one has: POST.
pub const PROMOTIONS: &str = "/api/v1/promotions";
/// What runs, and as of which revision of the catalog: GET.
pub const RUNNING: &str = "/api/v1/running";
/// A file that documents name, by its SHA-256: GET, PUT.
pub const BLOB: &str = "/api/v1/blobs/{sha256}";
/// Changes that wait for approval: GET, POST.
pub const DRAFTS: &str = "/api/v1/drafts";
/// One of them: GET.
pub const DRAFT: &str = "/api/v1/drafts/{name}";
/// Makes its change: POST.
pub const DRAFT_APPROVE: &str = "/api/v1/drafts/{name}/approve";
/// Ends it without: POST.
pub const DRAFT_CLOSE: &str = "/api/v1/drafts/{name}/close";
/// API tokens: GET, POST.
pub const TOKENS: &str = "/api/v1/tokens";
/// The audit log: GET.
pub const AUDIT: &str = "/api/v1/audit";
/// The audit log as lines of JSON: GET.
pub const AUDIT_EXPORT: &str = "/api/v1/audit/export";
/// Whether it is as it was written: POST.
pub const AUDIT_VERIFY: &str = "/api/v1/audit/verify";
/// Whether what was accepted is the sum of its fates: GET.
pub const CONSERVATION: &str = "/api/v1/conservation";
/// How much comes, what becomes of it hour by hour, and how far the syncs are: GET.
pub const ACTIVITY: &str = "/api/v1/activity";
/// Domains, in the shape of Hightouch's API: GET, POST.
pub const EVENT_DOMAINS: &str = "/api/v1/events/domains";
/// One of them: GET, PATCH.
pub const EVENT_DOMAIN: &str = "/api/v1/events/domains/{id}";
/// Domains without their components, in the shape of Hightouch's API: GET, POST.
pub const EVENT_CONTRACTS: &str = "/api/v1/events/contracts";
/// One of them: GET, PATCH.
pub const EVENT_CONTRACT: &str = "/api/v1/events/contracts/{id}";
/// What arrives, held against the contracts: GET; and against contracts as they would be: POST. Nothing is changed.
pub const CONTRACT_TRAFFIC: &str = "/api/v1/contract-traffic";
/// How often contracts were broken over time, and by what: GET.
pub const CONTRACT_VIOLATIONS: &str = "/api/v1/contract-violations";
/// Which destinations there can be, and their settings: GET.
pub const DESTINATION_KINDS: &str = "/api/v1/destination-kinds";
/// What has become of single events: GET.
pub const TRACE: &str = "/api/v1/trace";
/// Events while they pass, as server-sent events: GET.
pub const TAP: &str = "/api/v1/tap";
/// Quarantined events: GET.
pub const QUARANTINE: &str = "/api/v1/quarantine";
/// How many there are: GET.
pub const QUARANTINE_COUNTS: &str = "/api/v1/quarantine/counts";
/// Quarantined events as lines that can be sent elsewhere: GET.
pub const QUARANTINE_EXPORT: &str = "/api/v1/quarantine/export";
/// What would become of them: POST.
pub const QUARANTINE_TRY: &str = "/api/v1/quarantine/try";
/// Sends them on: POST.
pub const QUARANTINE_RETRY: &str = "/api/v1/quarantine/retry";
/// Removes them: POST.
pub const QUARANTINE_PURGE: &str = "/api/v1/quarantine/purge";
/// Jobs that send them on: GET.
pub const QUARANTINE_JOBS: &str = "/api/v1/quarantine/jobs";
/// One of them: GET.
pub const QUARANTINE_JOB: &str = "/api/v1/quarantine/jobs/{id}";
/// Ends it: POST.
pub const QUARANTINE_JOB_CANCEL: &str = "/api/v1/quarantine/jobs/{id}/cancel";
/// One quarantined event: GET.
pub const QUARANTINE_ENTRY: &str = "/api/v1/quarantine/entries/{id}";
/// Puts another event in its place, and sends that on: POST.
pub const QUARANTINE_ENTRY_EDIT: &str = "/api/v1/quarantine/entries/{id}/edit";
/// Parts of the log that go to one sync once more: GET, POST.
pub const REPLAYS: &str = "/api/v1/replays";
/// One of them: GET.
pub const REPLAY: &str = "/api/v1/replays/{id}";
/// Ends it: POST.
pub const REPLAY_CANCEL: &str = "/api/v1/replays/{id}/cancel";
/// Alerts: GET.
pub const ALERTS: &str = "/api/v1/alerts";
/// Sends a test message to its channels: POST.
pub const ALERT_TEST: &str = "/api/v1/alerts/{name}/test";
/// Has nobody be told of it: POST.
pub const ALERT_MUTE: &str = "/api/v1/alerts/{name}/mute";
/// Has people be told of it again: POST.
pub const ALERT_UNMUTE: &str = "/api/v1/alerts/{name}/unmute";
/// What happened to alerts: GET.
pub const ALERT_HISTORY: &str = "/api/v1/alert-history";
/// Makes the tables of a sync anew beside the old ones: POST.
pub const SYNC_REBUILD: &str = "/api/v1/syncs/{name}/rebuild";
/// Has the new tables take the place of the old ones: POST.
pub const SYNC_SWAP: &str = "/api/v1/syncs/{name}/swap";
/// Tables that are made anew: GET.
pub const REBUILDS: &str = "/api/v1/rebuilds";
/// Those of one sync: GET.
pub const REBUILD: &str = "/api/v1/rebuilds/{id}";
/// Ends it: POST.
pub const REBUILD_CANCEL: &str = "/api/v1/rebuilds/{id}/cancel";
/// Who is left out: GET.
pub const PRIVACY_SUPPRESSED: &str = "/api/v1/privacy/suppressed";
/// Leaves somebody out from now on: POST.
pub const PRIVACY_SUPPRESS: &str = "/api/v1/privacy/suppress";
/// Lets them pass again: POST.
pub const PRIVACY_UNSUPPRESS: &str = "/api/v1/privacy/unsuppress";
/// What people consent to.
pub const PRIVACY_CONSENT: &str = "/api/v1/privacy/consent";
/// Removes what there is about somebody: POST.
pub const PRIVACY_FORGET: &str = "/api/v1/privacy/forget";
/// Looks for somebody in every file: POST.
pub const PRIVACY_VERIFY: &str = "/api/v1/privacy/verify";
/// Jobs that forget: GET.
pub const PRIVACY_JOBS: &str = "/api/v1/privacy/jobs";
/// One of them: GET.
pub const PRIVACY_JOB: &str = "/api/v1/privacy/jobs/{id}";
/// The numbers of the server, for Prometheus: GET.
pub const METRICS: &str = "/metrics";
/// Whether the process answers: GET.
pub const LIVE: &str = "/livez";
/// Whether it can accept events: GET.
pub const READY: &str = "/readyz";
