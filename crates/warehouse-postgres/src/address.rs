//! Where the server is: a URL, libpq's `key=value` text, or fields; what they leave out comes from the environment.
//!
//! Everything becomes libpq's parameters first, so that each way of saying it means the same. A parameter that is not
//! known is refused: one that asks for more safety must not be overlooked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

/// Which environment variable stands for which parameter, as in libpq.
pub const VARIABLES: [(&str, &str); 14] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGDATABASE", "dbname"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];

/// What the process's environment says; read by whoever may read it.
#[derive(Clone, Default)]
pub struct Environment {
    /// By parameter.
    pub defaults: BTreeMap<String, String>,
    /// Where `.pgpass` is.
    pub home: Option<PathBuf>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("set", &self.defaults.keys()).field("home", &self.home).finish()
    }
}

/// How far the server must prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// Without, unless the server insists.
    Allow,
    /// With, if the server can.
    Prefer,
    /// With, whoever the server is.
    Require,
    /// The certificate is signed by somebody trusted.
    VerifyCa,
    /// And it is for this host.
    VerifyFull,
}

/// Where the server is, and how to trust it.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) mode: TlsMode,
    /// A file of certificates, or `system`.
    pub(super) root_cert: Option<String>,
    /// Authorities to trust besides the machine's where `root_cert` names no file.
    pub ca_file: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    /// A file of passwords, and whether it was asked for by name.
    pub(super) passfile: Option<PathBuf>,
    /// For messages: user, hosts, database.
    pub(super) shown: String,
    pub(super) connect_timeout: Duration,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("at", &self.shown).field("mode", &self.mode).finish_non_exhaustive()
    }
}

type Parameters = BTreeMap<String, String>;

impl Address {
    /// Files that are read when a connection is made.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let root_cert = self.root_cert.as_deref().filter(|path| *path != "system").map(Path::new);
        let others = [&self.ca_file, &self.cert, &self.key, &self.passfile];
        root_cert.into_iter().chain(others.into_iter().filter_map(|path| path.as_deref()))
    }

    /// Reads `url` (or `key=value` text) and single parameters, which win over it.
    ///
    /// # Errors
    /// A sentence that names what is wrong, without any secret.
    pub fn parse(
        url: Option<&str>,
        fields: impl IntoIterator<Item = (&'static str, String)>,
        environment: &Environment,
    ) -> Result<Self, String> {
        let mut parameters = match url {
            None => Parameters::new(),
            Some(url) => match url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) {
                Some(rest) => of_url(rest)?,
                None => of_pairs(url)?,
            },
        };
        parameters.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        for (key, value) in &environment.defaults {
            parameters.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if !parameters.contains_key("passfile")
            && let Some(home) = &environment.home
        {
            parameters.insert("passfile".into(), home.join(".pgpass").to_string_lossy().into_owned());
        }
        Self::of(parameters)
    }

    fn of(mut parameters: Parameters) -> Result<Self, String> {
        let mode = match parameters.remove("sslmode").as_deref() {
            None | Some("prefer") => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            Some("allow") => TlsMode::Allow,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(other) => {
                return Err(format!(
                    "sslmode is {other:?}, not disable, allow, prefer, require, verify-ca or verify-full"
                ));
            }
        };
        let root_cert = parameters.remove("sslrootcert").filter(|path| !path.is_empty());
        if root_cert.as_deref() == Some("system") && mode != TlsMode::VerifyFull {
            return Err(
                "sslrootcert=system takes sslmode=verify-full: anybody has a certificate of a public authority"
                    .to_owned(),
            );
        }
        let file = |path: Option<String>| path.filter(|path| !path.is_empty()).map(PathBuf::from);
        let (cert, key) = (file(parameters.remove("sslcert")), file(parameters.remove("sslkey")));
        if cert.is_some() != key.is_some() {
            return Err("sslcert and sslkey come together".to_owned());
        }
        let passfile = file(parameters.remove("passfile"));
        let connect_timeout = match parameters.remove("connect_timeout") {
            None => Duration::from_secs(10),
            Some(seconds) => match seconds.parse::<u64>() {
                Ok(seconds @ 1..=3600) => Duration::from_secs(seconds),
                _ => return Err(format!("connect_timeout is {seconds:?}, not 1 to 3600 seconds")),
            },
        };
        let user = parameters.get("user").cloned().filter(|user| !user.is_empty()).ok_or("no user is named")?;
        let mut config = Config::new();
        config.user(&user).application_name("tidegate").connect_timeout(connect_timeout);
        config.keepalives_idle(Duration::from_secs(60)).keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(60));
        let dbname = parameters.remove("dbname").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
        config.dbname(&dbname);
        let hosts = parameters.remove("host").filter(|hosts| !hosts.is_empty()).unwrap_or_else(|| "localhost".into());
        for host in hosts.split(',') {
            config.host(host);
        }
        for (key, value) in &parameters {
            apply(&mut config, key, value)?;
        }
        let (named, ports) = (config.get_hosts().len(), config.get_ports().len());
        if ports > 1 && ports != named {
            return Err(format!("there are {ports} ports for {named} hosts"));
        }
        let shown = format!("{user}@{hosts}/{dbname}");
        Ok(Self { config, mode, root_cert, ca_file: None, cert, key, passfile, shown, connect_timeout })
    }

    /// Who the router is there.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The servers and the database, whoever logs in there.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{:?} {:?} {}", self.config.get_hosts(), self.config.get_ports(), self.dbname())
    }

    pub(super) fn dbname(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }
}

fn apply(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
    let wrong = |expected: &str| format!("{key} is {value:?}, not {expected}");
    let seconds =
        || value.parse::<u32>().map(|n| Duration::from_secs(n.into())).map_err(|_| wrong("a number of seconds"));
    match key {
        "user" => {}
        "password" => _ = config.password(value),
        "port" => {
            for port in value.split(',') {
                let port = if port.is_empty() { Ok(5432) } else { port.parse() };
                config.port(port.map_err(|_| wrong("a port"))?);
            }
        }
        "hostaddr" => {
            for address in value.split(',') {
                config.hostaddr(address.parse().map_err(|_| wrong("a list of IP addresses"))?);
            }
        }
        "application_name" => _ = config.application_name(value),
        "options" => _ = config.options(value),
        "keepalives" => _ = config.keepalives(value != "0"),
        "keepalives_idle" => _ = config.keepalives_idle(seconds()?),
        "keepalives_interval" => _ = config.keepalives_interval(seconds()?),
        "keepalives_count" => _ = config.keepalives_retries(value.parse().map_err(|_| wrong("a number"))?),
        "tcp_user_timeout" => {
            let millis = value.parse().map_err(|_| wrong("a number of milliseconds"))?;
            config.tcp_user_timeout(Duration::from_millis(millis));
        }
        "target_session_attrs" => {
            config.target_session_attrs(match value {
                "any" => TargetSessionAttrs::Any,
                "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                _ => return Err(wrong("any, read-write or primary")),
            });
        }
        "load_balance_hosts" => {
            config.load_balance_hosts(match value {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return Err(wrong("disable or random")),
            });
        }
        "channel_binding" => {
            config.channel_binding(match value {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return Err(wrong("disable, prefer or require")),
            });
        }
        "sslnegotiation" => {
            config.ssl_negotiation(match value {
                "postgres" => SslNegotiation::Postgres,
                "direct" => SslNegotiation::Direct,
                _ => return Err(wrong("postgres or direct")),
            });
        }
        // What these ask for is so anyway, or there is none of it.
        "gssencmode" if value != "require" => {}
        "client_encoding" if matches!(value.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "auto") => {}
        "fallback_application_name" | "sslcompression" | "sslsni" => {}
        _ => return Err(format!("the parameter {key} is not supported here")),
    }
    Ok(())
}

fn decoded(text: &str) -> Result<String, String> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| "the URL is not UTF-8".to_owned())
}

/// What follows `postgres://`: `user:password@host:port,host:port/database?key=value&...`.
fn of_url(rest: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = place.split_once('/').unwrap_or((place, ""));
    let (who, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
    if let Some(password) = password {
        parameters.insert("password".into(), decoded(password)?);
    }
    for (key, value) in [("user", user), ("dbname", dbname)] {
        if !value.is_empty() {
            parameters.insert(key.into(), decoded(value)?);
        }
    }
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let bracket = host.rfind(']').map_or(0, |at| at + 1);
            let (name, port) = match host[bracket..].rfind(':') {
                Some(colon) => (&host[..bracket + colon], &host[bracket + colon + 1..]),
                None => (host, ""),
            };
            names.push(decoded(name.trim_start_matches('[').trim_end_matches(']'))?);
            ports.push(port);
        }
        parameters.insert("host".into(), names.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            parameters.insert("port".into(), ports.join(","));
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter of the URL has no value")?;
        parameters.insert(decoded(key)?, decoded(value)?);
    }
    Ok(parameters)
}

/// `key=value key='quoted value'`, with backslashes before quotes and backslashes.
fn of_pairs(text: &str) -> Result<Parameters, String> {
    const WRONG: &str = "the connection text is neither a URL (postgres://...) nor key=value pairs";
    let mut parameters = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(WRONG)?;
        let after = after.trim_start();
        let (quoted, body) = after.strip_prefix('\'').map_or((false, after), |body| (true, body));
        let (mut value, mut end) = (String::new(), None);
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                '\'' if quoted => {
                    end = Some(at + 1);
                    break;
                }
                c if c.is_whitespace() && !quoted => {
                    end = Some(at);
                    break;
                }
                c => value.push(c),
            }
        }
        let end = match (end, quoted) {
            (Some(end), _) => end,
            (None, false) => body.len(),
            (None, true) => return Err("a quote of the connection text is not closed".to_owned()),
        };
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(WRONG.to_owned());
        }
        parameters.insert(key.to_owned(), value);
        rest = body[end..].trim_start();
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let address = Address::parse(Some(url), [], &Environment::default()).unwrap();
        let password = address.config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        format!("{} {:?} {:?} {:?}", address.shown, address.config.get_ports(), password, address.mode)
    }

    #[test]
    fn a_url_and_pairs_mean_the_same() {
        let expected = "ann@db1,db2/my shop [5433, 5432] Some(\"p@:/'\\\\\") VerifyFull";
        assert_eq!(shown("postgres://ann:p%40%3A%2F'%5C@db1:5433,db2/my%20shop?sslmode=verify-full"), expected);
        let pairs = r"user=ann password='p@:/\'\\' host=db1,db2 port = 5433,5432 dbname='my shop' sslmode=verify-full";
        assert_eq!(shown(pairs), expected);
        assert_eq!(shown("postgresql://ann@[::1]:5433"), "ann@::1/ann [5433] None Prefer");
        assert_eq!(shown("host=/var/run/postgresql user=ann"), "ann@/var/run/postgresql/ann [] None Prefer");
    }

    #[test]
    fn what_is_left_out_comes_from_the_environment_and_fields_win() {
        let defaults = [("host", "h"), ("user", "env"), ("password", "secret"), ("sslmode", "disable")];
        let defaults = defaults.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let environment = Environment { defaults, home: Some("/home/ann".into()) };
        let address = Address::parse(Some("user=ann"), [("dbname", "d".to_owned())], &environment).unwrap();
        assert_eq!((&*address.shown, address.mode), ("ann@h/d", TlsMode::Disable));
        assert_eq!(address.passfile, Some("/home/ann/.pgpass".into()));
        assert!(!format!("{address:?} {environment:?}").contains("secret"));
    }

    #[test]
    fn what_is_not_understood_is_refused_without_the_secret() {
        for (text, says) in [
            ("postgres://h/d", "no user is named"),
            ("user=a sslmode=on", "sslmode is \"on\""),
            ("user=a sslcrl=/x password=hush", "sslcrl"),
            ("user=a gssencmode=require", "gssencmode"),
            ("user=a password='hush", "not closed"),
            ("hush", "neither a URL"),
            ("user=a port=x", "port is"),
            ("user=a host=a,b,c port=1,2", "2 ports for 3 hosts"),
            ("user=a sslrootcert=system", "verify-full"),
            ("user=a sslcert=x", "come together"),
        ] {
            let problem = Address::parse(Some(text), [], &Environment::default()).unwrap_err();
            assert!(problem.contains(says) && !problem.contains("hush"), "{text}: {problem}");
        }
    }
}
