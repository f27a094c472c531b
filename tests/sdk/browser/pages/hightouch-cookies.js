// Hightouch's SDK with a server that keeps its cookies.
import { HtEventsBrowser } from '@ht-sdks/events-sdk-js-browser'

globalThis.visit = async ({ url, key }) => {
  const { host, protocol } = new URL(url)
  const [analytics] = await HtEventsBrowser.load(
    { writeKey: key },
    {
      apiHost: host,
      protocol: protocol.slice(0, -1),
      httpCookieServiceOptions: { renewUrl: '/in/ht/renew', clearUrl: '/in/ht/clear' },
    },
  )
  return analytics.user().anonymousId()
}
