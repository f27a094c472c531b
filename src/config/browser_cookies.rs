//! `browser_cookies` of `tidegate.yaml`: which pages may use the cookie service, and how its cookies are.

use std::time::Duration;

use tidegate_document::fields::Fields;
use tidegate_source::http::{self, BrowserCookies, COOKIE_AGE_MAX};

const COOKIE_AGE_MIN: Duration = Duration::from_secs(86_400);

/// Reads it. What has problems is left out.
pub(super) fn read(fields: &mut Fields<'_>) -> BrowserCookies {
    fields.within("browser_cookies", within).unwrap_or_default()
}

fn within(f: &mut Fields<'_>) -> BrowserCookies {
    let mut cookies = BrowserCookies::default();
    for (text, line) in f.texts_and_lines("origins") {
        match http::cookie_origin(&text) {
            Ok(origin) => cookies.origins.push(origin),
            Err(message) => {
                let message = format!("`browser_cookies.origins`: {message}");
                f.problem_at("origins", line, message, "write the origins of pages, e.g. https://www.example.com");
            }
        }
    }
    if let Some(text) = f.text("domain") {
        match http::cookie_domain(&text) {
            Ok(domain) => cookies.domain = Some(domain),
            Err(message) => {
                let message = format!("`browser_cookies.domain`: {message}");
                f.problem("domain", message, "write the domain that pages and server have in common, e.g. example.com");
            }
        }
    }
    if let Some(age_max) = f.duration("age_max") {
        if !(COOKIE_AGE_MIN..=COOKIE_AGE_MAX).contains(&age_max) {
            f.problem("age_max", "`browser_cookies.age_max` is not within 1 d and 400 d", "write a time such as 365 d");
        }
        cookies.age_max = age_max;
    }
    cookies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Workspace;

    fn told(text: &str) -> Result<BrowserCookies, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tidegate.yaml"), format!("listen: 127.0.0.1:0\n{text}")).unwrap();
        let read = Workspace::read(dir.path(), None, |_, _| Ok(None));
        read.map(|workspace| workspace.browser_cookies).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}\n", problem.line, problem.message)).collect()
        })
    }

    #[test]
    fn origins_and_the_domain_are_read_as_browsers_name_them() {
        let text = "browser_cookies: {origins: [\"https://WWW.example.com/\"], domain: Example.com, age_max: 30 d}\n";
        let cookies = told(text).unwrap();
        assert_eq!(cookies.origins, ["https://www.example.com"]);
        assert_eq!(cookies.domain.as_deref(), Some("example.com"));
        assert_eq!(cookies.age_max, Duration::from_secs(30 * 86_400));
        assert_eq!(told("").unwrap(), BrowserCookies::default());
    }

    #[test]
    fn what_no_browser_would_say_is_a_problem_with_its_line() {
        for (text, line, said) in [
            ("origins:\n    - \"*\"", 4, "browser_cookies.origins"),
            ("domain: com", 3, "browser_cookies.domain"),
            ("age_max: 2 s", 3, "within 1 d and 400 d"),
            ("age_max: 500 d", 3, "within 1 d and 400 d"),
            ("all: true", 3, "all"),
        ] {
            let problems = told(&format!("browser_cookies:\n  {text}\n")).unwrap_err();
            assert!(problems.starts_with(&format!("{line}: ")) && problems.contains(said), "{text}: {problems}");
        }
    }
}
