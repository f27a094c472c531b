//! What a manifest asks for against what a workspace grants.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_event::digits::Numbers;
use tidegate_net::outbound::{
    AllowedOrigin, Method, OutboundRule, Policy, RequestSigning, Secrets, SystemResolver, Unreachable, placeholder,
    reach,
};
use tidegate_plugin::{self as plugin, Batching, Manifest, Order, Retry, Traffic};
use tidegate_wasm::CallLimits;

use super::{plan, signer};

/// What a workspace says about one destination. It holds secrets and never prints.
#[derive(Clone)]
pub struct EffectivePolicy {
    pub manifest: Manifest,
    /// As the workspace gives them, secrets included.
    pub settings: Map<String, Value>,
    /// Origins that it may send to; `None` grants the https origins that the manifest spells out.
    pub allow_hosts: Option<Vec<String>>,
    pub allow_private_hosts: Vec<String>,
    /// Authorities to trust besides the machine's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// What any plugin of its language gets without asking.
    pub limits: CallLimits,
    /// What the workspace lets it have instead.
    pub memory_bytes_max: Option<usize>,
    pub cpu_batch_max: Option<Duration>,
    pub pending: PendingLimits,
    pub retry: Retry,
    pub traffic: Traffic,
    pub batching: Batching,
}

/// How much of one sync may wait for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingLimits {
    pub events_max: u64,
    pub bytes_max: u64,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self { events_max: 10_000, bytes_max: 64 << 20 }
    }
}

/// One thing that does not fit: the field of the destination's file, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    pub field: &'static str,
    pub problem: String,
    pub fix: String,
}

/// A policy that can be worked with. It holds secrets and never prints.
#[derive(Clone)]
pub struct CheckedPolicy {
    pub(super) policy: Policy,
    pub(super) secrets: Secrets,
    pub(super) authentication: Option<RequestSigning>,
    /// For the guest: placeholders where the secrets are.
    pub(super) settings_json: String,
    pub(super) limits: CallLimits,
    pub(super) pending: PendingLimits,
    pub(super) retry: Retry,
    pub(super) traffic: Traffic,
    pub(super) batching: Batching,
    pub(super) order: Order,
    /// What the numbers of an event become in the plugin.
    pub(super) numbers: Numbers,
    /// Secrets of the manifest that the settings leave out, or give as an empty text.
    secrets_unset: Vec<String>,
}

impl CheckedPolicy {
    /// How events are grouped.
    #[must_use]
    pub const fn batching(&self) -> Batching {
        self.batching
    }

    /// Secrets that the plugin knows and that are not set. Those that it needs always are, if only with an empty text.
    #[must_use]
    pub fn secrets_unset(&self) -> &[String] {
        &self.secrets_unset
    }

    /// Tries to connect to each place that it may send to, and sends nothing: the place, and what is in the way. A place that
    /// stands for many hosts is none of them.
    pub async fn reach(&self, patience: Duration) -> Vec<(AllowedOrigin, Result<(), Unreachable>)> {
        let granted = |origin: &&AllowedOrigin| self.policy.granted.iter().any(|granted| granted.covers(origin));
        let asked = self.policy.asked.iter().map(|rule| &rule.origin).filter(|origin| !origin.is_many());
        let tries = asked.filter(granted).map(async |origin| {
            let reached = reach(origin, self.policy.clone(), Arc::new(SystemResolver), patience).await;
            (origin.clone(), reached)
        });
        futures_util::future::join_all(tries).await
    }

    /// How much may wait.
    #[must_use]
    pub const fn pending(&self) -> PendingLimits {
        self.pending
    }
}

impl EffectivePolicy {
    /// The policy of a manifest with nothing but these settings.
    #[must_use]
    pub fn new(manifest: Manifest, settings: Map<String, Value>) -> Self {
        Self {
            settings,
            allow_hosts: None,
            allow_private_hosts: Vec::new(),
            ca_file: None,
            limits: CallLimits::default(),
            memory_bytes_max: None,
            cpu_batch_max: None,
            pending: PendingLimits::default(),
            retry: manifest.retry,
            traffic: manifest.traffic,
            batching: manifest.batching,
            manifest,
        }
    }

    /// Checks everything against everything, without looking at the network.
    ///
    /// # Errors
    /// All that does not fit.
    pub fn check(&self) -> Result<CheckedPolicy, Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        if self.manifest.kind != plugin::ManifestKind::Destination {
            let problem = format!("the plugin {} is of kind {}", self.manifest.name, self.manifest.kind.as_str());
            problems.push(at_field("component", problem, "name the component of a destination plugin"));
            return Err(problems);
        }
        self.check_settings(&mut problems);
        let secrets =
            Secrets::new(self.manifest.secrets().filter_map(|name| Some((name.to_owned(), self.setting(name)?))));
        let policy = self.policy(&mut problems);
        let authentication = self.authentication(&policy, &mut problems);
        let limits = self.limits(&mut problems);
        if self.retry.pause_min > self.retry.pause_max {
            problems.push(at_field("retry", "retry.pause_min is longer than retry.pause_max", "make it shorter"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let is_unset = |name: &&str| self.setting(name).is_none_or(|value| value.is_empty());
        Ok(CheckedPolicy {
            policy,
            secrets,
            authentication,
            settings_json: self.guest_settings(),
            limits,
            pending: self.pending,
            retry: self.retry,
            traffic: self.traffic,
            batching: self.batching,
            order: self.manifest.order,
            numbers: self.manifest.numbers(),
            secrets_unset: self.manifest.secrets().filter(is_unset).map(str::to_owned).collect(),
        })
    }

    fn check_settings(&self, problems: &mut Vec<PolicyProblem>) {
        let schema = Value::Object(self.manifest.settings.clone());
        let settings = Value::Object(self.settings.clone());
        match jsonschema::validator_for(&schema) {
            // The values stay out of the sentences: any of them may be a secret in the wrong place.
            Ok(validator) => problems.extend(validator.iter_errors(&settings).map(|error| {
                let place = error.instance_path().to_string().replace('/', ".");
                let problem = format!("settings{place}: {}", error.masked());
                at_field("settings", problem, "see the `settings` of the plugin's manifest")
            })),
            Err(error) => {
                problems.push(at_field("component", error.to_string(), "mend `settings` of the plugin's manifest"))
            }
        }
        for name in self.manifest.secrets() {
            if self.settings.get(name).is_some_and(|value| !value.is_string()) {
                let problem = format!("settings.{name} is a secret and not text");
                problems.push(at_field(
                    "settings",
                    problem,
                    format!("write `{name}: ${{NAME}}` and set it in the environment"),
                ));
            }
        }
    }

    /// A setting as text.
    fn setting(&self, name: &str) -> Option<String> {
        match self.settings.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn guest_settings(&self) -> String {
        let mut settings = self.settings.clone();
        for name in self.manifest.secrets() {
            if let Some(value) = settings.get_mut(name) {
                *value = placeholder(name).into();
            }
        }
        Value::Object(settings).to_string()
    }

    fn policy(&self, problems: &mut Vec<PolicyProblem>) -> Policy {
        let (private_hosts, ca_file) = (self.allow_private_hosts.clone(), self.ca_file.clone());
        let mut policy = Policy { private_hosts, ca_file, ..Policy::default() };
        for rule in &self.manifest.hosts {
            let setting = rule.origin.strip_prefix("{{settings.").and_then(|rest| rest.strip_suffix("}}"));
            let origin: Option<AllowedOrigin> = match setting {
                // A place that is not given is a place that nothing is sent to.
                Some(name) if !self.settings.contains_key(name) => continue,
                Some(name) => self.setting(name).and_then(|text| AllowedOrigin::of_url(&text)),
                None => rule.origin.parse().ok(),
            };
            let Some(origin) = origin else {
                let (field, what) = setting.map_or(("component", &*rule.origin), |name| ("settings", name));
                let problem = format!("{what} holds no place to send to");
                problems.push(at_field(field, problem, "write a URL such as https://api.example.com"));
                continue;
            };
            if self.allow_hosts.is_none() && setting.is_none() && origin.is_secure() {
                policy.granted.push(origin.clone());
            }
            let methods = rule.methods.iter().copied().map(plan::method);
            policy.asked.push(OutboundRule { origin, methods: methods.collect() });
        }
        for text in self.allow_hosts.iter().flatten() {
            match text.parse() {
                Ok(origin) => policy.granted.push(origin),
                Err(problem) => {
                    problems.push(at_field("allow_hosts", problem, "write `allow_hosts: [https://api.example.com]`"))
                }
            }
        }
        self.check_policy(&policy, problems);
        policy
    }

    /// The policy of a workspace that grants all that the manifest asks for.
    pub(super) fn asked(&self) -> Policy {
        let mut policy = self.policy(&mut Vec::new());
        policy.granted = policy.asked.iter().map(|rule| rule.origin.clone()).collect();
        policy.private_hosts = policy.granted.iter().map(|origin| origin.host().to_owned()).collect();
        policy
    }

    /// Refusals that can be foreseen are for now, not for the first event.
    fn check_policy(&self, policy: &Policy, problems: &mut Vec<PolicyProblem>) {
        for rule in &policy.asked {
            let origin = rule.origin.to_string();
            let Some(method) = rule.methods.first().filter(|_| !origin.contains("://*.")) else { continue };
            if let Err(refusal) = policy.check(method, &format!("{origin}/")) {
                let (field, fix) = match refusal.code {
                    "host-not-granted" => {
                        let known = policy.granted.iter().map(ToString::to_string).chain([origin.clone()]);
                        ("allow_hosts", format!("write `allow_hosts: [{}]`", known.collect::<Vec<_>>().join(", ")))
                    }
                    "private-address" => {
                        ("allow_private_hosts", format!("write `allow_private_hosts: [\"{}\"]`", rule.origin.host()))
                    }
                    _ => ("component", "mend `hosts` of the plugin's manifest".to_owned()),
                };
                problems.push(at_field(field, refusal.reason, fix));
            }
        }
    }

    fn authentication(&self, policy: &Policy, problems: &mut Vec<PolicyProblem>) -> Option<RequestSigning> {
        let asked = self.manifest.authentication.as_ref()?;
        let named = match asked {
            plugin::Authentication::ApiKey { secret, .. }
            | plugin::Authentication::Bearer { secret }
            | plugin::Authentication::Hmac { secret, .. } => secret,
            plugin::Authentication::Basic { user, .. } => user,
            plugin::Authentication::OAuth2 { client_id, .. } => client_id,
        };
        // The schema says whether it may be left out; then nobody signs in.
        if !self.settings.contains_key(named) {
            return None;
        }
        let mut setting = |name: &str| {
            let value = self.setting(name).filter(|value| !value.is_empty());
            if value.is_none() {
                let problem = format!("settings.{name} is empty, and the plugin signs in with it");
                let fix = format!("write `{name}: ${{NAME}}` and set it in the environment, or take it away");
                problems.push(at_field("settings", problem, fix));
            }
            value.unwrap_or_default()
        };
        // The manifest's own check lets only header names through.
        let header = |name: &str| name.parse().ok();
        Some(match asked {
            plugin::Authentication::ApiKey { header: name, prefix, secret } => {
                RequestSigning::Header { name: header(name)?, value: format!("{prefix}{}", setting(secret)) }
            }
            plugin::Authentication::Bearer { secret } => RequestSigning::bearer(&setting(secret)),
            plugin::Authentication::Basic { user, password } => {
                let user = setting(user);
                RequestSigning::basic(&user, &password.as_deref().map(setting).unwrap_or_default())
            }
            plugin::Authentication::Hmac { header: name, prefix, secret, digest } => RequestSigning::Hmac {
                header: header(name)?,
                prefix: prefix.clone(),
                key: setting(secret),
                digest: signer::digest(*digest),
            },
            plugin::Authentication::OAuth2 { token_url, client_id, client_secret, scopes } => {
                let (client_id, client_secret) = (setting(client_id), setting(client_secret));
                if let Err(refusal) = policy.check(&Method::POST, token_url) {
                    let fix = "add the origin of `token_url` to `hosts` of the manifest and to `allow_hosts`";
                    problems.push(at_field("allow_hosts", format!("the token_url: {refusal}"), fix));
                }
                RequestSigning::OAuth2 {
                    token_url: token_url.clone(),
                    client_id,
                    client_secret,
                    scopes: scopes.clone(),
                }
            }
        })
    }

    /// What is asked for is granted as far as the engine can give it, unless the workspace says less.
    fn limits(&self, problems: &mut Vec<PolicyProblem>) -> CallLimits {
        let mut limits = self.limits.clone();
        let most = self.memory_bytes_max.unwrap_or(limits.memory_bytes_ceiling);
        match self.manifest.asked.memory_bytes_max {
            Some(asked) if asked > most => {
                let problem = format!("the plugin asks for {asked} bytes of memory; {most} are granted");
                problems.push(at_field("limits", problem, format!("write `limits: {{memory_bytes_max: {asked}}}`")));
            }
            Some(asked) => limits.memory_bytes_max = asked,
            None => limits.memory_bytes_max = self.memory_bytes_max.unwrap_or(limits.memory_bytes_max),
        }
        let most = self.cpu_batch_max.unwrap_or(CPU_ASKED_MAX);
        match self.manifest.asked.cpu_batch_max {
            Some(asked) if asked > most => {
                let (asked, most) = (asked.as_millis(), most.as_millis());
                let problem = format!("the plugin asks for {asked} ms of CPU a batch; {most} are granted");
                problems.push(at_field("limits", problem, format!("write `limits: {{cpu_batch_max: {asked} ms}}`")));
            }
            // Who asks for time gets it for a small batch too.
            Some(asked) => (limits.cpu_base, limits.cpu_max) = (asked, asked),
            None => limits.cpu_max = self.cpu_batch_max.unwrap_or(limits.cpu_max),
        }
        limits
    }
}

/// However much CPU time a plugin asks for, a call gets no more than this unless the workspace says so.
const CPU_ASKED_MAX: Duration = Duration::from_secs(5);

fn at_field(field: &'static str, problem: impl Into<String>, fix: impl Into<String>) -> PolicyProblem {
    PolicyProblem { field, problem: problem.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn effective_policy(settings: Value) -> EffectivePolicy {
        let manifest = Manifest::from_json(&json!({
            "name": "acme", "kind": "destination",
            "settings": {"type": "object", "required": ["api_key"], "additionalProperties": false, "properties": {
                "api_key": {"type": "string", "secret": true, "minLength": 4}, "endpoint": {"type": "string"}}},
            "hosts": ["https://api.acme.com", "{{settings.endpoint}}"],
            "authentication": {"kind": "bearer", "secret": "api_key"},
        }))
        .unwrap();
        EffectivePolicy::new(manifest, settings.as_object().unwrap().clone())
    }

    fn problems(effective: &EffectivePolicy) -> String {
        let problems = effective.check().err().expect("problems");
        problems.iter().map(|problem| format!("{}: {} -> {}\n", problem.field, problem.problem, problem.fix)).collect()
    }

    #[test]
    fn a_guest_gets_placeholders_and_the_host_the_values() {
        let checked = effective_policy(json!({"api_key": "hunter2"})).check().ok().unwrap();
        assert_eq!(checked.settings_json, r#"{"api_key":"{{secret.api_key}}"}"#);
        assert_eq!(checked.secrets.get("api_key"), Some("hunter2"));
    }

    #[test]
    fn wrong_settings_are_named_without_their_values() {
        let said = problems(&effective_policy(json!({"api_key": "zq7", "apikey": "topsecret"})));
        assert!(said.contains("settings.api_key") && said.contains("apikey"), "{said}");
        assert!(!said.contains("zq7") && !said.contains("topsecret"), "{said}");
    }

    #[test]
    fn a_place_from_the_settings_must_be_granted_and_a_private_one_too() {
        let mut effective = effective_policy(json!({"api_key": "hunter2", "endpoint": "http://10.1.2.3:8080/hook"}));
        let said = problems(&effective);
        assert!(said.contains("allow_hosts: [https://api.acme.com, http://10.1.2.3:8080]"), "{said}");
        effective.allow_hosts = Some(vec!["https://api.acme.com".into(), "http://10.1.2.3:8080".into()]);
        let said = problems(&effective);
        assert!(said.contains("allow_private_hosts: [\"10.1.2.3\"]"), "{said}");
        effective.allow_private_hosts = vec!["10.1.2.3".into()];
        assert!(effective.check().is_ok());
    }

    #[test]
    fn what_is_asked_is_given_within_what_is_granted() {
        let mut effective = effective_policy(json!({"api_key": "hunter2"}));
        effective.manifest.asked.memory_bytes_max = Some(128 << 20);
        assert_eq!(effective.check().ok().unwrap().limits.memory_bytes_max, 128 << 20);
        effective.memory_bytes_max = Some(100 << 20);
        assert!(problems(&effective).contains("memory_bytes_max: 134217728"));
    }

    #[test]
    fn who_may_leave_the_secret_out_does_not_sign_in() {
        let mut effective = effective_policy(json!({}));
        effective.manifest.settings.remove("required");
        assert!(effective.check().ok().unwrap().authentication.is_none());
        effective.settings.insert("api_key".to_owned(), "".into());
        assert!(problems(&effective).contains("settings.api_key is empty"));
    }
}
