//! What a user agent says about its browser, operating system and device.

use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub bots: Bots,
    #[serde(default)]
    pub extra_bots: Vec<String>,
}

/// What becomes of an event of a bot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    #[default]
    Mark,
    Drop,
    Keep,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Agent<'a> {
    pub browser: Option<&'static str>,
    pub browser_version: &'a str,
    pub os: Option<&'static str>,
    pub os_version: String,
    pub device: Option<&'static str>,
}

/// What stands before a browser's version, and the browser. Everybody claims to be Chrome and Safari, so they come last.
const BROWSERS: [(&str, &str); 19] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("UCBrowser/", "UC Browser"),
    ("CriOS/", "Chrome"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
    ("MSIE ", "Internet Explorer"),
    ("rv:11", "Internet Explorer"),
    ("AppleWebKit/", "WebKit"),
];

/// What stands before a system's version, and the system. Windows Phone and Android call themselves others too.
const SYSTEMS: [(&str, &str); 9] = [
    ("Windows NT ", "Windows"),
    ("Android ", "Android"),
    ("Android", "Android"),
    ("CPU iPhone OS ", "iOS"),
    ("CPU OS ", "iPadOS"),
    ("Mac OS X ", "macOS"),
    ("CrOS x86_64 ", "ChromeOS"),
    ("CrOS ", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Versions of Windows by what they call themselves.
const WINDOWS: [(&str, &str); 5] = [("10.0", "10"), ("6.3", "8.1"), ("6.2", "8"), ("6.1", "7"), ("6.0", "Vista")];

impl Settings {
    /// Settings from JSON, or a sentence about what is wrong with them.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        match settings.extra_bots.iter().find(|part| part.trim().len() < 3) {
            Some(part) => Err(format!("`extra_bots` has {part:?}, which too many user agents contain")),
            None => Ok(settings),
        }
    }
}

/// Reads a user agent.
#[must_use]
pub fn read(agent: &str) -> Agent<'_> {
    let (browser, browser_version) = match first(agent, &BROWSERS) {
        // Version/ is Safari's, but old Androids and Operas have it too.
        Some(("Safari", _)) if !agent.contains("Safari/") => (None, ""),
        Some(("Internet Explorer", _)) if agent.contains("Trident/7") => (Some("Internet Explorer"), "11"),
        Some(("Internet Explorer", "")) => (None, ""),
        Some((name, version)) => (Some(name), version),
        None => (None, ""),
    };
    let (os, os_version) = match first(agent, &SYSTEMS) {
        Some(("Windows", version)) => {
            let known = WINDOWS.iter().find(|(number, _)| *number == version);
            (Some("Windows"), known.map_or(version, |(_, name)| name).to_owned())
        }
        Some(("Linux", _)) => (Some("Linux"), String::new()),
        Some((name, version)) => (Some(name), version.replace('_', ".")),
        None => (None, String::new()),
    };
    Agent { browser, browser_version, os, os_version, device: device(agent, os) }
}

/// The first of `table` that stands in `agent`, and the version after it.
fn first<'a>(agent: &'a str, table: &[(&str, &'static str)]) -> Option<(&'static str, &'a str)> {
    table.iter().find_map(|(part, name)| {
        let after = &agent[agent.find(part)? + part.len()..];
        let end = after.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(after.len());
        Some((*name, after[..end].trim_end_matches('.')))
    })
}

fn device(agent: &str, os: Option<&str>) -> Option<&'static str> {
    let has = |parts: &[&str]| parts.iter().any(|part| agent.contains(part));
    if has(&["SmartTV", "SMART-TV", "AppleTV", "GoogleTV", "BRAVIA", "Roku", "Tizen", "Web0S", "AFTT", "CrKey"]) {
        return Some("tv");
    }
    match os {
        _ if has(&["iPad", "Tablet", "Kindle"]) => Some("tablet"),
        _ if has(&["iPhone", "iPod", "Mobile"]) => Some("mobile"),
        Some("Android") => Some("tablet"),
        Some("Windows" | "macOS" | "ChromeOS" | "Linux") => Some("desktop"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(agent: &str) -> String {
        let Agent { browser, browser_version, os, os_version, device } = read(agent);
        let plain = |text: Option<&'static str>| text.unwrap_or("-");
        format!("{} {browser_version} | {} {os_version} | {}", plain(browser), plain(os), plain(device))
    }

    #[test]
    fn browsers_of_the_world_are_known() {
        let known = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87",
                "Edge 126.0.2592.87 | Windows 10 | desktop",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                "Safari 17.5 | macOS 10.15.7 | desktop",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.108 Mobile/15E148 Safari/604.1",
                "Chrome 126.0.6478.108 | iOS 17.5 | mobile",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
                "Safari 16.6 | iPadOS 16.6 | tablet",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Samsung Internet 25.0 | Android 14 | mobile",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "Chrome 126.0.0.0 | Android 13 | tablet",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
                "Firefox 127.0 | Linux  | desktop",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "Chrome 126.0.0.0 | ChromeOS 14541.0.0 | desktop",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
                "Internet Explorer 11 | Windows 7 | desktop",
            ),
            (
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/7.0 TV Safari/537.36",
                "Safari 7.0 | Linux  | tv",
            ),
        ];
        for (agent, expected) in known {
            assert_eq!(line(agent), expected, "{agent}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for agent in ["", "Mozilla/5.0", "Ünïcode ☃ Chrome", "okhttp/4.12.0"] {
            assert_eq!(line(agent), "-  | -  | -", "{agent}");
        }
    }

    #[test]
    fn wrong_settings_are_explained() {
        assert!(Settings::parse(r#"{"extra_bots":["o"]}"#).unwrap_err().contains("too many"));
        assert!(Settings::parse(r#"{"bots":"shoot"}"#).unwrap_err().contains("shoot"));
    }
}
