//! Programs that are nobody's browser.

/// Parts of user agents, and names. The first that fits counts. Words that end in "bot" are found without being listed.
const BOTS: [(&str, &str); 26] = [
    ("facebookexternalhit", "Facebook"),
    ("WhatsApp/", "WhatsApp"),
    ("Google-InspectionTool", "Google Inspection Tool"),
    ("Mediapartners-Google", "Google AdSense"),
    ("APIs-Google", "Google APIs"),
    ("Baiduspider", "Baiduspider"),
    ("Bytespider", "Bytespider"),
    ("Chrome-Lighthouse", "Lighthouse"),
    ("HeadlessChrome", "Headless Chrome"),
    ("PhantomJS", "PhantomJS"),
    ("Prerender", "Prerender"),
    ("Pingdom", "Pingdom"),
    ("DatadogSynthetics", "Datadog Synthetics"),
    ("ia_archiver", "Internet Archive"),
    ("archive.org_bot", "Internet Archive"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "Python Requests"),
    ("Python-urllib/", "Python urllib"),
    ("aiohttp/", "aiohttp"),
    ("Go-http-client/", "Go"),
    ("okhttp/", "OkHttp"),
    ("axios/", "axios"),
    ("node-fetch", "node-fetch"),
    ("Java/", "Java"),
    ("Scrapy/", "Scrapy"),
];

/// The name of the bot behind `agent`. `extra` are parts of user agents that the owner calls bots.
#[must_use]
pub fn name(agent: &str, extra: &[String]) -> Option<String> {
    if let Some(part) = extra.iter().find(|part| agent.contains(part.as_str())) {
        return Some(part.clone());
    }
    if let Some((_, name)) = BOTS.iter().find(|(part, _)| agent.contains(part)) {
        return Some((*name).to_owned());
    }
    // Googlebot, bingbot, AhrefsBot, GPTBot, SomebodysCrawler: they say so. Cubot makes telephones.
    let words = agent.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    let says_so = |word: &&str| {
        let word = word.to_ascii_lowercase();
        (word.ends_with("bot") && word != "cubot") || word.contains("crawler") || word.contains("spider")
    };
    words.into_iter().find(says_so).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_are_known_by_list_by_word_and_by_wish() {
        let named = |agent| name(agent, &["AcmeMonitor".to_owned()]);
        let google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        assert_eq!(named(google).as_deref(), Some("Googlebot"));
        assert_eq!(named("curl/8.5.0").as_deref(), Some("curl"));
        assert_eq!(named("SiteCrawler 1.0").as_deref(), Some("SiteCrawler"));
        assert_eq!(named("AcmeMonitor/3").as_deref(), Some("AcmeMonitor"));
        let phone = "Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 Chrome/88.0 Mobile Safari/537.36";
        assert_eq!(named(phone), None);
        assert_eq!(named("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0"), None);
    }
}
