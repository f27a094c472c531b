//! `alerts/<name>.yaml`: a condition, and who is told of it.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_alert::{
    AlertChannel, AlertCondition, AlertEmail, AlertRule, AlertSeverity, ChannelKind, ShareBound, SmtpTls,
};
use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_document::fields::Fields;
use tidegate_document::nearest::nearest;
use tidegate_document::problem::{Problem, QUOTED_CHARS_MAX, shortened};
use tidegate_event::time;
use url::Url;

use super::names::ObjectNames;
use super::outgoing;
use super::surroundings::ObjectInputs;
use super::syncs::SyncConfig;

const PAGER_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Of a condition on a share.
const PERCENT: u64 = 5;
const EVENTS_MIN: u64 = 20;
/// Of a condition on volume.
const VOLUME_EVENTS_MIN: u64 = 100;
const PERCENT_MAX: i64 = 100_000;
const MINUTE_US: i64 = 60_000_000;
const WINDOW_US: i64 = 15 * MINUTE_US;
const SILENT_US: i64 = 30 * MINUTE_US;
const LATE_US: i64 = 15 * MINUTE_US;
const GROWTH_EVENTS: u64 = 100;
/// Longer ones are a slip of the pen.
const WINDOW_US_MAX: i64 = 7 * 24 * 60 * MINUTE_US;
const CHANNELS_MAX: usize = 20;
const RECEIVERS_MAX: usize = 50;

/// `alerts/<name>.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertConfig {
    /// None where the file has channels alone, for others.
    pub rule: Option<AlertRule>,
    /// Its own.
    pub channels: Vec<AlertChannel>,
    /// The alert whose channels are told, with its line.
    pub channels_of: Option<(String, usize)>,
    /// What it is about, with its line.
    named: Option<(ObjectRefKind, String, usize)>,
}

pub(super) fn alert(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<AlertConfig> {
    let channels: Vec<AlertChannel> =
        fields.each("notify", "url", |name, f| channel(name, f, inputs)).into_iter().flatten().collect();
    if channels.len() > CHANNELS_MAX {
        let message = format!("`notify` has {} channels", channels.len());
        fields.problem("notify", message, format!("name {CHANNELS_MAX} at most"));
    }
    let channels_of = fields.text("channels_of").map(|name| (name, fields.line_of("channels_of")));
    if !fields.has("condition") && fields.has("notify") {
        return Some(AlertConfig { rule: None, channels, channels_of, named: None });
    }
    let word = fields.required("condition", "sync_failing");
    let Some(word) = word else {
        fields.leave_rest();
        return None;
    };
    let named = named(&word, fields);
    let one = named.as_ref().map(|(_, name, _)| name.clone());
    let Some(condition) = condition(&word, one, fields) else {
        fields.leave_rest();
        return None;
    };
    let rule = rule(condition, fields);
    Some(AlertConfig { rule: Some(rule), channels, channels_of, named })
}

/// The object that a condition is about, where one is named.
fn named(word: &str, fields: &mut Fields<'_>) -> Option<(ObjectRefKind, String, usize)> {
    let (kind, field) = match word {
        "volume_drop" | "volume_spike" | "source_silent" | "violations" => (ObjectRefKind::Source, "source"),
        "function_failing" => (ObjectRefKind::Function, "function"),
        "sync_failing" | "sync_late" => (ObjectRefKind::Sync, "sync"),
        "delivery_errors" => (ObjectRefKind::Destination, "destination"),
        _ => return None,
    };
    fields.text(field).map(|name| (kind, name, fields.line_of(field)))
}

fn condition(word: &str, one: Option<String>, fields: &mut Fields<'_>) -> Option<AlertCondition> {
    Some(match word {
        "volume_drop" => {
            let percent = fields.number_up_to("threshold", 1, 100).unwrap_or(50);
            AlertCondition::VolumeDrop { source: one, percent, events_min: events_min(fields, VOLUME_EVENTS_MIN) }
        }
        "volume_spike" => {
            let percent = fields.number_up_to("threshold", 100, PERCENT_MAX).unwrap_or(200);
            AlertCondition::VolumeSpike { source: one, percent, events_min: events_min(fields, VOLUME_EVENTS_MIN) }
        }
        "source_silent" => AlertCondition::SourceSilent { source: one, window_us: window(fields, SILENT_US) },
        "violations" => AlertCondition::Violations { source: one, share: share(fields) },
        "quarantine_growth" => AlertCondition::QuarantineGrowth {
            events: fields.number("threshold", 1).unwrap_or(GROWTH_EVENTS),
            window_us: window(fields, WINDOW_US),
        },
        "function_failing" => AlertCondition::FunctionFailing { function: one, share: share(fields) },
        "sync_failing" => AlertCondition::SyncFailing { sync: one },
        "sync_late" => AlertCondition::SyncLate { sync: one, age_us: time_of(fields, "threshold").unwrap_or(LATE_US) },
        "delivery_errors" => AlertCondition::DeliveryErrors { destination: one, share: share(fields) },
        "disk" => AlertCondition::disk(fields.number_up_to("threshold", 1, 99)),
        "certificate" => AlertCondition::certificate(time_of(fields, "threshold")),
        "conservation" => AlertCondition::Conservation,
        word => {
            let message = format!("the condition {:?} is not known", shortened(word, QUOTED_CHARS_MAX));
            let fix = match nearest(word, &AlertCondition::WORDS) {
                Some(word) => format!("did you mean `condition: {word}`?"),
                None => format!("write one of {}", AlertCondition::WORDS.join(", ")),
            };
            fields.problem("condition", message, fix);
            return None;
        }
    })
}

fn events_min(fields: &mut Fields<'_>, otherwise: u64) -> u64 {
    fields.number("events_min", 1).unwrap_or(otherwise)
}

fn share(fields: &mut Fields<'_>) -> ShareBound {
    ShareBound {
        percent: fields.number_up_to("threshold", 0, 99).unwrap_or(PERCENT),
        events_min: events_min(fields, EVENTS_MIN),
        window_us: window(fields, WINDOW_US),
    }
}

fn window(fields: &mut Fields<'_>, otherwise: i64) -> i64 {
    let Some(window_us) = time_of(fields, "window") else { return otherwise };
    if window_us > WINDOW_US_MAX {
        fields.problem("window", "`window` is longer than a week", "write a shorter time, such as `window: 1 h`");
    }
    window_us.min(WINDOW_US_MAX)
}

/// A time in microseconds.
fn time_of(fields: &mut Fields<'_>, name: &'static str) -> Option<i64> {
    fields.duration(name).map(|length| i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

fn rule(condition: AlertCondition, fields: &mut Fields<'_>) -> AlertRule {
    let mut rule = AlertRule::new(fields.name(), condition);
    if let Some(severity) = fields.word("severity", &AlertSeverity::WORDS) {
        rule.severity = severity;
    }
    rule.for_us = time_of(fields, "for").unwrap_or(rule.for_us);
    rule.recover_us = time_of(fields, "recover_after").unwrap_or(rule.recover_us);
    rule.group_us = time_of(fields, "group_wait").unwrap_or(rule.group_us);
    rule.owner = fields.text("owner");
    rule.runbook = fields.text("runbook");
    rule.labels = fields.pairs("labels").into_iter().map(|(name, value, _)| (name, value)).collect();
    rule.is_muted = fields.flag("mute").unwrap_or(false);
    rule.muted_until_us = fields.text("mute_until").and_then(|text| {
        let at_us = time::parse(&text);
        if at_us.is_none() {
            let message = format!("`mute_until` is {:?}, not a time", shortened(&text, QUOTED_CHARS_MAX));
            fields.problem("mute_until", message, "write it as 2026-12-31T00:00:00Z");
        }
        at_us
    });
    rule
}

/// A channel; none where a value is not at hand, or wrong.
fn channel(name: &str, fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<AlertChannel> {
    let kinds = ["slack", "pagerduty", "webhook", "alertmanager", "email"];
    let there: Vec<&str> = kinds.into_iter().filter(|kind| fields.has(kind)).collect();
    let [kind] = there[..] else {
        let message = format!("the channel {:?} must be of one kind", shortened(name, QUOTED_CHARS_MAX));
        let fix = "write one of `slack: secret:NAME`, `pagerduty: secret:NAME`, `webhook: https://…`, `alertmanager: http://…` and \
                   `email: [somebody@example.com]`";
        fields.problem("", message, fix);
        fields.leave_rest();
        return None;
    };
    let kind = match kind {
        "slack" => address("slack", fields).map(|url| ChannelKind::Slack { url }),
        "pagerduty" => {
            let routing_key = fields.text("pagerduty");
            let url = if fields.has("url") { address("url", fields) } else { Some(PAGER_URL.to_owned()) };
            routing_key.zip(url).map(|(routing_key, url)| ChannelKind::PagerDuty { url, routing_key })
        }
        "webhook" => {
            let (url, headers) = (address("webhook", fields), headers(fields));
            let signing_secret = fields.text("signing_secret");
            url.map(|url| ChannelKind::Webhook { url, headers, signing_secret })
        }
        "alertmanager" => {
            let (url, headers) = (address("alertmanager", fields), headers(fields));
            url.map(|url| ChannelKind::Alertmanager { url, headers })
        }
        _ => email(fields).map(ChannelKind::Email),
    };
    let private_hosts = fields.texts("allow_private_hosts");
    let ca_file = outgoing::ca_file(fields, inputs);
    Some(AlertChannel { name: name.to_owned(), kind: kind?, private_hosts, ca_file })
}

/// An http or https address. What does not fit may be a secret, and is not repeated.
fn address(name: &'static str, fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text(name)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none_or(|url| !url.username().is_empty() || url.password().is_some()) {
        let message = format!("`{}` is no address, such as https://alerts.example.com/path", fields.at(name));
        fields.problem(
            name,
            message,
            "write the whole address, without a user and a password; those go into `headers`",
        );
        return None;
    }
    Some(text)
}

fn headers(fields: &mut Fields<'_>) -> Vec<(String, String)> {
    let read = fields.each("headers", "value", |name, f| Some((name.to_owned(), f.text("value")?)));
    read.into_iter().flatten().collect()
}

fn email(fields: &mut Fields<'_>) -> Option<AlertEmail> {
    let to = fields.texts("email");
    if to.is_empty() || to.len() > RECEIVERS_MAX {
        let message = format!("`{}` has {} receivers", fields.at("email"), to.len());
        fields.problem("email", message, format!("name 1 to {RECEIVERS_MAX}, such as `email: [ops@example.com]`"));
    }
    let from = fields.required("from", "alerts@example.com");
    for one in to.iter().chain(&from).filter(|one| !is_mailbox(one)) {
        let message = format!("{:?} is no e-mail address", shortened(one, QUOTED_CHARS_MAX));
        fields.problem("email", message, "write somebody@example.com");
    }
    let host = fields.required("host", "smtp.example.com");
    let words = [("implicit", SmtpTls::Implicit), ("starttls", SmtpTls::StartTls), ("none", SmtpTls::None)];
    let tls = fields.word("tls", &words).unwrap_or(SmtpTls::StartTls);
    let usual = match tls {
        SmtpTls::Implicit => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::None => 25,
    };
    let port = fields.number_up_to("port", 1, 65_535).unwrap_or(usual);
    let has_password = fields.has("password");
    let (user, password) = (fields.text("user"), fields.text("password"));
    if fields.has("user") != has_password {
        fields.problem("user", "`user` and `password` go together", "write both, or none");
    }
    if has_password && tls == SmtpTls::None {
        let fix = "write `tls: starttls` or `tls: implicit`, or take `user` and `password` away";
        fields.problem("tls", "a password would go over the network in clear text", fix);
        return None;
    }
    if has_password && password.is_none() {
        return None;
    }
    Some(AlertEmail { host: host?, port, tls, login: user.zip(password), from: from?, to })
}

/// Whether a text is an address that may stand in a command to a mail server.
fn is_mailbox(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '\\' | '(' | ')');
    let parts = text.split_once('@');
    text.len() <= 254
        && text.chars().all(fits)
        && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
}

/// Notes names that lead nowhere, and alerts of which nobody could be told.
pub(super) fn check_names(
    dir: &Path,
    names: &ObjectNames<'_>,
    (syncs, alerts): (&BTreeMap<String, SyncConfig>, &BTreeMap<String, AlertConfig>),
    problems: &mut Vec<Problem>,
) {
    for (name, alert) in alerts {
        let file = names.documents.file_of(dir, ObjectRefKind::Alert, name);
        let mut note = |line, message: String, fix: String| {
            problems.push(Problem::of_file(file.clone(), line, message, fix));
        };
        if let Some((kind, named, line)) = &alert.named {
            let is_there = names.documents.has(*kind, named)
                || (*kind == ObjectRefKind::Sync && syncs.contains_key(named))
                // What was uploaded has no file.
                || *kind == ObjectRefKind::Function;
            if !is_there {
                let what = kind.one();
                let fix = format!("make {}/{named}.yaml, or name another {what}", kind.folder());
                note(*line, format!("there is no {what} {named:?}"), fix);
            }
        }
        let Some((other, line)) = &alert.channels_of else { continue };
        match alerts.get(other) {
            Some(found) if found.channels_of.is_some() => {
                let message = format!("the alert {other:?} tells the channels of another one itself");
                note(*line, message, "name the alert that has the channels".to_owned());
            }
            Some(_) => {}
            None if names.documents.has(ObjectRefKind::Alert, other) => {}
            None => {
                let fix = format!("make alerts/{other}.yaml with `notify`, or name another alert");
                note(*line, format!("there is no alert {other:?}"), fix);
            }
        }
    }
}

impl super::Workspace {
    /// Who is told of an alert: its own channels, and those of the alert that it names.
    #[must_use]
    pub fn alert_channels(&self, name: &str) -> Vec<AlertChannel> {
        let Some(alert) = self.alerts.get(name) else { return Vec::new() };
        let others = alert.channels_of.as_ref().and_then(|(other, _)| self.alerts.get(other));
        let others = others.into_iter().flat_map(|other| &other.channels);
        let own = |channel: &&AlertChannel| alert.channels.iter().any(|one| one.name == channel.name);
        alert.channels.iter().chain(others.filter(|channel| !own(channel))).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Workspace;

    fn read(text: &str) -> Result<Workspace, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("tidegate.yaml", "{}");
        write("sources/web.yaml", "kind: http\nwrite_key: key-0123456789abcdef\n");
        write("alerts/channels.yaml", "notify:\n  ops: {webhook: https://far.example/in}\n");
        write("alerts/one.yaml", text);
        let read = Workspace::read(dir.path(), None, |_, _| Ok(None));
        read.map_err(|problems| problems.iter().map(|one| format!("{}: {}", one.line, one.message)).collect())
    }

    #[test]
    fn an_alert_has_a_condition_with_its_bounds_and_the_channels_of_another_one() {
        let text = "condition: violations\nsource: web\nthreshold: 7\nwindow: 1 h\nfor: 5 min\nseverity: critical\n\
                    owner: ann\nlabels: {team: data}\nchannels_of: channels\nnotify:\n  me: {email: a@example.com, from: b@example.com, host: mail.example.com}\n";
        let workspace = read(text).unwrap();
        let rule = workspace.alerts["one"].rule.clone().unwrap();
        let share = ShareBound { percent: 7, events_min: 20, window_us: 3_600_000_000 };
        assert_eq!(rule.condition, AlertCondition::Violations { source: Some("web".to_owned()), share });
        assert_eq!(
            (rule.for_us, rule.severity, rule.owner.as_deref()),
            (300_000_000, AlertSeverity::Critical, Some("ann"))
        );
        let channels: Vec<String> = workspace.alert_channels("one").into_iter().map(|channel| channel.name).collect();
        assert_eq!(channels, ["me", "ops"]);
        assert!(workspace.alerts["channels"].rule.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_by_line() {
        for (text, wrong) in [
            ("condition: sync_failling\n", "1: the condition \"sync_failling\" is not known"),
            ("condition: violations\nsource: app\n", "2: there is no source \"app\""),
            ("condition: disk\nsource: web\n", "2: `source` is not known here"),
            ("condition: disk\nthreshold: 200\n", "2: `threshold` is "),
            ("condition: disk\nchannels_of: none\n", "2: there is no alert \"none\""),
            ("condition: disk\nnotify:\n  a: {slack: xoxb-s3cr3t}\n", "3: `notify.a.slack` is no address"),
            ("condition: disk\nnotify:\n  a: {pigeon: x}\n", "3: the channel \"a\" must be of one kind"),
            ("condition: disk\nnotify:\n  a: {email: x, from: a@b.c, host: h}\n", "3: \"x\" is no e-mail address"),
            ("severity: info\n", "1: `condition` is missing"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems.iter().any(|problem| problem.starts_with(wrong)), "{text}: {problems:?}");
            assert!(!problems.concat().contains("s3cr3t"), "{problems:?}");
        }
    }
}
