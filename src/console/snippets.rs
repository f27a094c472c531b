//! How SDKs are set up to send here. They are those of docs/browser.md and docs/migration.md.

use url::{Host, Url};

/// Where SDKs send to, in the forms that they want.
pub(super) struct SnippetPlace {
    url: String,
    host: String,
    protocol: String,
}

impl SnippetPlace {
    /// `events_url` is what the server says. One that listens on every address is reached by the host that the browser asked, on its own port.
    pub(super) fn new(events_url: &str, asked_host: &str) -> Self {
        let parsed = Url::parse(events_url).ok();
        let is_every = parsed.as_ref().is_some_and(|url| match url.host() {
            Some(Host::Ipv4(address)) => address.is_unspecified(),
            Some(Host::Ipv6(address)) => address.is_unspecified(),
            _ => false,
        });
        let asked = Url::parse(&format!("http://{asked_host}")).ok();
        let asked = asked.as_ref().and_then(Url::host_str).filter(|_| is_every);
        let mut url = parsed;
        if let (Some(url), Some(asked)) = (&mut url, asked) {
            // What the browser has reached is a host.
            let _ = url.set_host(Some(asked));
        }
        let shown =
            url.as_ref().map_or_else(|| events_url.to_owned(), |url| url.as_str().trim_end_matches('/').to_owned());
        let protocol = url.as_ref().map_or("https", Url::scheme).to_owned();
        let host = shown.split_once("://").map_or(shown.as_str(), |(_, host)| host).to_owned();
        Self { url: shown, host, protocol }
    }
}

/// The text with the place in it.
pub(super) fn snippet(text: &str, place: &SnippetPlace) -> String {
    let SnippetPlace { url, host, protocol } = place;
    text.replace("{URL}", url).replace("{HOST}", host).replace("{PROTOCOL}", protocol)
}

type Snippets = &'static [(&'static str, &'static str)];

/// By whose SDKs they are: for what, and the text.
pub(super) const SNIPPETS: [(&str, Snippets); 5] = [
    (
        "Tidegate's browser SDK",
        &[
            (
                "A page",
                r#"<script>
  window.tidegate ||= []
  for (const name of ['load', 'identify', 'track', 'page', 'group', 'alias', 'reset', 'consent', 'ready'])
    tidegate[name] ||= (...args) => tidegate.push([name, ...args])
  tidegate.load('WRITE_KEY')
  tidegate.page()
</script>
<script async src="{URL}/sdk/v1/tidegate.js"></script>"#,
            ),
            (
                "A page whose policy allows no script within it",
                r#"<script async src="{URL}/sdk/v1/tidegate.js" data-write-key="WRITE_KEY" data-page></script>"#,
            ),
        ],
    ),
    (
        "Without an SDK",
        &[(
            "curl",
            r#"curl -sS {URL}/v1/track -u 'WRITE_KEY:' -H 'content-type: application/json' \
  -d '{"userId": "ann", "event": "Order Completed", "properties": {"revenue": 12.5}}'"#,
        )],
    ),
    (
        "Segment SDKs",
        &[
            (
                "Browser: @segment/analytics-next",
                r"import { AnalyticsBrowser } from '@segment/analytics-next'

const analytics = AnalyticsBrowser.load(
  { writeKey: 'WRITE_KEY', cdnURL: '{URL}' },
  { integrations: { 'Segment.io': { apiHost: '{HOST}/v1', protocol: '{PROTOCOL}' } } },
)
analytics.track('Order Completed', { revenue: 12.5 })",
            ),
            (
                "Node: @segment/analytics-node",
                r"import { Analytics } from '@segment/analytics-node'

const analytics = new Analytics({ writeKey: 'WRITE_KEY', host: '{URL}' })
analytics.track({ userId: 'ann', event: 'Order Completed', properties: { revenue: 12.5 } })
await analytics.closeAndFlush()",
            ),
            (
                "Python: segment-analytics-python",
                r#"from segment.analytics.client import Client

client = Client("WRITE_KEY", host="{URL}")
client.track("ann", "Order Completed", {"revenue": 12.5})
client.shutdown()"#,
            ),
        ],
    ),
    (
        "RudderStack SDKs",
        &[
            (
                "Browser: @rudderstack/analytics-js",
                r"import { RudderAnalytics } from '@rudderstack/analytics-js/bundled'

const analytics = new RudderAnalytics()
analytics.load('WRITE_KEY', '{URL}', { configUrl: '{URL}' })
analytics.track('Order Completed', { revenue: 12.5 })",
            ),
            (
                "Node: @rudderstack/rudder-sdk-node",
                r"import Analytics from '@rudderstack/rudder-sdk-node'

const analytics = new Analytics('WRITE_KEY', { dataPlaneUrl: '{URL}' })
analytics.track({ userId: 'ann', event: 'Order Completed', properties: { revenue: 12.5 } })
await analytics.flush()",
            ),
            (
                "Python: rudder-sdk-python",
                r#"from rudderstack.analytics.client import Client

client = Client("WRITE_KEY", host="{URL}")
client.track("ann", "Order Completed", {"revenue": 12.5})
client.shutdown()"#,
            ),
        ],
    ),
    (
        "Hightouch SDKs",
        &[
            (
                "Browser: @ht-sdks/events-sdk-js-browser",
                r"import { HtEventsBrowser } from '@ht-sdks/events-sdk-js-browser'

const events = HtEventsBrowser.load({ writeKey: 'WRITE_KEY' }, { apiHost: '{HOST}', protocol: '{PROTOCOL}' })
events.track('Order Completed', { revenue: 12.5 })",
            ),
            (
                "Node: @ht-sdks/events-sdk-node",
                r"import { HtEvents } from '@ht-sdks/events-sdk-node'

const events = new HtEvents({ writeKey: 'WRITE_KEY', host: '{URL}' })
events.track({ userId: 'ann', event: 'Order Completed', properties: { revenue: 12.5 } })
await events.closeAndFlush()",
            ),
            (
                "Python: events-sdk-python",
                r#"from hightouch.htevents.client import Client

client = Client("WRITE_KEY", host="{URL}")
client.track("ann", "Order Completed", {"revenue": 12.5})
client.shutdown()"#,
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_as_each_sdk_wants_it() {
        let place = SnippetPlace::new("https://events.example.com/in", "admin.example.com");
        assert_eq!(
            snippet("{URL} {HOST} {PROTOCOL}", &place),
            "https://events.example.com/in events.example.com/in https"
        );
        let place = SnippetPlace::new("http://0.0.0.0:8080", "10.1.2.3:8089");
        assert_eq!(snippet("{URL} {HOST} {PROTOCOL}", &place), "http://10.1.2.3:8080 10.1.2.3:8080 http");
        let place = SnippetPlace::new("http://127.0.0.1:8080", "evil.example");
        assert_eq!(snippet("{URL}", &place), "http://127.0.0.1:8080");
        for (group, of) in SNIPPETS {
            assert!(of.iter().all(|(_, text)| text.contains("WRITE_KEY") && text.contains("{")), "{group}");
        }
    }
}
